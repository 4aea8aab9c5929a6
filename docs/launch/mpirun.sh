#!/usr/bin/env bash
# Ranks on this machine, or on the hosts of a hostfile, by Open MPI. Was run: on one machine of two cores.
#   docs/launch/mpirun.sh RANKS CONFIG OUT [STAGE] [HOSTFILE]
set -euo pipefail
ranks=$1 config=$2 out=$3 stage=${4:-pipeline}
hosts=(); [ $# -lt 5 ] || hosts=(--hostfile "$5")
# Cores for a rank: its threads and the one that talks share them, so ranks are bound to no single core. As root add --allow-run-as-root, with
# more ranks than cores --oversubscribe.
export OMP_WAIT_POLICY=passive
code=0
mpirun -np "$ranks" "${hosts[@]}" --bind-to none -x OMP_WAIT_POLICY \
  build/apps/flowmap_train "$stage" --config "$config" --out "$out" || code=$?
# 75: stopped early and saved. 76, and 137 where mpirun saw a rank die: the same command resumes from the last checkpoint.
exit "$code"
