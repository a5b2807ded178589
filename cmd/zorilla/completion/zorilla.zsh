#compdef zorilla
# Completion of zorilla's command lines for zsh: source <(zorilla completion zsh)

_zorilla() {
	local line files
	local -a found
	while IFS= read -r line; do
		case $line in
		:files) files=yes ;;
		*) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
		esac
	done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
	(( ${#found} )) && _describe zorilla found
	[[ -n $files ]] && _files
}

compdef _zorilla zorilla
