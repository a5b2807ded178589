LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/bin:/usr/bin:/bin
boot=-
[ -r /proc/sys/kernel/random/boot_id ] && IFS= read -r boot </proc/sys/kernel/random/boot_id
boot=${boot%%-*}

# look PID: sets state, parent, group, session and start of a process; fails when there is none.
look() {
	text= start=
	if [ -r /proc/self/stat ]; then
		{ while IFS= read -r part; do text="$text $part"; done <"/proc/$1/stat"; } 2>/dev/null
		[ -n "$text" ] || return 1
		set -- "${text%% (*}" ${text##*) }
		pid=${1# } state=$2 parent=$3 group=$4 session=$5 start=${21}
	else
		pid=$1 session=-
		set -- $(ps -o stat= -o pgid= -o lstart= -p "$1" 2>/dev/null)
		[ $# -ge 3 ] || return 1
		state=${1%"${1#?}"} group=$2
		shift 2
		start=$1; shift
		for part; do start=${start}_$part; done
	fi
	[ -n "$start" ]
}

# alive ID: whether the process with this identifier is there, not only its number.
alive() {
	id_pid=${1%%.*} id_rest=${1#*.}
	[ "${id_rest##*.}" = "$boot" ] && look "$id_pid" && [ "$start" = "${id_rest%.*}" ] || return 1
	case $state in Z | X | x) return 1 ;; esac
}

# job COMMAND...: in a subshell of its own, reports itself on 3 and becomes the command.
job() {
	self=self
	[ -r /proc/self/stat ] || self=$(exec sh -c 'echo "$PPID"')
	look "$self" || { echo 'E this host does not tell when a process started: neither /proc nor ps -o lstart' >&3; exit 1; }
	printf 'J %s.%s.%s\n' "$pid" "$start" "$boot" >&3
	exec 3>&-
	case $detach in
	setsid) exec setsid "$@" ;;
	perl) exec perl -e 'use POSIX (); POSIX::setsid(); exec {$ARGV[0]} @ARGV; exit 127' -- "$@" ;;
	*) trap '' HUP; exec "$@" ;;
	esac
}

# submit COUNT DATA STDERR DIR EXECUTABLE COMMAND...
submit() {
	count=$1 data=$2 out=$3 dir=$4 exe=$5
	shift 5
	if [ -n "$dir" ]; then
		cd "$dir" >/dev/null 2>&1 || { printf 'N no working directory\n'; return; }
	fi
	[ -e "$exe" ] || { printf 'N no such executable\n'; return; }
	[ -f "$exe" ] && [ -x "$exe" ] || { printf 'P not executable\n'; return; }
	if [ -n "$out" ]; then
		why=$( (umask 077; : >>"$out") 2>&1) || { printf 'P cannot write the output: %s\n' "${why##*: }"; return; }
	else
		out=/dev/null
	fi
	if [ -n "$data" ]; then
		case $(command -v printf) in
		printf) ;;
		*) printf 'P the sh of this host has no printf of its own, so standard input cannot be passed in secret\n'; return ;;
		esac
	fi
	if command -v setsid >/dev/null 2>&1; then
		detach=setsid
	elif command -v perl >/dev/null 2>&1; then
		detach=perl
	else
		detach=group
		set -m 2>/dev/null
	fi
	while [ "$count" -gt 0 ]; do
		count=$((count - 1))
		if [ -n "$data" ]; then
			# The group hands its standard input on as 4, for a shell gives what it
			# puts in the background none.
			printf '%b' "$data" | { job "$@" 3>&1 <&4 4<&- >>"$out" 2>&1 & } 4<&0
		else
			job "$@" 3>&1 </dev/null >>"$out" 2>&1 &
		fi
	done
}

# status ID...: a line for each.
status() {
	for id; do
		if alive "$id"; then echo R; else echo -; fi
	done
}

# members: sets found to PID.START.BOOT of every process that the identifiers in targets
# started: in their sessions and groups, and their children's and so on.
members() {
	found=
	for target in $targets; do
		t_pid=${target%%.*} t_rest=${target#*.}
		t_start=${t_rest%.*}
		# While a session has members its number is not given to a new process, so they
		# are the job's unless a leader that started at another time is there.
		if look "$t_pid" && [ "$start" != "$t_start" ]; then continue; fi
		leaders="$leaders $t_pid "
		if [ -n "$start" ]; then found="$found $target"; fi
	done
	[ -r /proc/self/stat ] || return 0
	more=yes
	while [ -n "$more" ]; do
		more=
		for entry in /proc/[0-9]*; do
			look "${entry#/proc/}" || continue
			case $leaders in
			*" $session "* | *" $group "* | *" $parent "*) ;;
			*) continue ;;
			esac
			case "$found " in *" $pid.$start.$boot "*) continue ;; esac
			found="$found $pid.$start.$boot" leaders="$leaders $pid " more=yes
		done
	done
}

# strike SIGNAL: sends it to all in found, and to the groups they lead.
strike() {
	for victim in $found; do
		alive "$victim" || continue
		victim_pid=${victim%%.*}
		[ "$group" = "$victim_pid" ] && kill -"$1" -"$victim_pid" 2>/dev/null
		kill -"$1" "$victim_pid" 2>/dev/null
	done
}

# cancel ID...: asks them to end, and ends them two seconds later.
cancel() {
	targets= leaders=
	for id; do
		if alive "$id"; then targets="$targets $id"; fi
	done
	[ -n "$targets" ] || return 0
	members
	strike TERM
	(
		trap '' HUP
		sleep 2
		leaders=
		first=$found
		members
		found="$first $found"
		strike KILL
	) </dev/null >/dev/null 2>&1 &
	return 0
}
