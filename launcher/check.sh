# Looks at what else the user has at a host, beside scratch. It makes nothing.
# Argument: a directory that is said to be shared (may be empty).
date +"clock %s"
awk '/^MemTotal:/ {print "memory", $2}' /proc/meminfo 2>/dev/null
if [ -d "$HOME" ]; then
	kind=$(df -PT "$HOME" 2>/dev/null | awk 'NR==2 {print $2}')
	[ -n "$kind" ] || kind=$(stat -f -c %T "$HOME" 2>/dev/null)
	echo "home ${kind:-unknown} $HOME"
fi
[ -z "$1" ] || [ -d "$1" ] || echo missing
[ -z "$1" ] || [ -w "$1" ] || echo readonly
exit 0
