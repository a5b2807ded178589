if [ -z "$gat_given" ]; then
	GAT_LEFT=$(qstat -f "$PBS_JOBID" 2>/dev/null | awk '$1 == "Resource_List.walltime" {n = split($3, p, ":"); t = 0; for (k = 1; k <= n; k++) t = 60 * t + p[k]; print t}')
	[ -n "$GAT_LEFT" ] && export GAT_LEFT || unset GAT_LEFT
fi
