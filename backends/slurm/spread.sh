gat_catch
gat_more=
srun --help 2>&1 | grep -e --overlap >/dev/null && gat_more=--overlap
[ -z "$SLURM_CPUS_PER_TASK" ] || gat_more="$gat_more --cpus-per-task=$SLURM_CPUS_PER_TASK"
gat_node | srun $gat_more --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=0 --no-kill --export=ALL /bin/sh -c 'GAT_NODE=$SLURM_PROCID; export GAT_NODE; eval "$(cat)"' &
gat_wait $!
