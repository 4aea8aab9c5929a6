#!/bin/sh
# stage_names.sh ROOT: apps/ writes no name of a stage as a literal outside apps/train/stage_names.h, so that a typo does not compile and a
# new stage is found by all that iterate over the table of stages. The names are read from that header. Left out are comments and options of
# a program that have the name of a stage: v("decoder", decoder, ...).
set -eu
cd "$1"
table=apps/train/stage_names.h
names=$(sed -n 's/.*constexpr const char\* [a-z]* = "\([a-z]*\)";.*/\1/p' "$table" | paste -sd '|')
[ -n "$names" ] || { echo "$table: no names found"; exit 1; }
found=$(grep -rnE --include='*.h' --include='*.cpp' "\"($names)\"" apps |
  grep -vE "^($table):|^[^:]*:[0-9]*:[[:space:]]*//|[[:space:]]v\(\"($names)\"," |
  grep -vE ":[^\"]*//[^\"]*\"($names)\"" || true)
[ -z "$found" ] || { echo "names of stages as literals; take stage_name::... or iterate over stage_table() (apps/train/stages.h):"; echo "$found"; exit 1; }
echo "no stage name outside the table"
