#!/bin/sh
# symbols.sh NM ISA LIBRARY: checks the symbols that the kernels of one instruction set show the linker.
# A weak symbol (an inline function or template that the compiler did not inline) compiled for a newer instruction set may replace the same one
# compiled for every machine, and crash older machines far from here. So there must be none, and all strong ones must be in fm::cpu::ISA.
set -eu
nm=$1 isa=$2 library=$3
symbols=$("$nm" -C --defined-only "$library")
# What compilers emit for exceptions is the same on every machine: pointers to type data (DW.ref.*), and a call of std::terminate.
weak=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-fA-F]+ [WVu] ' | grep -vE ' (DW\.ref\.[A-Za-z0-9_]+|__clang_call_terminate)$' || true)
strong=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-fA-F]+ [TDBRGSC] ' || true)
strays=$(printf '%s\n' "$strong" | grep -vE "(^| )fm::cpu::$isa::" || true)
[ -n "$strong" ] || { echo "$library defines no symbols: is it the right file?"; exit 1; }
[ -z "$weak" ] || { echo "weak symbols in the $isa kernels (make them FM_INLINE or put them in the anonymous namespace):"; echo "$weak"; exit 1; }
[ -z "$strays" ] || { echo "symbols of the $isa kernels outside fm::cpu::$isa:"; echo "$strays"; exit 1; }
echo "$isa: $(printf '%s\n' "$strong" | wc -l) symbols, none weak"
