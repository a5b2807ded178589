gat_ids=$(qselect -u "$(id -un)") || exit
echo '== ids'
echo "$gat_ids"
echo '== jobs'
[ -z "$gat_ids" ] || gat_ask -t -f $gat_ids || exit
echo '== end'
