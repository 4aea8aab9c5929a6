#!/bin/sh
# stage_names.sh ROOT: apps/ and flowmap/training/ write no name of a stage as a literal outside flowmap/training/chain/stage_names.h, so that a typo does not compile and a
# new stage is found by all that iterate over the table of stages. The names are read from that header. Left out are comments, the spaces and features
# that have the names of models for themselves, and options of
# a program that have the name of a stage: v("decoder", decoder, ...).
set -eu
cd "$1"
table=flowmap/training/chain/stage_names.h
names=$(sed -n 's/.*constexpr const char\* [a-z]* = "\([a-z]*\)";.*/\1/p' "$table" | paste -sd '|')
[ -n "$names" ] || { echo "$table: no names found"; exit 1; }
found=$(grep -rnE --include='*.h' --include='*.cpp' "\"($names)\"" apps flowmap/training |
  grep -vE "^($table|flowmap/training/(judge_features|rae_space|vae_space|published_sit|chain/space_vae)\.cpp):|^[^:]*:[0-9]*:[[:space:]]*//|[[:space:]]v\(\"($names)\"," |
  grep -vE ":[^\"]*//[^\"]*\"($names)\"" || true)
[ -z "$found" ] || { echo "names of stages as literals; take stage_name::... or iterate over stage_table() (flowmap/training/chain/stages.h):"; echo "$found"; exit 1; }
echo "no stage name outside the table"
