gat_e=$(scancel "$@" </dev/null 2>&1) && exit
gat_e=$(printf '%s\n' "$gat_e" | grep -v -i -e 'invalid job id' -e 'already completing or completed' -e 'job/step already' -e 'does not exist')
[ -z "$gat_e" ] && exit
echo "$gat_e" >&2
exit 1
