#!/bin/sh
# run.sh TARGET SECONDS SEEDS...: fuzzes TARGET for SECONDS, beginning with the files of SEEDS. The random numbers are the same each time unless FUZZ_SEED is
# set, so two runs of one build differ little. Long runs with other numbers try other inputs (docs/decisions.md). Inputs that fail stay in the current
# folder as crash-*, leak-*, oom-* or timeout-*: run the target on such a file to reproduce the failure.
set -eu
target=$1 seconds=$2
shift 2
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
"$target" -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 "$found" "$@"
