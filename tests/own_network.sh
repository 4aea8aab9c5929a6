#!/bin/sh
# own_network.sh PROGRAM [OTHER]: docs/examples/own_network.cpp trained in one go, and once more with a kill at step 600 between. Both must leave the
# same checkpoints and print the same samples, which lie near the circle. OTHER is the same program built otherwise: it is the one killed and resumed.
set -eu
other=${2:-$1}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fail() { echo "$*"; exit 1; }
"$1" "$root/whole" >"$root/whole.txt" 2>"$root/log"
code=0
"$other" "$root/killed" 600 >"$root/none.txt" 2>>"$root/log" || code=$?
[ "$code" = 137 ] || fail "a process that kills itself at step 600 ended with $code, not 137"
[ ! -s "$root/none.txt" ] || fail "it printed samples all the same"
[ -d "$root/killed/circle/checkpoints/step-00000500" ] || fail "no checkpoint of step 500 is left"
"$other" "$root/killed" >"$root/resumed.txt" 2>"$root/log2"
grep -q 'resuming from .*step-00000500 (step 500)' "$root/log2" || fail "it did not resume from step 500: $(cat "$root/log2")"
last=circle/checkpoints/step-00001000
diff -r "$root/whole/$last" "$root/killed/$last" || fail "the checkpoints differ"
diff "$root/whole.txt" "$root/resumed.txt" || fail "the samples differ"
for run in whole killed; do
  for file in metrics.csv report.html config.toml; do [ -s "$root/$run/circle/$file" ] || fail "$run: no $file"; done
  cut -d, -f1,3- "$root/$run/circle/metrics.csv" >"$root/$run.csv"     # without the times
done
diff "$root/whole.csv" "$root/killed.csv" || fail "the metrics differ"
[ "$(wc -l <"$root/whole.csv")" = 21 ] || fail "not 20 rows of metrics"
grep -q '<svg' "$root/whole/circle/report.html" || fail "a report without curves"
awk '{ r = sqrt($1 * $1 + $2 * $2); if (r > 0.7 && r < 1.3) near++ } END { if (NR != 16 || near < 14) { print near " of " NR " samples are near the circle"; exit 1 } }' \
  "$root/whole.txt"
echo "killed and resumed: the same bits"
