#!/bin/sh
# install.sh SOURCE BUILD LIBRARY_FOLDER MESON PKG_CONFIG COMPILER...: installs the library into a temporary folder and uses it from there as
# a stranger would, by pkg-config alone: every header in one file, tests/install_square.cpp, which must print y, dy/dx and the gradient, and
# docs/examples/own_network.cpp, which trains, is killed and resumes.
set -eu
source=$1 build=$2 library_folder=$3 meson=$4 pkg_config=$5
shift 5
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
DESTDIR="$root" "$meson" install -C "$build" --no-rebuild --quiet --tags devel

# The file names the final prefix; here everything lies below the temporary one.
sed -i "s|^prefix=|prefix=$root|" "$root$library_folder/pkgconfig/flowmap.pc"
export PKG_CONFIG_PATH="$root$library_folder/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
cflags=$("$pkg_config" --cflags flowmap)
libs=$("$pkg_config" --libs flowmap)
headers=$("$pkg_config" --variable=includedir flowmap)/flowmap

cd "$source"
missing=0
for header in $(find tensor autodiff nn flowmap data -name '*.h' -not -path 'tensor/kernels/*' -not -name zip_records.h -not -name pickle_machine.h -not -name mpi.h -not -name nccl_calls.h); do
  [ -f "$headers/$header" ] || { echo "$header is not installed: add it to install_headers in ${header%%/*}/meson.build"; missing=1; }
done
[ "$missing" = 0 ] || exit 1

cd "$headers"
find . -name '*.h' | sort | sed 's|^\./\(.*\)|#include "\1"|' >"$root/all.cpp"
cd "$root"
# shellcheck disable=SC2086  # flags are words
"$@" -std=c++20 -Wall -Wextra -Werror $cflags -fsyntax-only all.cpp
"$@" -std=c++20 -Wall -Wextra -Werror $cflags "$source/tests/install_square.cpp" -o square $libs
got=$(./square | tr '\n' ';')
[ "$got" = "1 2 2;4 4 4;9 6 6;" ] || { echo "printed $got"; exit 1; }
for example in own_network fit_function mean_flow_2d; do       # as docs/examples/README.md says
  # shellcheck disable=SC2086
  "$@" -std=c++20 -O1 -Wall -Wextra -Werror $cflags "$source/docs/examples/$example.cpp" -o "$example" $libs
done
sh "$source/tests/own_network.sh" ./own_network
./fit_function 2 >fit_function.txt
./mean_flow_2d 2 >mean_flow_2d.txt
echo "$(wc -l <all.cpp) headers installed, the examples run"
