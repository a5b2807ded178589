# Sees to it that nothing of a session is left, and says what is.
# Arguments: base directory, name of the session's directory, pilot binary to
# remove (may be empty), tenths of a second to wait for agents to leave.
base=$1 dir=$1/$2 binary=$3 patience=$4

# agents prints the processes of agents of this session that still live here: each
# wrote its id and start time into the session's directory, which hosts may share.
agents() {
	for f in "$dir"/agent-*; do
		[ -f "$f" ] || continue
		pid=${f##*-}
		[ -r "/proc/$pid/stat" ] || { [ ! -d /proc/1 ] && kill -0 "$pid" 2>/dev/null && echo "$pid"; continue; }
		read -r started <"$f" 2>/dev/null
		stat=$(cat "/proc/$pid/stat" 2>/dev/null)
		set -- ${stat##*) }
		[ "$1" != Z ] && [ "${20}" = "$started" ] && echo "$pid"
	done
}

# ending prints the agents that have removed the directory they began in, and are about to end.
ending() {
	for f in $(grep -ls "$dir/" /proc/[0-9]*/cmdline 2>/dev/null); do
		pid=${f#/proc/}
		case $(tr '\0' ' ' <"$f" 2>/dev/null) in
		"$dir/"*" agent "*) echo "${pid%/*}" ;;
		esac
	done
}

case $2 in
s-????????) ;;
*) echo "not a session: $2" >&2; exit 1 ;;
esac
tries=0
while [ -e "$dir" ] && [ $tries -lt "$patience" ]; do
	# An agent signs as soon as it starts: after half a second there is none to wait for.
	[ $tries -ge 5 ] && [ -z "$(agents)" ] && break
	sleep 0.1 2>/dev/null || sleep 1
	tries=$((tries + 1))
done
for sig in TERM KILL; do
	[ -e "$dir" ] || break
	for pid in $(agents); do kill -$sig "$pid" 2>/dev/null; done
	tries=0
	while [ -n "$(agents)" ] && [ $tries -lt 20 ]; do
		sleep 0.1 2>/dev/null || sleep 1
		tries=$((tries + 1))
	done
done
# What killed agents guarded goes by itself; give it a moment, then remove the rest.
tries=0
while [ -e "$dir" ] && [ $tries -lt 20 ]; do
	rm -rf "$dir" 2>/dev/null
	[ -e "$dir" ] && { sleep 0.1 2>/dev/null || sleep 1; }
	tries=$((tries + 1))
done
[ -n "$binary" ] && rm -f "$binary"
rmdir "$base" 2>/dev/null
tries=0
while [ -n "$(ending)" ] && [ $tries -lt 20 ]; do
	sleep 0.1 2>/dev/null || sleep 1
	tries=$((tries + 1))
done
for pid in $(agents) $(ending); do echo "left process $pid"; done
[ -e "$dir" ] && echo "left directory $dir"
echo end
