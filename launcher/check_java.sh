# Looks for Java as a pilot would, after the site's lines of setup, and for modules
# that bring it. It makes nothing.
# Arguments: the lines of setup (may be empty).

# The command module is a function; where the login shell does not pass it on it is
# defined by one of these.
if ! command -v module >/dev/null 2>&1; then
	for init in ${LMOD_PKG:+"$LMOD_PKG/init/sh"} ${MODULESHOME:+"$MODULESHOME/init/sh"} /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh \
		/etc/profile.d/modules.sh /usr/share/lmod/lmod/init/sh /usr/share/Modules/init/sh /usr/share/modules/init/sh; do
		[ -r "$init" ] || continue
		. "$init" >/dev/null 2>&1
		command -v module >/dev/null 2>&1 && break
	done
fi
if [ -n "$1" ]; then
	trap 'echo "setup failed"' 0
	set -e
	eval "$1" </dev/null >/dev/null
	set +e
	trap - 0
fi

# version PROGRAM: what the release file of a Java says, or Java itself.
version() {
	real=$(readlink -f "$1" 2>/dev/null || echo "$1")
	home=${real%/bin/java}
	home=${home%/jre}
	v=$(sed -n 's/^JAVA_VERSION="\{0,1\}\([^"]*\).*/\1/p' "$home/release" 2>/dev/null | head -n 1)
	[ -n "$v" ] || v=$("$1" -version 2>&1 </dev/null | sed -n 's/.*version "\([^"]*\)".*/\1/p' | head -n 1)
	echo "$v"
}
seen=:
for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java 2>/dev/null)" /usr/lib/jvm/*/bin/java; do
	[ -x "$java" ] || continue
	real=$(readlink -f "$java" 2>/dev/null || echo "$java")
	case $seen in *":$real:"*) continue ;; esac
	seen=$seen$real:
	v=$(version "$java")
	[ -n "$v" ] || continue
	echo "java $v $real"
done
if command -v module >/dev/null 2>&1; then
	module -t avail 2>&1 </dev/null | grep -Ei '^[^ ]*(java|jdk|jre)[^ ]*$' | grep -v ':$' | head -n 8 | while read -r name; do
		echo "module ${name%%(*}"
	done
fi
exit 0
