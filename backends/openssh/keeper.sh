# keeper DIR COMMAND...: runs a command as long as somebody holds the other end of
# standard input, and removes a directory when it has ended.
dir=$1
shift
exec 3<&0
"$@" </dev/null >/dev/null 3<&- &
command=$!
{ while read -r line; do :; done; kill "$command"; } <&3 3<&- >/dev/null 2>&1 &
watch=$!
exec 3<&- </dev/null
wait "$command"
status=$?
kill "$watch" 2>/dev/null
rm -rf -- "$dir"
exit "$status"
