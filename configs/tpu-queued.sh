#!/bin/bash
# A job on a pod of preemptible TPUs: configs/tpu-queued.sh NAME ZONE gs://BUCKET/job [OPTIONS of run]
# Waits in Google's queue for a v5e pod of 16 chips, installs densityguide on every host, runs
# configs/tpu-pod.toml on all of them, and asks for another pod when this one is taken away; the job
# goes on from its last shard. Ends, and gives the pod back, once the job ends otherwise.
# Not tried: no TPU was at hand. It wants gcloud with a project, and a checkout as working folder.
set -euo pipefail

name=$1 zone=$2 out=$3
shift 3
tpu() { gcloud compute tpus "$@" --zone="$zone" --quiet; }
state() { tpu queued-resources describe "$name" --format='value(state.state)'; }

while true; do
  tpu queued-resources create "$name" --node-id="$name" --spot \
    --accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite
  until [ "$(state)" = ACTIVE ]; do
    case $(state) in FAILED | SUSPENDED) break ;; esac
    sleep 30
  done

  status=75
  if [ "$(state)" = ACTIVE ]; then
    tpu tpu-vm scp configs/tpu-pod.toml "$name":job.toml --worker=all
    tpu tpu-vm ssh "$name" --worker=all \
      --command="pip install --quiet densityguide 'jax[tpu]' gcsfs"
    status=0
    tpu tpu-vm ssh "$name" --worker=all \
      --command="densityguide run job.toml --out $out --distributed $*" || status=$?
    # A pod that was taken away drops the connection, with whatever status ssh gives it.
    if [ "$status" -ne 0 ] && [ "$(state)" != ACTIVE ]; then status=75; fi
  fi
  tpu queued-resources delete "$name" --force
  [ "$status" -eq 75 ] || exit "$status"
done
