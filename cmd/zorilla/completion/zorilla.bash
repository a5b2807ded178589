# Completion of zorilla's command lines for bash: source <(zorilla completion bash)

_zorilla() {
	local word line files=
	COMPREPLY=()
	word=${COMP_WORDS[COMP_CWORD]}
	while IFS= read -r line; do
		case $line in
		:files) files=yes ;;
		*) COMPREPLY+=("${line%%$'\t'*}") ;;
		esac
	done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	if [ -n "$files" ]; then
		compopt -o filenames 2>/dev/null
		while IFS= read -r line; do
			COMPREPLY+=("$line")
		done < <(compgen -f -- "$word")
	fi
}

complete -F _zorilla zorilla
