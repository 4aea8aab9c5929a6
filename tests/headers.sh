#!/bin/sh
# headers.sh SOURCE COMPILER...: every header compiles by itself in the form that it has when installed. A header that its own source file includes
# first has shown that in a build of single files (ccache, -Dtogether=disabled), and includes.py reads all of them; the others are compiled here, each alone. install.sh compiles all of them together.
set -eu
source=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$source"
mkdir -p "$folder/include/flowmap"
find tensor autodiff nn flowmap data -name '*.h' -not -path 'tensor/kernels/*' -not -name mpi.h -not -name nccl_calls.h >"$folder/headers"
{ cat "$folder/headers"; ls tensor/kernels/rows/*.h; } | tar cf - -T - | tar xf - -C "$folder/include/flowmap"
mv "$folder/include/flowmap/flowmap/flowmap.h" "$folder/include/flowmap/"
DESTDIR='' sh flowmap/package/name_includes.sh "$source" "$folder/include"
alone=0 built=0
while read -r header; do
  file=${header%.h}.cpp
  if [ -f "$file" ] && [ "$(grep -m 1 '#include' "$file")" = "#include \"$header\"" ]; then
    built=$((built + 1))
    continue
  fi
  [ "$header" != flowmap/flowmap.h ] || header=flowmap.h
  echo "#include <flowmap/$header>" >"$folder/alone.cpp"
  "$@" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$folder/include" "$folder/alone.cpp" || { echo "$header does not compile by itself"; exit 1; }
  alone=$((alone + 1))
done <"$folder/headers"
echo "$alone headers compiled by themselves, $built first in their own source file"
