: >"$1/started"
GAT_JOB=${1##*.gat-prun-}
GAT_GPUS=$CUDA_VISIBLE_DEVICES
GAT_NODE=$PRUN_CPU_RANK
GAT_CORES= GAT_MEMORY= GAT_LEFT=
for gat_s in GAT_JOB GAT_CORES GAT_MEMORY GAT_GPUS GAT_LEFT GAT_NODE; do
	eval "[ -n \"\$$gat_s\" ] && export $gat_s || unset $gat_s"
done
