# Slurm, as far as its commands are used.
name=${0##*/}
count "$name $*"
fault "$name"

row() {
	case $3 in
	DONE) s=COMPLETED ;;
	*) s=$3 ;;
	esac
	read -r jobname <"$jobs/$1/name"
	if [ "$2" = 0 ]; then echo "$1|$s|None|$jobname"; else echo "$1_$2|$s|None|$jobname"; fi
}

split() { # ID: sets job and task
	job=${1%%_*} task=0
	case $1 in
	*_*) task=${1#*_} ;;
	esac
}

case $name in
sbatch)
	last=0 jobname= nodes=1
	for a; do
		case $a in
		--version) echo "slurm-wlm 22.05.8"; exit ;;
		--job-name=*) jobname=${a#--job-name=} ;;
		--nodes=*) nodes=${a#--nodes=} ;;
		--array=1-*) last=${a#--array=1-} ;;
		--partition=nope) echo "sbatch: error: invalid partition specified: nope" >&2; echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2; exit 1 ;;
		--nonsense) echo "sbatch: unrecognized option '--nonsense'" >&2; exit 1 ;;
		esac
	done
	new
	echo "$jobname" >"$jobs/$id/name"
	cat >"$jobs/$id/script"
	cpus="SLURM_CPUS_ON_NODE=2 SLURM_JOB_CPUS_PER_NODE=2 SLURM_MEM_PER_NODE=100 SLURM_JOB_NUM_NODES=$nodes"
	if [ "$last" = 0 ]; then
		enqueue 0 SLURM_JOB_ID="$id" $cpus
	else
		n=1
		while [ "$n" -le "$last" ]; do
			enqueue "$n" SLURM_JOB_ID=$((id * 1000 + n)) SLURM_ARRAY_JOB_ID="$id" SLURM_ARRAY_TASK_ID="$n" $cpus
			n=$((n + 1))
		done
	fi
	lost "$name"
	[ ! -f "$GAT_QUEUE/banner" ] || cat "$GAT_QUEUE/banner"
	echo "$id"
	[ ! -f "$GAT_QUEUE/banner" ] || echo "Thank you for using the cluster."
	;;
squeue)
	case "$*" in
	*%A*)
		while [ "$1" != -j ]; do shift; done
		split "$2"
		read -r state code <"$jobs/$job/$task/state" && [ "$state" = RUNNING ] && echo "$2"
		exit
		;;
	*%L*) echo 1-00:10:00; exit ;;
	esac
	echo "JOBID|STATE|REASON|NAME"
	each row
	;;
scancel)
	s=0
	for a; do
		split "$a"
		if known "$job" "$task"; then
			kill_task "$job" "$task" || { s=1; echo "scancel: error: Kill job error on job id $a: Job/step already completing or completed" >&2; }
		else
			echo "scancel: error: Kill job error on job id $a: Invalid job id specified" >&2
			s=1
		fi
	done
	exit $s
	;;
scontrol)
	case "$*" in
	*"show partition"*) echo "PartitionName=debug AllowGroups=ALL AllowAccounts=ALL MaxTime=01:00:00"; exit ;;
	*"show config"*) echo "AccountingStorageType   = accounting_storage/none"; echo "MaxArraySize            = 1001"; cat "$GAT_QUEUE/config" 2>/dev/null; exit ;;
	esac
	while [ "$1" != job ]; do shift; done
	split "$2"
	known "$job" "$task" || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
	read -r state code <"$jobs/$job/$task/state"
	case $code in
	12[89] | 1[3-9][0-9] | 2[0-4][0-9]) e=0:$((code - 128)) ;;
	*) e=$code:0 ;;
	esac
	case $state in
	DONE) state=COMPLETED ;;
	esac
	more=
	[ "$task" = 0 ] || more="ArrayJobId=$job ArrayTaskId=$task"
	echo "JobId=$job $more JobName=x UserId=u(1) JobState=$state Reason=None ExitCode=$e RunTime=00:00:01"
	;;
sinfo)
	case "$*" in
	*-N*) printf 'n1\nn1\nn2\n' ;;
	*%c*) printf 'debug*|2|1000\ndebug*|4|2000+\nshort|2|1000\n' ;;
	*%f*) echo "debug*|(null)"; echo "short|fast,big" ;;
	*) echo "debug*|up|1:00:00|1/3/0/4|2/6/0/8"; echo "short|up|1:00|0/2/0/2|0/4/0/4" ;;
	esac
	;;
sacct)
	echo "Slurm accounting storage is disabled" >&2
	exit 1
	;;
srun)
	tasks=1
	while :; do
		case $1 in
		--help) echo "  --overlap"; exit ;;
		--ntasks=*) tasks=${1#*=}; shift ;;
		-*) shift ;;
		*) break ;;
		esac
	done
	[ "$tasks" -gt 1 ] || exec env SLURM_PROCID=0 "$@"
	in=$(mktemp) && cat >"$in" || exit
	pids= n=0 s=0
	while [ "$n" -lt "$tasks" ]; do
		env SLURM_PROCID="$n" "$@" <"$in" &
		pids="$pids $!"
		n=$((n + 1))
	done
	for p in $pids; do
		wait "$p" || s=$?
	done
	rm -f "$in"
	exit $s
	;;
esac
