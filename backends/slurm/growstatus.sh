gat_l=$(squeue -h -r -t all -u "$(id -un)" -o '%i|%T|%r' </dev/null) || exit
printf '%s\n' "$gat_l" | awk -F'|' '
NF < 3 { next }
{
	s = ""
	if ($2 ~ /^(PENDING|CONFIGURING|REQUEUED|REQUEUE_FED)$/)
		s = $3 ~ /^(JobHeld|PartitionNodeLimit|PartitionTimeLimit|PartitionConfig|PartitionDown|PartitionInactive|BadConstraints|AccountNotAllowed|Invalid|QOSNotAllowed|(QOS|Assoc).*PerJob|DependencyNever|ReservationDeleted|JobHoldMaxRequeue)|account not (known|allowed|permitted)|requeued?[ _]held/ ? "held" : "queued"
	else if ($2 ~ /^(REQUEUE_HOLD|RESV_DEL_HOLD|SPECIAL_EXIT)$/) s = "held"
	else if ($2 ~ /^(RUNNING|COMPLETING|SUSPENDED|STOPPED|STAGE_OUT|SIGNALING|RESIZING)$/) s = "running"
	else if ($2 ~ /^(COMPLETED|CANCELLED|FAILED|BOOT_FAIL|NODE_FAIL|OUT_OF_ME|TIMEOUT|DEADLINE|PREEMPTED|REVOKED|LAUNCH_FAILED|RECONFIG_FAIL)/) s = "done"
	if (s == "") next
	if ($1 !~ /_\[/) { print $1, s; next }
	# Tasks that wait in one line: 6_[2-3,7%2].
	split($1, whole, /_\[/)
	sub(/[%\]].*/, "", whole[2])
	n = split(whole[2], parts, ",")
	for (i = 1; i <= n; i++) {
		m = split(parts[i], range, ":")
		step = m > 1 && range[2] > 0 ? range[2] + 0 : 1
		m = split(range[1], ends, "-")
		last = m > 1 ? ends[2] + 0 : ends[1] + 0
		for (t = ends[1] + 0; t <= last && t < ends[1] + 10000; t += step) print whole[1] "_" t, s
	}
}
'
