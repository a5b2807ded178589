gat_catch
gat_seen= gat_all= gat_n=0
gat_here() {
	printf "gat_given=yes GAT_JOB='%s' GAT_CORES='%s' GAT_NODE='%s' GAT_LEFT='%s' GAT_MEMORY='%s'\n" "$GAT_JOB" "$1" "$gat_n" "$GAT_LEFT" "$GAT_MEMORY"
	echo 'export GAT_JOB GAT_CORES GAT_NODE; [ -n "$GAT_LEFT" ] && export GAT_LEFT || unset GAT_LEFT; [ -n "$GAT_MEMORY" ] && export GAT_MEMORY || unset GAT_MEMORY'
	gat_node
}
# qrsh hangs for ever when much is sent to it before the other side listens.
gat_pipes=$(umask 077; mktemp -d "${TMPDIR:-/tmp}/gat-pipes-XXXXXX") || exit
while read -r gat_host gat_slots gat_rest; do
	case " $gat_seen " in
	*" $gat_host "*) continue ;;
	esac
	gat_seen="$gat_seen $gat_host"
	if [ "$gat_n" -eq 0 ]; then
		gat_here "$gat_slots" | /bin/sh &
	else
		mkfifo "$gat_pipes/$gat_n" || exit
		{
			echo 'echo ready'
			read -r gat_word <"$gat_pipes/$gat_n"
			gat_here "$gat_slots"
		} | qrsh -inherit "$gat_host" /bin/sh >"$gat_pipes/$gat_n" &
	fi
	gat_all="$gat_all $!"
	gat_n=$((gat_n + 1))
done <"$PE_HOSTFILE"
gat_wait $gat_all
rm -rf "$gat_pipes"
