gat_l=$(qstat -xml -u "$(id -un)" </dev/null) || exit
printf '%s\n' "$gat_l" | tr '<' '\n' | awk -F'>' '
$1 ~ /^job_list/ { id = state = tasks = "" }
$1 == "JB_job_number" { id = $2 }
$1 == "state" { state = $2 }
$1 == "tasks" { tasks = $2 }
$1 == "/job_list" {
	gsub(/[ \t\r]/, "", id)
	gsub(/[ \t\r]/, "", tasks)
	s = "queued"
	if (state ~ /E/) s = "held"
	else if (state ~ /[rtsST]/ || state ~ /R/ && state !~ /qw/) s = "running"
	else if (state ~ /h/) s = "held"
	if (tasks == "") { print id, s; next }
	# 3, or 4-9:1, or several of them
	n = split(tasks, parts, ",")
	for (i = 1; i <= n; i++) {
		m = split(parts[i], range, ":")
		step = m > 1 && range[2] > 0 ? range[2] + 0 : 1
		m = split(range[1], ends, "-")
		last = m > 1 ? ends[2] + 0 : ends[1] + 0
		for (t = ends[1] + 0; t <= last && t < ends[1] + 10000; t += step) print id "." t, s
	}
}
'
