#!/bin/sh
# resources.sh LOG...: reads the logs of ptxas (tensor/kernels/cuda/compile.sh). Prints kernels that use stack, and the mean and maximum of registers.
# Fails if a kernel spills registers.
cat "$@" | awk '
  / Function properties for / || /Compiling entry function/ { name = $0; gsub(/.* for |.*function ./, "", name); sub(/. for .*/, "", name) }
  /bytes stack frame/ {
    if ($1 > 0 || $5 > 0 || $9 > 0) { printf "%s bytes of stack, %s and %s bytes of spills: %s\n", $1, $5, $9, name; if ($5 > 0 || $9 > 0) spills++ }
  }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/); n = substr($0, RSTART + 5, RLENGTH - 5) + 0
    kernels++; total += n; if (n > most) { most = n; of = name }
  }
  END {
    printf "%d kernels for all architectures; %.0f registers on average, at most %d (%s); %d kernels spill\n", kernels, total / kernels, most, of, spills
    exit kernels == 0 || spills > 0
  }'
