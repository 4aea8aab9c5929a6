#!/bin/sh
# together.sh OUTPUT FOLDER NAMES...: writes one source out of several tests (FOLDER/NAME.cpp). Their headers are included first and compiled once;
# each test then is in a namespace of its own, where its names meet no others'. A test with other needs is in `compiled_alone` of meson.build.
set -eu
output=$1 folder=$2
program=$(basename "$output" .cpp)
shift 2
{
  echo '#ifndef __clang__'
  echo '#pragma GCC diagnostic ignored "-Wsubobject-linkage"   // all of this is one source, whatever the compiler thinks of included ones'
  echo '#endif'
  for name; do grep -h '^#include' "$folder/$name.cpp"; done | sort -u
  i=0
  for name; do
    i=$((i + 1))
    printf 'namespace %s_%s {\n#include "tests/%s.cpp"\n}\n' "$program" "$i" "$name"
  done
} >"$output"
