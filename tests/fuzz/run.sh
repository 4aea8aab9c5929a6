#!/bin/sh
# run.sh TARGET SECONDS SEEDS...: fuzzes for so long from the seeds, with the same random numbers each time unless FUZZ_SEED says others, so that two
# runs on one build differ by little; what they leave out, long runs with other numbers try (docs/decisions.md). What it finds stays in the
# current folder as crash-*, leak-*, oom-* or timeout-*; run the target on such a file to see it again.
set -eu
target=$1 seconds=$2
shift 2
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
"$target" -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 "$found" "$@"
