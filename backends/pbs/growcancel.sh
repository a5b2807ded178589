gat_e=$(qdel "$@" </dev/null 2>&1) && exit
gat_e=$(printf '%s\n' "$gat_e" | grep -v -i -e 'has finished' -e 'unknown job id' -e 'request invalid for state')
[ -z "$gat_e" ] && exit
echo "$gat_e" >&2
exit 1
