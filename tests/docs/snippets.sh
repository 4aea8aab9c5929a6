#!/bin/sh
# snippets.sh PAGE FOLDER NAMES...: writes the C++ blocks of a Markdown page, in their order, as FOLDER/NAME.h. Fails unless there are as many blocks as names.
set -eu
page=$1 folder=$2
shift 2
awk -v page="$page" -v folder="$folder" -v names="$*" '
  BEGIN { wanted = split(names, name, " ") }
  /^```cpp$/ { inside = 1; file = folder "/" name[++found] ".h"; if (found <= wanted) printf "#line %d \"%s\"\n", NR + 1, page > file; next }
  /^```/ { inside = 0 }
  inside && found <= wanted { print > file }
  END {
    if (found == wanted) exit 0
    print page " has " found " blocks of C++, not the " wanted " that tests/docs/meson.build names: name each, and test it" > "/dev/stderr"
    exit 1
  }' "$page"
