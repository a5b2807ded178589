#!/bin/sh
# prun as users of the DAS clusters know it, on top of Slurm: it reserves whole
# nodes, blocks until it has them, starts one process on each, blocks until the
# last has ended, and gives everything back when it is interrupted. What it does
# not have of the real one it refuses.
say() { echo "prun: $*" >&2; }
usage() {
	cat >&2 <<-EOF
		usage: prun [options] -np nodes application [arguments]
		  -1           one process per node
		  -t time      how long, [[hh:]mm:]ss; 15 minutes by default
		  -q queue     where
		  -native opts options for the scheduler
		  -no-panda    do not give rank and number of processes as first arguments
		  -v           say what is done
	EOF
	exit "$1"
}
nodes= seconds=900 queue= native= panda=yes verbose=
while [ $# -gt 0 ]; do
	case $1 in
	-help | --help) usage 0 ;;
	-version) echo "prun 1.0"; exit ;;
	-np) nodes=$2; shift ;;
	-1) ;;
	-t) seconds=$(echo "$2" | awk -F: '{ for (i = 1; i <= NF; i++) s = s * 60 + $i; print s }'); shift ;;
	-q) queue=$2; shift ;;
	-native) native=$2; shift ;;
	-no-panda) panda= ;;
	-v) verbose=yes ;;
	-*) say "unknown option $1"; usage 1 ;;
	*) break ;;
	esac
	shift
done
case $nodes in
'' | *[!0-9]*) usage 1 ;;
esac
[ $# -gt 0 ] || usage 1

job=
steps=
interrupted() {
	trap '' INT TERM HUP
	if [ -n "$steps" ]; then
		scancel --signal=TERM "$job" # and at the end of the job KILL
		sleep 1
	fi
	[ -z "$job" ] || scancel "$job"
	[ -z "$steps" ] || wait $steps
	exit 130
}
trap interrupted INT TERM HUP
# The reservation is a job of its own that does nothing.
job=$(sbatch --parsable -J prun -D / -o /dev/null -N "$nodes" --exclusive --no-requeue -t $(((seconds + 59) / 60)) \
	${queue:+-p "$queue"} $native --wrap "exec sleep $seconds") || exit 1
[ -z "$verbose" ] || say "reservation number $job: $nodes hosts for $seconds seconds"
while :; do
	state=$(squeue -h -t all -j "$job" -o %T 2>/dev/null)
	case $state in
	RUNNING) break ;;
	PENDING | CONFIGURING | '') sleep 0.2 ;;
	*) say "reservation $job is $state"; exit 1 ;;
	esac
done
hosts=$(scontrol show hostnames "$(squeue -h -j "$job" -o %N)" | tr '\n' ' ')
hosts=${hosts% }
[ -z "$verbose" ] || say "run on $hosts"

export NHOSTS="$nodes" HOSTS="$hosts" PRUN_HOSTNAMES="$hosts" PRUN_CPUS_PER_NODE=1 PRUN_RESERVATION="$job"
PRUN_PE_HOSTS=
for h in $hosts; do PRUN_PE_HOSTS="$PRUN_PE_HOSTS $h/0"; done
export PRUN_PE_HOSTS
app=$1
shift
rank=0
for h in $hosts; do
	PRUN_CPU_RANK=$rank setsid srun --overlap --jobid="$job" -w "$h" -N1 -n1 -D "$PWD" --input=none --quiet \
		--export=PATH,HOME,USER,LOGNAME,PWD,NHOSTS,HOSTS,PRUN_HOSTNAMES,PRUN_PE_HOSTS,PRUN_CPUS_PER_NODE,PRUN_RESERVATION,PRUN_CPU_RANK \
		"$app" ${panda:+$rank "$nodes"} "$@" &
	steps="$steps $!"
	rank=$((rank + 1))
done
status=0
for step in $steps; do
	wait "$step" || status=$?
done
scancel "$job"
exit "$status"
