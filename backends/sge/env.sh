if [ -z "$gat_given" ]; then
	GAT_JOB=$JOB_ID
	case $SGE_TASK_ID in
	'' | undefined) ;;
	*) GAT_JOB=$JOB_ID.$SGE_TASK_ID ;;
	esac
	GAT_CORES=$NSLOTS
	GAT_GPUS=${CUDA_VISIBLE_DEVICES:-${ROCR_VISIBLE_DEVICES:-$(echo ${SGE_HGR_gpu:-$SGE_HGR_gpus} | tr ' ' ,)}}
	GAT_MEMORY= GAT_LEFT=
	for gat_s in GAT_JOB GAT_CORES GAT_MEMORY GAT_GPUS GAT_LEFT; do
		eval "[ -n \"\$$gat_s\" ] && export $gat_s || unset $gat_s"
	done
fi
PATH=${SGE_BINARY_PATH:+$SGE_BINARY_PATH:}$PATH
