# gat_try PARENT KIB: takes a new private directory below PARENT as gat_dir, if
# there is room in it and programs can run there.
gat_try() {
	[ -d "$1" ] && [ -w "$1" ] || return 1
	gat_dir=${1%/}/gat-$(id -u)-$$-$(date +%s)
	(umask 077 && mkdir "$gat_dir") 2>/dev/null || return 1
	case $(ls -ldn "$gat_dir") in
	drwx--[-S]---*" $(id -u) "*) ;;
	*) rmdir "$gat_dir"; return 1 ;;
	esac
	printf '#!/bin/sh\nexit 7\n' >"$gat_dir/probe" && chmod 700 "$gat_dir/probe" && "$gat_dir/probe"
	[ $? -eq 7 ] && gat_free=$(df -Pk "$gat_dir" | awk 'NR==2 {print $4}') && [ "${gat_free:-999999999}" -ge "$2" ] && rm -f "$gat_dir/probe" && return 0
	rm -rf "$gat_dir"
	return 1
} 2>/dev/null

# gat_decode: base64 to bytes.
gat_decode() {
	if command -v base64 >/dev/null 2>&1; then
		base64 -d
	elif command -v openssl >/dev/null 2>&1; then
		openssl base64 -d
	elif command -v perl >/dev/null 2>&1; then
		perl -MMIME::Base64 -ne 'print decode_base64($_)'
	else
		python3 -c 'import base64,sys; sys.stdout.buffer.write(base64.b64decode(sys.stdin.read()))'
	fi
}

# gat_put NAME MODE TOOL SIZE: makes a file of its input, which TOOL packed.
gat_put() {
	(umask 077 && gat_decode | "$3" -dc >"$gat_dir/$1") 2>/dev/null && [ "$(($(wc -c <"$gat_dir/$1")))" -eq "$4" ] && chmod "$2" "$gat_dir/$1"
}

# gat_fail STATUS: ends without having run the command.
gat_fail() {
	trap - 0
	PATH=$gat_path
	[ -z "$gat_dir" ] || { cd /; rm -rf "$gat_dir"; }
	exit "$1"
}

# gat_run COMMAND...: runs it in the files' directory and removes that afterwards.
gat_run() {
	gat_catch
	exec 4<&0
	"$@" <&4 4<&- &
	gat_wait $!
	gat_fail "$gat_s"
}

# Until the command has its own say, a signal ends the job and leaves nothing.
trap 'gat_fail 143' TERM HUP INT
