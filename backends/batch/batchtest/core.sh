# A queue in a directory, $GAT_QUEUE: jobs/ID/TASK holds the job's script, its state
# (a word and an exit status) and its process. The file hold keeps jobs from starting.
jobs=$GAT_QUEUE/jobs

# fault: fails as the file fault says, if it is there: a status, then what to print.
fault() {
	[ -f "$GAT_QUEUE/fault-$1" ] || return 0
	read -r code <"$GAT_QUEUE/fault-$1"
	sed 1d "$GAT_QUEUE/fault-$1" >&2
	exit "$code"
}

# lost: loses the answer of a submission that has succeeded, once for each line of the
# file lost-NAME, which says how the command fails then. With mute-NAME it says nothing.
lost() {
	[ ! -f "$GAT_QUEUE/mute-$1" ] || exit 0
	[ -s "$GAT_QUEUE/lost-$1" ] || return 0
	head -n 1 "$GAT_QUEUE/lost-$1" >&2
	sed 1d "$GAT_QUEUE/lost-$1" >"$GAT_QUEUE/lost-$1.new"
	mv "$GAT_QUEUE/lost-$1.new" "$GAT_QUEUE/lost-$1"
	exit 1
}

# count NAME: notes that a command was run.
count() {
	printf '%s\n' "$*" >>"$GAT_QUEUE/commands"
}

# new: sets id to a new job's number.
new() {
	id=1
	for j in "$jobs"/*/; do
		[ ! -d "$j" ] || id=$((id + 1))
	done
	while ! mkdir "$jobs/$id" 2>/dev/null; do
		id=$((id + 1))
	done
}

# enqueue TASK NAME=VALUE...: starts a task with its own variables, when it is its turn.
enqueue() {
	t=$jobs/$id/$1
	mkdir "$t" || exit
	echo "PENDING 0" >"$t/state"
	shift
	setsid env "$@" /bin/sh -c '
		t=$1 hold=$2 script=$3
		while [ -e "$hold" ]; do sleep 0.2; done
		trap : TERM
		read -r state code <"$t/state"
		[ "$state" = PENDING ] || exit
		echo $$ >"$t/pid"
		read -r state code <"$t/state"
		[ "$state" = PENDING ] || exit
		echo "RUNNING 0" >"$t/state"
		(cd / && exec /bin/sh "$script") </dev/null >/dev/null 2>&1
		code=$?
		read -r state rest <"$t/state"
		[ "$state" = RUNNING ] || exit
		[ $code -eq 0 ] && state=DONE || state=FAILED
		echo "$state $code" >"$t/state.new"
		mv "$t/state.new" "$t/state"
	' run "$t" "$GAT_QUEUE/hold" "$jobs/$id/script" </dev/null >/dev/null 2>&1 &
}

# each FUNCTION: calls it with id, task, state and exit status of every task.
each() {
	for t in "$jobs"/*/*/; do
		t=${t%/}
		[ -f "$t/state" ] || continue
		read -r state code <"$t/state" || read -r state code <"$t/state" || continue
		i=${t#"$jobs/"}
		"$1" "${i%/*}" "${i#*/}" "$state" "$code"
	done
}

# known ID TASK
known() {
	[ -f "$jobs/$1/$2/state" ]
}

# kill_task ID TASK: 1 if it has ended already.
kill_task() {
	t=$jobs/$1/$2
	read -r state code <"$t/state"
	case $state in
	PENDING | RUNNING) ;;
	*) return 1 ;;
	esac
	echo "CANCELLED 143" >"$t/state"
	[ -f "$t/pid" ] || return 0
	read -r pid <"$t/pid"
	kill -TERM -"$pid" 2>/dev/null
	setsid /bin/sh -c 'sleep 0.3; kill -KILL -"$1" 2>/dev/null' kill "$pid" </dev/null >/dev/null 2>&1 &
	return 0
}
