#!/bin/sh
# name_includes.sh SOURCE INCLUDE_FOLDER: run by `meson install` when the headers have been copied. In this tree they include each other as
# "tensor/tensor.h"; installed they say <flowmap/tensor/tensor.h>, so that others need no folder named tensor/, nn/ or data/ on their include path.
# Each header is written again from the tree's, so a second installation gives the same files. Headers that the tree no longer has are left alone.
set -eu
source=$1 headers=${DESTDIR:-}$2/flowmap
cd "$headers"
find . -name '*.h' | while read -r header; do
  from=$source/${header#./}
  [ "$header" != ./flowmap.h ] || from=$source/flowmap/flowmap.h       # the one header that lies above the layers' folders
  [ -f "$from" ] || continue
  sed -E 's,#include "((tensor|autodiff|nn|flowmap|data)/[^"]+)",#include <flowmap/\1>,' "$from" >"$header"
  touch -r "$from" "$header"
done
