gat_s=0
for gat_j in "$@"; do
	case $gat_j in
	*.*) gat_e=$(qdel "${gat_j%.*}" -t "${gat_j#*.}" </dev/null 2>&1) ;;
	*) gat_e=$(qdel "$gat_j" </dev/null 2>&1) ;;
	esac || case $gat_e in
	*"does not exist"* | *"lready in deletion"* | *"egistered the job"* | *"has deleted job"*) ;;
	*)
		echo "$gat_e" >&2
		gat_s=1
		;;
	esac
done
exit $gat_s
