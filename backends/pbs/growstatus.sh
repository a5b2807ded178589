gat_ids=$(qselect -u "$(id -un)" </dev/null) || exit
[ -n "$gat_ids" ] || exit 0
gat_l=$(gat_ask -t -f $gat_ids </dev/null) || exit
printf '%s\n' "$gat_l" | awk '
function tell() {
	# The parent of an array tells nothing of its tasks.
	if (id == "" || id ~ /\[\]/) return
	s = ""
	if (state ~ /^[QWTM]$/) s = comment ~ /Can Never Run/ ? "held" : "queued"
	else if (state == "H") s = "held"
	else if (state ~ /^[REBSU]$/) s = "running"
	else if (state ~ /^[FX]$/) s = "done"
	if (s != "") print id, s
}
/^== / { exit }
/^Job Id: / { tell(); id = $3; state = comment = last = ""; next }
/^    [A-Za-z_.]+ = / {
	last = $1
	if (last == "job_state") state = $3
	if (last == "comment") comment = $0
	next
}
/^\t/ { if (last == "comment") comment = comment substr($0, 2) }
END { tell() }
'
