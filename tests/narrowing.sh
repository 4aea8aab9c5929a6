#!/bin/sh
# narrowing.sh ROOT: no cast in apps, data, flowmap and nn makes a smaller integer of a larger one without a check: narrow<int>(x) does
# (tensor/narrow.h). A cast keeps the low bits, so that 4294967297 became 1. Left out are files that compute with pixels and bits, whose
# sizes are checked where they come in; a line of another kind may say why its value fits: "// fits: reason".
set -eu
cd "$1"
casts='(static_cast<|(^|[^A-Za-z0-9_:<]))((std::)?u?int32_t|(std::)?u?int16_t|unsigned|int|short)(>\(|\()[^*)]'
found=$(grep -rnE --include='*.h' --include='*.cpp' "$casts" apps data flowmap nn |
  grep -vE '^(data/(pillow_resize|png|font|shapes|gzip)\.(cpp|h)|data/report/|flowmap/draws\.h|nn/init\.cpp)' |
  grep -vE 'std::function<|// fits: ' || true)
[ -z "$found" ] || { echo "casts to smaller integers; use narrow<...>(...) of tensor/narrow.h:"; echo "$found"; exit 1; }
echo "no unchecked narrowing cast"
