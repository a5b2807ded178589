// Package slurm is the dialect of Slurm (14 and newer) for package batch.
//
// The one rule to know: Slurm takes jobs that can never start. A wall time over
// the partition's limit or more nodes than there are wait for ever on one site
// and are refused on another, so both are checked against what the site says of
// itself first, and a reason such as PartitionTimeLimit makes a job held.
//
// Jobs are asked for with squeue, once for all jobs of the user, finished ones
// included as long as the controller remembers them (MinJobAge). Exit statuses
// and forgotten jobs are looked up by sacct where accounting works and by scontrol
// show job, whose answer counts only if it is of the job asked for. Identifiers
// are 123, tasks of arrays 123_4, and those of another cluster 123;cluster. What
// is newer than 2014 is used only where it is there: srun --overlap is looked for
// by the job's script, --gpus-per-node takes the place of --gres by version.
package slurm
