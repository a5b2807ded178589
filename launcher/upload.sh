# Takes a pilot binary on standard input.
# Arguments: directory, file name, "gzip" or "raw", the binary's size in bytes, the
# session's directory, which goes with the session whatever becomes of the upload.
umask 077
dir=$1 name=$2 mode=$3 size=$4 session=$5
mkdir "$dir" 2>/dev/null
set -- $(ls -ldn "$dir" 2>/dev/null)
case $1 in
drwx------*) ;;
*) echo "$dir is not a private directory (${1:-missing})" >&2; exit 1 ;;
esac
[ "$3" = "$(id -u)" ] || { echo "$dir belongs to another user (uid $3)" >&2; exit 1; }
new=$session/.new.$$
trap 'rm -f "$new"' 0
fail() {
	echo "cannot write to $dir: ${1##*: }" >&2
	exit 1
}
if [ "$mode" = gzip ]; then
	why=$(LC_ALL=C gzip -dc 2>&1 >"$new") || fail "$why"
else
	why=$(LC_ALL=C cat 2>&1 >"$new") || fail "$why"
fi
got=$(wc -c <"$new")
if [ "$got" -ne "$size" ]; then
	fail "only $got of $size bytes arrived"
fi
chmod 700 "$new" && mv -f "$new" "$dir/$name" || exit 1
echo ok
