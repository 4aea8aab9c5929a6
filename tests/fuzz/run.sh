#!/bin/sh
# run.sh TARGET SECONDS SEEDS...: fuzzes for so long from the seeds. What it finds stays in the current folder as crash-*, leak-*, oom-* or
# timeout-*; run the target on such a file to see it again.
set -eu
target=$1 seconds=$2
shift 2
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 "$found" "$@"
