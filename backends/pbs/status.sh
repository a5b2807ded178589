gat_fields='/^Job Id:/ {print; keep = 0; next} /^    (Job_Name|job_state|comment|Exit_status|Hold_Types) = / {print; keep = 1; next} /^\t/ {if (keep) print; next} {keep = 0}'
gat_ask() {
	exec 3>&1
	gat_e=$({ qstat "$@" | awk "$gat_fields" >&3; } 2>&1)
	echo '== gone'
	printf '%s\n' "$gat_e" | grep -i -E 'has finished|unknown job id'
	gat_e=$(printf '%s\n' "$gat_e" | grep -v -i -E 'has finished|unknown job id')
	[ -z "$gat_e" ] || { printf '%s\n' "$gat_e" >&2; return 1; }
}
