#!/bin/bash
# A job on a SLURM cluster: sbatch configs/slurm.sh; one process a node, all its GPUs.
# Arguments after the script go to densityguide run: sbatch configs/slurm.sh --set count=1000
# SLURM sends SIGTERM two minutes before the time is up; status 75 then puts the job back into the
# queue, where it goes on from its last shard. So does a task that was killed (above 128); the others
# first take over its shards. After 20 times it stays out.
#SBATCH --job-name=densityguide
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun --kill-on-bad-exit=0 densityguide run configs/emoji32-sweep.toml \
  --out "${SCRATCH:-.}/emoji32-sweep" --distributed "$@"
status=$?
if { [ "$status" -eq 75 ] || [ "$status" -gt 128 ]; } && [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]
then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
