# Looks at a host: what it is, where scratch is safe and lets programs run,
# and whether a pilot binary is there. It makes the session's directory, of mode
# 0700, below one of the user's own; for the session "-" it only looks, and leaves
# nothing. Arguments: session, the sites file's scratch directory (may be empty), then
# PLATFORM=DIGEST (SHA-256) of the pilot binaries at hand.
umask 077
session=$1 wanted=$2
shift 2
uid=$(id -u)
os=$(uname -s | tr 'A-Z' 'a-z')
case $(uname -m) in
x86_64 | amd64) arch=amd64 ;;
aarch64 | arm64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac
echo "platform $os/$arch"
echo "host $(uname -n)"
echo "uid $uid"
echo "from ${SSH_CONNECTION%% *}"
echo "cores $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 0)"
for tool in gzip sha256sum; do
	command -v $tool >/dev/null 2>&1 && echo "tool $tool"
done
# What the host's administrator allows, as it is written down.
policy=/etc/zorilla/policy.toml
if [ -f $policy ] && [ -r $policy ]; then
	head -c 16385 $policy | awk '{print "policy " $0}'
elif [ -e $policy ]; then
	echo nopolicy
fi
digest=
for pair in "$@"; do
	[ "${pair%%=*}" = "$os/$arch" ] && digest=${pair#*=}
done

# usable PARENT: prints why not, or takes $base as the user's own directory
# below it.
usable() {
	base=$1/zorilla-$uid
	if [ "$session" = - ] && [ ! -e "$base" ]; then
		base=$base.$$ # gone again at once: nobody else may rely on it
	fi
	[ -d "$1" ] || { echo "$1: no such directory"; return 1; }
	[ -e "$base" ] || [ -w "$1" ] || { echo "$1: not writable"; return 1; }
	mkdir "$base" 2>/dev/null
	line=$(ls -ldn "$base" 2>/dev/null) || { echo "$1: cannot make a directory"; return 1; }
	set -- $line
	[ "$3" = "$uid" ] || { echo "$base: belongs to another user (uid $3)"; return 1; }
	case $1 in
	drwx------*) ;;
	*) echo "$base: not a private directory ($1)"; return 1 ;;
	esac
	probe=$base/.probe.$$
	if ! printf '#!/bin/sh\nexit 7\n' >"$probe" 2>/dev/null; then
		rm -f "$probe"
		rmdir "$base" 2>/dev/null
		echo "$base: cannot write (disk full?)"
		return 1
	fi
	chmod 700 "$probe"
	"$probe" 2>/dev/null
	code=$?
	rm -f "$probe"
	if [ $code -ne 7 ]; then
		rmdir "$base" 2>/dev/null
		echo "$base: programs cannot run there (noexec)"
		return 1
	fi
	free=$(df -Pk "$base" 2>/dev/null | awk 'NR==2 {print $4}')
	if [ "${free:-999999}" -lt 32768 ]; then
		rmdir "$base" 2>/dev/null
		echo "$base: only ${free} KiB free"
		return 1
	fi
	return 0
}

# room DIRECTORY: prints how much is free there, what kind of file system it is on,
# and whether it is in the home directory.
room() {
	echo "free $(df -Pk "$1" 2>/dev/null | awk 'NR==2 {print $4}')"
	kind=$(df -PT "$1" 2>/dev/null | awk 'NR==2 {print $2}')
	[ -n "$kind" ] || kind=$(stat -f -c %T "$1" 2>/dev/null)
	echo "fs $kind"
	case $1/ in "${HOME:-/nowhere}"/*) echo home ;; esac
}

if [ -n "$wanted" ]; then
	set -- "$wanted"
else
	set -- ${TMPDIR:+"$TMPDIR"} /tmp /var/tmp /dev/shm ${XDG_RUNTIME_DIR:+"$XDG_RUNTIME_DIR"} ${HOME:+"$HOME"}
fi
for parent in "$@"; do
	why=$(usable "$parent")
	if [ -z "$why" ]; then
		base=$parent/zorilla-$uid
		if [ "$session" = - ]; then
			rmdir "$base.$$" 2>/dev/null
			room "$parent"
			echo "base $base"
			exit 0
		fi
		dir=$base/s-$session
		mkdir "$dir" 2>/dev/null || [ -O "$dir" ] || { echo "refused $dir: cannot make it"; continue; }
		room "$base"
		if [ -n "$digest" ] && [ -f "$base/pilot-$digest" ] && [ -x "$base/pilot-$digest" ] && [ "$(sha256sum <"$base/pilot-$digest" 2>/dev/null)" = "$digest  -" ]; then
			echo "pilot $base/pilot-$digest"
		fi
		echo "base $base"
		exit 0
	fi
	echo "refused $why"
done
exit 0
