#!/bin/sh
# LOG NVCC ARGUMENTS...: compiles, and keeps what ptxas says of each kernel in LOG (tests/cuda/resources.sh reads it) rather than on the screen.
log=$1; shift
"$@" -Xptxas -v >"$log" 2>&1 || { grep -v -E '^ptxas info|bytes (stack|gmem)' "$log" >&2; exit 1; }
