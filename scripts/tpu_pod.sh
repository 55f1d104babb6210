#!/bin/bash
# Runs one program on all machines of a TPU pod slice, from the machine where gcloud is set up:
#   scripts/tpu_pod.sh NAME ZONE --config=experiments/cifar_mtl.py --mesh=data:32 \
#       --config.training.examples_per_task=64 --workdir=/shared/runs/cifar_mtl
# Each machine has this checkout in ~/routing_jax, installed with '.[tpu]', and sees /shared.
set -euo pipefail
name=$1 zone=$2
shift 2
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd ~/routing_jax && python launch.py --distributed $(printf '%q ' "$@")"
