#!/bin/sh
# layers.sh ROOT: rules that hold for all sources. An #include may point to the file's own layer or to one below it, never up.
#   tensor <- autodiff <- nn <- flowmap <- apps;  data <- flowmap/training, apps, on tensor alone;  nothing includes tests
set -eu
cd "$1"
failed=0
check() {                                     # check LAYER ALLOWED...: the project's folders that files of LAYER may include from
  layer=$1
  shift
  allowed=$(echo "$@" | tr ' ' '|')
  up=$(grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' \
         '^[[:space:]]*#[[:space:]]*include[[:space:]]*"(tensor|autodiff|nn|flowmap|data|apps|tests)/' "$layer" |
       grep -vE "\"($allowed)/" || true)
  # The only part of flowmap that may see data has a line of its own; flowmap/flowmap.h is for programs outside the tree and includes all layers.
  [ "$layer" != flowmap ] || up=$(echo "$up" | grep -vE '^flowmap/(training/|flowmap\.h:)' || true)
  [ -z "$up" ] || { echo "$layer may include from: $*"; echo "$up"; failed=1; }
}
check tensor tensor
check autodiff autodiff tensor
check nn nn autodiff tensor
check flowmap flowmap nn autodiff tensor
check flowmap/training flowmap data nn autodiff tensor
up=$(grep -rn --exclude-dir=training --include='*.h' --include='*.cpp' '#include "flowmap/training/' flowmap | grep -v '^flowmap/flowmap\.h:' || true)
[ -z "$up" ] || { echo "flowmap/training is above the rest of flowmap"; echo "$up"; failed=1; }
up=$(grep -rnE --include='*.h' --include='*.cpp' '#include [<"]flowmap/flowmap\.h' tensor autodiff nn flowmap data apps | grep -vE ':[[:space:]]*//' || true)
[ -z "$up" ] || { echo "flowmap/flowmap.h is for programs outside the tree; include its parts"; echo "$up"; failed=1; }
check data data tensor
check apps apps flowmap data nn autodiff tensor
# doctest's Approx lets 0 pass for every number below its tolerance (tests/support/near.h).
approx=$(grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' '\<Approx\>' tests | grep -vE ':[[:space:]]*//' || true)
[ -z "$approx" ] || { echo "Approx accepts 0 for small numbers: use near(value, wanted, relative) of tests/support/near.h"; echo "$approx"; failed=1; }
# A file is read in one sitting. The names of ImageNet's classes are data.
long=$(find tensor autodiff nn flowmap data apps tests docs/examples docs/book -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' |
       grep -v '^data/imagenet_classes.cpp$' | xargs wc -l | awk '$2 != "total" && $1 > 450 { print "  " $2 ": " $1 " lines" }')
[ -z "$long" ] || { echo "files of more than 450 lines: split them by what they are about"; echo "$long"; failed=1; }
merges=$(grep -rlE '^(<<<<<<<|>>>>>>>) ' tensor autodiff nn flowmap data apps tests docs configs ./*.md || true)
[ -z "$merges" ] || { echo "marks of an unfinished merge:"; echo "$merges"; failed=1; }
[ "$failed" = 0 ] && echo "no include points up, no test uses Approx, no file is longer than 450 lines"
exit "$failed"
