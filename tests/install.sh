#!/bin/sh
# install.sh SOURCE BUILD PREFIX INCLUDE_FOLDER LIBRARY_FOLDER HAS_CUDA MESON PKG_CONFIG CMAKE COMPILER...: installs the library into a temporary
# folder, moves that elsewhere, and uses it from there as a stranger would. INCLUDE_FOLDER and LIBRARY_FOLDER are those below PREFIX, HAS_CUDA is true
# or false, CMAKE may be empty.
#   headers: all of them in one file beside headers of the same names as the tree's; the rest of what headers promise is headers.sh's
#   pkg-config: tests/install_square.cpp must print y, dy/dx and the gradient; docs/examples/own_network.cpp is trained
#   CMake: the same own_network.cpp, killed and resumed, must leave the same bits
set -eu
source=$1 build=$2 prefix=$3 include=$4 library=$5 has_cuda=$6 meson=$7 pkg_config=$8 cmake=$9
shift 9
fail() { echo "$*"; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
DESTDIR="$root/first" "$meson" install -C "$build" --no-rebuild --quiet --tags devel
mv "$root/first$prefix" "$root/moved"
headers=$root/moved/$include/flowmap

cd "$source"
missing=0
for header in $(find tensor autodiff nn flowmap data -name '*.h' -not -path 'tensor/kernels/*' -not -name zip_records.h -not -name pickle_machine.h -not -name mpi.h -not -name nccl_calls.h -not -path flowmap/flowmap.h); do
  [ -f "$headers/$header" ] || { echo "$header is not installed: add it to install_headers in ${header%%/*}/meson.build"; missing=1; }
done
[ "$missing" = 0 ] || exit 1
! grep -nE '#include[[:space:]]+"' docs/examples/*.cpp || fail "an example includes what an installed copy does not have under that name"

cd "$root/moved"
[ "$(ls "$include")" = flowmap ] || fail "others' include path gets more than flowmap/: $(ls "$include")"
! grep -rnE '#include[[:space:]]+"' "$include" || fail "an installed header includes another as in the tree: flowmap/package/name_includes.sh"
if [ "$has_cuda" = false ]; then
  ! grep -rniE 'cuda|cublas|nccl' "$library/pkgconfig" "$library/cmake" || fail "CUDA is named, and the library was built without it"
else
  for file in pkgconfig/flowmap.pc cmake/flowmap/flowmapConfig.cmake; do grep -qi cudart "$library/$file" || fail "$file does not name CUDA"; done
fi

# The user's own headers have the names of ours, and come first.
cd "$root"
for header in tensor/tensor.h autodiff/var.h nn/module.h data/source.h flowmap/batch.h; do
  mkdir -p "own/${header%/*}"
  printf '#pragma once\nconstexpr int own_%s = 1;\n' "$(basename "$header" .h)" >"own/$header"
  printf '#include "%s"\n' "$header" >>own.txt
done
{ echo '#include <flowmap/flowmap.h>'
  cat own.txt
  (cd "$headers" && find . -name '*.h' | sort | sed 's|^\./\(.*\)|#include <flowmap/\1>|')
  echo 'static_assert(own_tensor + own_var + own_module + own_source + own_batch == 5); using namespace fm;'
} >all.cpp

export PKG_CONFIG_PATH="$root/moved/$library/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
cflags=$("$pkg_config" --cflags flowmap)
libs=$("$pkg_config" --libs flowmap)
# shellcheck disable=SC2086  # flags are words
"$@" -std=c++20 -Wall -Wextra -Werror -Iown $cflags -fsyntax-only all.cpp
# shellcheck disable=SC2046,SC2086
"$@" -std=c++20 -Wall -Wextra -Werror -Iown $cflags "$source/tests/install_square.cpp" -o square $("$pkg_config" --static --libs flowmap)
got=$(./square | tr '\n' ';')
[ "$got" = "1 2 2;4 4 4;9 6 6;" ] || fail "printed $got"
# shellcheck disable=SC2086
"$@" -std=c++20 -Wall -Wextra -Werror $cflags "$source/docs/examples/own_network.cpp" -o own_network $libs

second=./own_network
if [ -z "$cmake" ]; then
  echo "cmake is not there: find_package(flowmap) was not tried"
else
  mkdir project
  cat >project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.16)
project(own CXX)
foreach(version 0.2 1.0 99)
  find_package(flowmap ${version} QUIET)
  if(flowmap_FOUND)
    message(FATAL_ERROR "flowmap ${flowmap_VERSION} is taken for ${version}")
  endif()
endforeach()
find_package(flowmap 0.1 REQUIRED)
find_package(flowmap REQUIRED)
add_executable(own_network ${SOURCE}/docs/examples/own_network.cpp)
target_link_libraries(own_network PRIVATE flowmap::flowmap)
END
  CXX="$*" "$cmake" -S project -B built -DCMAKE_PREFIX_PATH="$root/moved" -DSOURCE="$source" >cmake.txt 2>&1 &&
    "$cmake" --build built >>cmake.txt 2>&1 || { cat cmake.txt; fail "not built with CMake"; }
  second=built/own_network
fi
sh "$source/tests/own_network.sh" ./own_network "$second"
echo "$(grep -c '<flowmap/' all.cpp) headers installed, own_network built with pkg-config${cmake:+ and with CMake}"
