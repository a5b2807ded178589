# Looks at what else the user has at a host, beside scratch. It makes nothing.
# Argument: a directory that is said to be shared (may be empty).
date +"clock %s.%N"
awk '/^MemTotal:/ {print "memory", $2}' /proc/meminfo 2>/dev/null
if [ -d "$HOME" ]; then
	kind=$(df -PT "$HOME" 2>/dev/null | awk 'NR==2 {print $2}')
	[ -n "$kind" ] || kind=$(stat -f -c %T "$HOME" 2>/dev/null)
	echo "home ${kind:-unknown} $HOME"
fi
[ -z "$1" ] || [ -d "$1" ] || echo missing
[ -z "$1" ] || [ -w "$1" ] || echo readonly
# A route to everywhere: nothing is sent to find out whether it leads anywhere.
if [ -r /proc/net/route ]; then
	if awk '$2 == "00000000" && $8 == "00000000" {f = 1} END {exit !f}' /proc/net/route ||
		awk '$1 ~ /^0+$/ && $2 == "00" && $10 != "lo" {f = 1} END {exit !f}' /proc/net/ipv6_route 2>/dev/null; then
		echo "outbound route"
	else
		echo "outbound none"
	fi
fi
exit 0
