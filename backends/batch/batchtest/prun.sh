# prun as the DAS clusters had it: reserves nodes, starts one process on each, blocks,
# and ends them when it is interrupted.
count "prun $*"
n=1
while [ $# -gt 0 ]; do
	case $1 in
	-help) echo "usage: prun [-np n] [-t time] [-no-panda] program"; exit ;;
	-version) echo "prun 1.0"; exit ;;
	-np) n=$2; shift 2 ;;
	-t | -q) shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
fault prun
pids=
trap 'kill $pids 2>/dev/null; exit 1' INT TERM HUP
while [ -e "$GAT_QUEUE/hold" ]; do sleep 0.05; done
i=0
while [ "$i" -lt "$n" ]; do
	setsid env PRUN_CPU_RANK="$i" "$@" </dev/null &
	pids="$pids $!"
	i=$((i + 1))
done
trap 'for p in $pids; do kill -TERM -$p; done 2>/dev/null; sleep 0.2; for p in $pids; do kill -KILL -$p; done 2>/dev/null; exit 1' INT TERM HUP
s=0
for p in $pids; do
	wait "$p" || s=$?
done
exit $s
