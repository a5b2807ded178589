# PBS, as far as its commands are used.
name=${0##*/}
count "$name $*"
fault "$name"

full() { # ID TASK STATE CODE: as qstat -f, if wanted
	read -r jobname <"$jobs/$1/name"
	label=$1.pbs0
	if [ "$2" != 0 ]; then
		label="$1[$2].pbs0"
		if [ "$2" = 1 ]; then
			printf 'Job Id: %s[].pbs0\n    Job_Name = %s\n    job_state = B\n    Exit_status = 0\n\n' "$1" "$jobname"
		fi
	fi
	end=F
	[ "$2" = 0 ] || end=X
	case $3 in
	PENDING) s=Q ;;
	RUNNING) s=R ;;
	*) s=$end ;;
	esac
	if [ -n "$only" ]; then
		case " $only " in
		*" $label "* | *" $1[].pbs0 "*) ;;
		*) return ;;
		esac
	fi
	if [ $s = F ] && [ -z "$history" ]; then
		echo "qstat: $label Job has finished, use -x or -H to obtain historical job information" >&2
		return
	fi
	printf 'Job Id: %s\n    Job_Name = %s\n    job_state = %s\n    Variable_List = A=\\x,B=very\n\tlong\n    comment = Job run at Sun Nov 22 at 11:45 on (p2:ncpus=1) and som\n\tething\n' "$label" "$jobname" "$s"
	code=$4
	[ "$code" -le 128 ] || [ "$code" -eq 255 ] || code=$((code + 128))
	case $s in
	F | X) [ ! -f "$jobs/$1/$2/pid" ] || echo "    Exit_status = $code" ;;
	esac
	echo
}

parents() {
	case $3 in
	PENDING | RUNNING) ;;
	*) return ;;
	esac
	if [ "$2" = 0 ]; then echo "$1.pbs0"; else echo "$1[].pbs0"; fi
}

split() { # ID: sets job and task
	job=${1%%.*} task=0
	case $job in
	*'['*) task=${job#*'['} task=${task%']'} job=${job%%'['*} ;;
	esac
}

case $name in
qsub)
	last= jobname=STDIN nodes=1
	while [ $# -gt 0 ]; do
		case $1 in
		-J) last=${2#1-} ;;
		-N) jobname=$2 ;;
		-l)
			case $2 in
			select=*) nodes=${2#select=} nodes=${nodes%%:*} ;;
			esac
			;;
		-q) [ "$2" != nope ] || { echo "qsub: Unknown queue" >&2; exit 170; } ;;
		esac
		shift
	done
	new
	echo "$jobname" >"$jobs/$id/name"
	cat >"$jobs/$id/script"
	[ ! -f "$GAT_QUEUE/banner" ] || cat "$GAT_QUEUE/banner"
	if [ -z "$last" ]; then
		n=1
		while [ "$n" -le "$nodes" ]; do
			printf 'p%s\n' "$n"
			n=$((n + 1))
		done >"$jobs/$id/nodes"
		enqueue 0 PBS_JOBID="$id.pbs0" NCPUS=2 PBS_NODEFILE="$jobs/$id/nodes"
		echo "$id.pbs0"
	else
		n=1
		while [ "$n" -le "$last" ]; do
			enqueue "$n" PBS_JOBID="$id[$n].pbs0" NCPUS=2
			n=$((n + 1))
		done
		echo "$id[].pbs0"
	fi
	;;
qselect)
	each parents | sort -u
	;;
qstat)
	history= only=
	case "$*" in
	--version) echo "pbs_version = 23.06.06"; exit ;;
	-help) echo "qstat: invalid option -- 'e'" >&2; exit 2 ;;
	-B*)
		printf 'Server: pbs0\n    server_state = Active\n    default_queue = workq\n    max_array_size = 10000\n\n'
		exit
		;;
	-Q*)
		printf 'Queue: workq\n    queue_type = Execution\n    resources_max.walltime = 24:00:00\n    enabled = True\n    started = True\n\nQueue: closed\n    enabled = False\n    started = True\n\n'
		exit
		;;
	esac
	while [ $# -gt 0 ]; do
		case $1 in
		-x) history=yes ;;
		-*) ;;
		*) only="$only $1" ;;
		esac
		shift
	done
	each full
	for a in $only; do
		split "$a"
		if [ "${a#*.}" != pbs0 ] || [ ! -d "$jobs/$job" ]; then
			echo "qstat: Unknown Job Id $a" >&2
		fi
	done
	;;
qdel)
	s=0
	for a; do
		split "$a"
		if [ "${a#*.}" != pbs0 ] || ! known "$job" "$task"; then
			echo "qdel: Unknown Job Id $a" >&2
			s=153
		elif ! kill_task "$job" "$task"; then
			echo "qdel: Job has finished $a" >&2
			s=35
		fi
	done
	exit $s
	;;
pbsdsh) # -n NUMBER -- COMMAND...: with hardly an environment, and no input
	shift 3
	exec env -i PBS_JOBID=x "$@" </dev/null
	;;
ssh) # -o BatchMode=yes HOST LINE
	shift 3
	exec env -i PATH=/usr/bin:/bin /bin/sh -c "$*"
	;;
pbsnodes)
	printf 'p1\n     Mom = p1\n     state = free\n     resources_available.ncpus = 2\n     resources_assigned.ncpus = 1\n\np2\n     state = down\n     resources_available.ncpus = 2\n     resources_assigned.ncpus = 0\n'
	;;
esac
