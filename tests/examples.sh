#!/bin/sh
# examples.sh PROGRAM STEPS WORDS BOUND ...: runs an example for so many steps; the number that ends the line which begins with WORDS must be
# below BOUND, for each such pair. So the programs of docs/examples do what their text says, not just end.
set -eu
program=$1 steps=$2
shift 2
out=$("$program" "$steps")
echo "$out"
while [ $# -ge 2 ]; do
  echo "$out" | awk -v words="$1" -v bound="$2" '
    index($0, words) == 1 { seen = 1; good = $NF ~ /^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$/ && $NF + 0 < bound + 0 }
    END { if (!seen || !good) { print words ": missing, no number, or not below " bound; exit 1 } }'
  shift 2
done
