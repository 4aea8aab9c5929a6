#!/bin/sh
# book.sh PROGRAM BOOK NAME CHAPTER RELATIVE ABSOLUTE: runs a program of docs/book. What it prints must be the first ```text block of BOOK/CHAPTER.md, and
# the CSV it writes must be BOOK/figures/NAME.csv: words as they are, numbers within ABSOLUTE + RELATIVE * size. In lines that begin with "time" and in
# columns of the CSV whose name begins with "time" the numbers are free. After "machine" at the beginning of a line all is: it depends on the processor.
set -eu
program=$1 book=$2 name=$3 chapter=$4 relative=$5 absolute=$6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" "$work" > "$work/printed"
cat "$work/printed"
awk '/^```text$/ { inside = 1; next } /^```/ && inside { exit } inside' "$book/$chapter.md" > "$work/shown"
compare() {                                   # compare WHAT NEW COMMITTED
  awk -v what="$1" -v relative="$relative" -v absolute="$absolute" '
    function number(x) { return x ~ /^[-+]?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$/ }
    function size(x) { return x < 0 ? -x : x }
    function fail(why) { print what ", line " FNR ": " why; failed = 1 }
    FNR == NR { wanted[FNR] = $0; lines = FNR; next }
    { new = $0; old = wanted[FNR]; seen = FNR
      if (new ~ /^machine/ && old ~ /^machine/) next
      free = new ~ /^time/
      gsub(/[(),:]/, " ", new); gsub(/[(),:]/, " ", old)
      n = split(new, a, " ")
      if (what ~ /csv$/ && FNR == 1) for (i = 1; i <= n; ++i) timed[i] = a[i] ~ /^time/
      if (split(old, b, " ") != n) { fail("\"" $0 "\" instead of \"" wanted[FNR] "\""); next }
      for (i = 1; i <= n; ++i) {
        if (number(a[i]) && number(b[i])) {
          if (!free && !timed[i] && size(a[i] - b[i]) > absolute + relative * (size(a[i]) > size(b[i]) ? size(a[i]) : size(b[i]))) fail(a[i] " instead of " b[i])
        } else if (a[i] != b[i]) fail(a[i] " instead of " b[i])
      } }
    END { if (seen != lines) { print what ": " seen " lines instead of " lines; failed = 1 }; exit failed }' "$3" "$2"
}
compare "$book/$chapter.md" "$work/printed" "$work/shown"
compare "$book/figures/$name.csv" "$work/$name.csv" "$book/figures/$name.csv"
grep -q '^<svg' "$work/$name.svg" || { echo "$name.svg is no SVG"; exit 1; }
