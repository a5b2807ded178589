gat_catch
gat_seen= gat_all= gat_n=0 gat_i=0
gat_here() {
	printf "gat_given=yes GAT_JOB='%s' GAT_CORES='%s' GAT_NODE='%s' GAT_LEFT='%s' GAT_MEMORY='%s'\n" "$GAT_JOB" "$GAT_CORES" "$gat_n" "$GAT_LEFT" "$GAT_MEMORY"
	echo 'for gat_s in GAT_JOB GAT_CORES GAT_NODE GAT_LEFT GAT_MEMORY; do eval "[ -n \"\$$gat_s\" ] && export $gat_s || unset $gat_s"; done'
	gat_node
}
while read -r gat_host; do
	case " $gat_seen " in
	*" $gat_host "*) ;;
	*)
		gat_seen="$gat_seen $gat_host"
		gat_text=
		[ "$(gat_here | wc -c)" -ge 100000 ] || gat_text=$(gat_here)
		if [ "$gat_n" -eq 0 ]; then
			gat_here | /bin/sh &
		elif [ -n "$gat_text" ] && command -v pbsdsh >/dev/null 2>&1; then
			pbsdsh -n "$gat_i" -- /bin/sh -c "$gat_text" </dev/null &
		else
			gat_here | ssh -o BatchMode=yes "$gat_host" exec /bin/sh &
		fi
		gat_all="$gat_all $!"
		gat_n=$((gat_n + 1))
		;;
	esac
	gat_i=$((gat_i + 1))
done <"$PBS_NODEFILE"
gat_wait $gat_all
