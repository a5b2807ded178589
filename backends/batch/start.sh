set +e +f +u +x
unset CDPATH GREP_OPTIONS
gat_nl='
'
gat_cr=$(printf '\r')
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
export PATH
gat_path=$PATH gat_dir=

# gat_catch: hands the signals that come on to the processes that gat_wait waits for.
gat_catch() {
	gat_pid=
	for gat_s in TERM USR1 USR2 XCPU HUP INT; do
		(trap : "$gat_s") 2>/dev/null && trap "gat_pass $gat_s" "$gat_s"
	done
}

gat_pass() {
	[ -z "$gat_pid" ] || kill -"$1" $gat_pid 2>/dev/null
}

# gat_wait PID...: sets gat_s to the worst status that they end with.
gat_wait() {
	gat_pid=$* gat_worst=0
	for gat_p; do
		while :; do
			wait "$gat_p"
			gat_s=$?
			kill -0 "$gat_p" 2>/dev/null || break
		done
		[ "$gat_s" -le "$gat_worst" ] || gat_worst=$gat_s
	done
	gat_s=$gat_worst
}
