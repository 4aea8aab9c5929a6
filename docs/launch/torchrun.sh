#!/usr/bin/env bash
# torchrun as a launcher of ranks; the program itself needs no Python. Was run: on one machine, two ranks.
#   docs/launch/torchrun.sh NODES RANKS_PER_NODE HEAD_HOST CONFIG OUT [STAGE]      on each node
set -euo pipefail
nodes=$1 ranks=$2 head=$3 config=$4 out=$5 stage=${6:-pipeline}
# FLOWMAP_RENDEZVOUS_SECRET, the same on each node (openssl rand -hex 16), keeps others from taking a rank's place; without it rank 0 warns.
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($(nproc) / ranks))}    # torchrun would set 1
# A lost rank ends the others with 76; torchrun then starts all of them again, and they resume from the last checkpoint.
exec torchrun --nnodes="$nodes" --nproc_per_node="$ranks" --rdzv_backend=c10d --rdzv_endpoint="$head:29500" --max_restarts=3 \
  --no_python build/apps/flowmap_train "$stage" --config "$config" --out "$out"
