echo '== jobs'
gat_here=$(uname -n)
for gat_dir in "$HOME"/.gat-prun-*; do
	read -r gat_pid <"$gat_dir/pid" && read -r gat_name <"$gat_dir/name" && read -r gat_host <"$gat_dir/host" || continue
	if [ "$gat_host" = "$gat_here" ] && ! kill -0 "$gat_pid"; then
		rm -rf "$gat_dir"
		continue
	fi
	gat_state=queued
	[ ! -e "$gat_dir/started" ] || gat_state=running
	echo "${gat_dir##*.gat-prun-} $gat_state $gat_name"
done 2>/dev/null
echo '== end'
