# Prints the directories that hold a session's directory, one a line after
# "base ", wherever the session may have been put. It makes nothing, and removes the
# user's own directory in scratch where it is empty.
# Arguments: name of the session's directory, the sites file's scratch directory
# (may be empty).
dir=$1 wanted=$2
if [ -n "$wanted" ]; then
	set -- "$wanted"
else
	set -- ${TMPDIR:+"$TMPDIR"} /tmp /var/tmp /dev/shm ${XDG_RUNTIME_DIR:+"$XDG_RUNTIME_DIR"} ${HOME:+"$HOME"}
fi
for parent in "$@"; do
	base=$parent/zorilla-$(id -u)
	[ ! -L "$base" ] && [ -O "$base" ] || continue
	if [ -d "$base/$dir" ]; then
		echo "base $base"
	else
		# Made just before it: as we make it, and empty.
		case $(ls -ldn "$base" 2>/dev/null) in
		drwx------*) rmdir "$base" 2>/dev/null ;;
		esac
	fi
done
echo end
