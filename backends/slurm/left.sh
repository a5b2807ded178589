if [ -z "$GAT_LEFT" ]; then
	GAT_LEFT=$(squeue -h -j "$SLURM_JOB_ID" -o %L 2>/dev/null | awk '/^[0-9][0-9:-]*$/ {s = $0; d = 0; if (i = index(s, "-")) {d = substr(s, 1, i - 1); s = substr(s, i + 1)}; n = split(s, p, ":"); t = 0; for (k = 1; k <= n; k++) t = 60 * t + p[k]; print t + 86400 * d; exit}')
	# The node's own clock comes last: it may be off.
	[ -n "$GAT_LEFT" ] || [ -z "$SLURM_JOB_END_TIME" ] || GAT_LEFT=$((SLURM_JOB_END_TIME - $(date +%s)))
	[ -n "$GAT_LEFT" ] && export GAT_LEFT || unset GAT_LEFT
fi
