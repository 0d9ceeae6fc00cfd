#!/bin/bash
# A job on a SLURM cluster: sbatch configs/slurm.sh; one process a node, all its GPUs.
# Arguments after the script go to densityguide run: sbatch configs/slurm.sh --set count=1000
# SLURM sends SIGTERM two minutes before the time is up; status 75 then puts the job back into the
# queue, where it goes on from its last shard.
#SBATCH --job-name=densityguide
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun --kill-on-bad-exit=1 densityguide run configs/emoji32-sweep.toml \
  --out "${SCRATCH:-.}/emoji32-sweep" --distributed "$@"
status=$?
if [ "$status" -eq 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
