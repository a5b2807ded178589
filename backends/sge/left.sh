if [ -z "$gat_given$GAT_LEFT" ] && [ -n "$QUEUE" ]; then
	# The job may be in a queue that ends it soon, for it goes to any that has room.
	GAT_LEFT=$(qconf -sq "$QUEUE" 2>/dev/null | awk '$1 == "h_rt" {sub(/,.*/, "", $2); if ($2 ~ /^[0-9:]+$/) {n = split($2, p, ":"); t = 0; for (k = 1; k <= n; k++) t = 60 * t + p[k]; print t}; exit}')
	[ -n "$GAT_LEFT" ] && export GAT_LEFT || unset GAT_LEFT
fi
