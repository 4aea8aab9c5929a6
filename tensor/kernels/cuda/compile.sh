#!/bin/sh
# compile.sh LOG NVCC ARGUMENTS...: compiles, and writes the report of ptxas on each kernel to LOG (read by tests/cuda/resources.sh), not to the screen.
log=$1; shift
"$@" -Xptxas -v >"$log" 2>&1 || { grep -v -E '^ptxas info|bytes (stack|gmem)' "$log" >&2; exit 1; }
