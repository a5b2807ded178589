umask 077
gat_dir=$(mktemp -d "$HOME/.gat-prun-XXXXXXXXXX") && cat >"$gat_dir/script" || exit
printf '%s\n' "$gat_name" >"$gat_dir/name" && uname -n >"$gat_dir/host" || { rm -rf "$gat_dir"; exit 1; }
prun -help 2>&1 </dev/null | grep -e -no-panda >/dev/null && set -- "$@" -no-panda
gat_keeper='
	trap : INT TERM HUP
	echo $$ >"$1/pid"
	gat_dir=$1
	shift
	"$@" /bin/sh "$gat_dir/script" "$gat_dir"
	rm -rf "$gat_dir"
'
setsid -f /bin/sh -c "$gat_keeper" gat-keeper "$gat_dir" "$@" </dev/null >/dev/null 2>&1 ||
	setsid /bin/sh -c "$gat_keeper" gat-keeper "$gat_dir" "$@" </dev/null >/dev/null 2>&1 &
gat_n=0
while [ ! -s "$gat_dir/pid" ] && [ -d "$gat_dir" ] && [ "$gat_n" -lt 50 ]; do
	gat_n=$((gat_n + 1))
	sleep 0.1 2>/dev/null || sleep 1
done
[ -s "$gat_dir/pid" ] || [ ! -d "$gat_dir" ] || { echo "the process that keeps prun did not start" >&2; rm -rf "$gat_dir"; exit 1; }
echo "${gat_dir##*.gat-prun-}"
