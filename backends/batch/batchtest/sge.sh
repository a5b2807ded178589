# Grid Engine, as far as its commands are used. What ended is in qacct only.
name=${0##*/}
count "$name $*"
fault "$name"

row() {
	list=pending queue=
	case $3 in
	PENDING) s=qw ;;
	RUNNING) s=r list=running queue=all.q@node1 ;;
	ERROR) s=Eqw ;;
	*) return ;;
	esac
	read -r jobname <"$jobs/$1/name"
	echo "<job_list state=\"$list\"><JB_job_number>$1</JB_job_number><JB_name>$jobname</JB_name><state>$s</state><queue_name>$queue</queue_name>"
	[ "$2" = 0 ] || echo "<tasks>$2</tasks>"
	echo "</job_list>"
}

record() {
	[ "$1" = "$want" ] || return
	failed=0
	case $3 in
	DONE | FAILED) ;;
	CANCELLED) failed="100 : assumedly after job" ;;
	*) return ;;
	esac
	found=yes
	task=$2
	[ "$task" = 0 ] && task=undefined
	printf '==============================================================\nqname        all.q\njobnumber    %s\ntaskid       %s\nfailed       %s\nexit_status  %s\n' "$1" "$task" "$failed" "$4                  (Killed)"
}

case $name in
qsub)
	tasks= hosts=
	while [ $# -gt 0 ]; do
		case $1 in
		-pe) n=1
			while [ "$n" -le "$3" ]; do
				hosts="$hosts$(printf 'node%s 1 all.q@node%s UNDEFINED\nx' "$n" "$n")"
				hosts=${hosts%x}
				n=$((n + 1))
			done ;;
		-t) tasks=${2#1-} ;;
		-q) [ "$2" != nope ] || { echo 'Unable to run job: Job was rejected because job requests unknown queue "nope"' >&2; echo "Exiting." >&2; exit 1; } ;;
		-N) jobname=$2
			case $2 in
			[0-9]*) echo "Unable to run job: denied: \"$2\" is not a valid object name (cannot start with a digit)" >&2; exit 1 ;;
			esac ;;
		esac
		shift
	done
	new
	echo "$jobname" >"$jobs/$id/name"
	cat >"$jobs/$id/script"
	[ ! -f "$GAT_QUEUE/banner" ] || cat "$GAT_QUEUE/banner"
	if [ -z "$tasks" ]; then
		printf '%s' "$hosts" >"$jobs/$id/hosts"
		enqueue 0 QUEUE=short.q JOB_ID="$id" SGE_TASK_ID=undefined NSLOTS=2 PE_HOSTFILE="$jobs/$id/hosts"
		echo "$id"
	else
		n=1
		while [ "$n" -le "$tasks" ]; do
			enqueue "$n" JOB_ID="$id" SGE_TASK_ID="$n" NSLOTS=2
			n=$((n + 1))
		done
		echo "$id.1-$tasks:1"
	fi
	;;
qstat)
	case "$*" in
	-help) echo "SGE 8.1.9"; exit 1 ;;
	--version) echo "error: Unknown option --version" >&2; exit 1 ;;
	"-g c")
		echo "CLUSTER QUEUE                   CQLOAD   USED    RES  AVAIL  TOTAL aoACDS  cdsuE  "
		echo "--------------------------------------------------------------------------------"
		echo "all.q                             0.10      1      0      5      6      0      0 "
		echo "short.q                           0.10      0      0      6      6      0      0 "
		exit
		;;
	-j*)
		if [ -f "$jobs/$2/0/state" ]; then
			read -r state code <"$jobs/$2/0/state"
			echo "job_number:                 $2"
			[ "$state" != ERROR ] || echo "error reason          1:      11/22/2026 11:44:22 [1000:380]: error: can't open output file"
			exit
		fi
		echo "Following jobs do not exist: $2" >&2
		exit 1
		;;
	esac
	echo "<?xml version='1.0'?>"
	echo '<job_info  xmlns:xsd="http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd"><queue_info>'
	each row
	echo '</queue_info><job_info></job_info></job_info>'
	;;
qrsh) # -inherit HOST COMMAND...: what it is given is a line for another shell
	shift 2
	exec env -u PE_HOSTFILE /bin/sh -c "$*"
	;;
qacct)
	want=$2 found=
	each record
	[ -n "$found" ] || { echo "error: job id $2 not found" >&2; exit 1; }
	;;
qdel)
	s=0
	if [ "$2" = -t ]; then
		n=${3%-*}
		while [ "$n" -le "${3#*-}" ]; do
			if known "$1" "$n"; then
				kill_task "$1" "$n" && echo "u has registered the job-array task $1.$n for deletion"
			else
				echo "denied: job \"$1\" does not exist" && s=1
			fi
			n=$((n + 1))
		done
		exit $s
	fi
	for a; do
		if known "$a" 0 && kill_task "$a" 0; then
			echo "u has registered the job $a for deletion"
		else
			echo "denied: job \"$a\" does not exist" && s=1
		fi
	done
	exit $s
	;;
qconf)
	case $1 in
	-sql) printf 'all.q\nshort.q\n' ;;
	-sq)
		[ "$2" = short.q ] ||
			printf 'qname                 all.q\npe_list               mpi whole onepernode\nh_rt                  INFINITY\nuser_lists            NONE\n'
		printf 'qname                 short.q\npe_list               NONE\nh_rt                  00:01:00\nuser_lists            NONE\n'
		;;
	-spl) printf 'mpi\nwhole\nonepernode\n' ;;
	-sp)
		case $2 in
		mpi) r='$fill_up' ;;
		whole) r='$pe_slots' ;;
		onepernode) r=1 ;;
		esac
		printf 'pe_name            %s\nslots              99\nallocation_rule    %s\ncontrol_slaves     TRUE\n' "$2" "$r"
		;;
	-sc)
		echo "#name               shortcut   type      relop   requestable consumable default  urgency"
		echo "h_rt                h_rt       TIME      <=      YES         NO         0:0:0    0"
		echo "h_vmem              h_vmem     MEMORY    <=      YES         NO         0        0"
		echo "mem_free            mf         MEMORY    <=      YES         YES        0        0"
		;;
	-sel) printf 'e1\ne2\n' ;;
	-sconf) echo "enforce_project              false" ;;
	esac
	;;
esac
