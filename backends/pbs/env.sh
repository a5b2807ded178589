if [ -z "$gat_given" ]; then
	GAT_JOB=$PBS_JOBID
	GAT_CORES=${NCPUS:-$OMP_NUM_THREADS}
	GAT_GPUS=${CUDA_VISIBLE_DEVICES:-$ROCR_VISIBLE_DEVICES}
	GAT_MEMORY= GAT_LEFT=
	for gat_s in GAT_JOB GAT_CORES GAT_MEMORY GAT_GPUS GAT_LEFT; do
		eval "[ -n \"\$$gat_s\" ] && export $gat_s || unset $gat_s"
	done
fi
