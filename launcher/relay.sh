# Connects standard input and output to HOST PORT, by what the machine has for it.
if command -v bash >/dev/null 2>&1; then
	exec bash -c 'exec 3<>"/dev/tcp/$0/$1" || exit 1; cat <&3 & cat >&3; wait' "$1" "$2"
fi
command -v nc >/dev/null 2>&1 && exec nc "$1" "$2"
echo "neither bash nor nc is there" >&2
exit 127
