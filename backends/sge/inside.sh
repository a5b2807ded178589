# gat_find: sets gat_h to the host of the node, to "-" while the job is on its way there.
gat_find() {
	gat_l=$(qstat -xml -g t -u "$(id -un)" </dev/null) || exit
	gat_h=$(printf '%s\n' "$gat_l" | tr '<' '\n' | awk -F'>' -v "job=$gat_job" -v "task=$gat_task" -v "node=$gat_node" '
$1 ~ /^job_list/ { id = queue = tasks = state = ""; runs = $1 ~ /running/ }
$1 == "JB_job_number" { id = $2 }
$1 == "state" { state = $2 }
$1 == "queue_name" { queue = $2 }
$1 == "tasks" { tasks = $2 }
$1 == "/job_list" && runs && id == job && tasks == task && sub(/.*@/, "", queue) {
	if (state ~ /t/) coming = 1
	if (!(queue in seen)) {
		seen[queue] = 1
		if (n++ == node + 0) host = queue
	}
}
END { if (host != "") print coming ? "-" : host }')
}
# An execution daemon that is asked for a task before it has told of the job itself may
# never tell of it: such a job can be neither entered nor ended.
for gat_l in 1 2 3 4 5 6 7 8 9 10; do
	gat_find
	[ "$gat_h" = - ] || break
	sleep 1
done
[ "$gat_h" != - ] || { echo "job $gat_job${gat_task:+.$gat_task} is still on its way to its nodes" >&2; exit 1; }
[ -n "$gat_h" ] || { echo "job $gat_job${gat_task:+.$gat_task} does not run on a node $gat_node" >&2; exit 1; }
JOB_ID=$gat_job SGE_TASK_ID=${gat_task:-undefined}
export JOB_ID SGE_TASK_ID
gat_text='exec /bin/sh -c '\''echo gat-begin; exec "$@"'\'' sh'
for gat_a; do
	gat_a=$(printf '%s.\n' "$gat_a" | sed "s/'/'\\\\''/g")
	gat_text="$gat_text '${gat_a%.}'"
done
# qrsh hangs for ever when much is sent to it before the other side listens, so
# the other side speaks first, and says when the command begins.
gat_enter() {
	gat_d=$(umask 077; mktemp -d "${TMPDIR:-/tmp}/gat-inside-XXXXXX") || exit
	mkfifo "$gat_d/go" "$gat_d/in" "$gat_d/out" || exit
	{
		echo 'echo gat-ready'
		exec 4<"$gat_d/go"
		read -r gat_l <&4 && printf '%s\n' "$gat_text" && read -r gat_l <&4 && exec cat <&3
	} >"$gat_d/in" &
	gat_feed=$!
	{
		exec 4>"$gat_d/go" 3<&-
		while read -r gat_l; do
			case $gat_l in
			gat-ready | gat-begin) echo "$gat_l" >&4 ;;
			esac
			[ "$gat_l" != gat-begin ] || break
		done
		exec 4>&-
		[ "$gat_l" != gat-begin ] || rm -rf "$gat_d"
		exec cat
	} <"$gat_d/out" &
	gat_drain=$!
	qrsh -inherit "$gat_h" /bin/sh <"$gat_d/in" >"$gat_d/out" 3<&-
	gat_s=$?
	wait "$gat_drain"
	kill "$gat_feed" 2>/dev/null
	[ ! -d "$gat_d" ]
}
trap 'rm -rf "$gat_d"' 0
exec 3<&0
# The job may have come to the node a moment ago, or a task that was cut off may still
# be there.
for gat_l in 1 2 3 4; do
	gat_enter && break
	rm -rf "$gat_d"
	sleep 1
done
exit "$gat_s"
