// Rows of bf16 in row programs: read(p) and write(p) represent the row as an array of floats that is widened when read and
// rounded when written. For other types they are the pointer itself, so a program is written once for all storage types S and
// computes in T.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/hd.h"

namespace fm::rows {

struct HalfReader {
  const bf16* row;
  FM_HD float operator[](std::int64_t i) const { return row[i]; }
  FM_HD HalfReader operator+(std::int64_t n) const { return {row + n}; }
};

struct HalfWriter {
  struct Element {
    bf16* at;
    FM_HD void operator=(float x) const { at->bits = bf16(x).bits; }
    FM_HD void operator+=(float x) const { at->bits = bf16(float(*at) + x).bits; }
  };
  bf16* row;
  FM_HD Element operator[](std::int64_t i) const { return {row + i}; }
  FM_HD HalfWriter operator+(std::int64_t n) const { return {row + n}; }
};

template <class T> FM_HD const T* read(const T* row) { return row; }
template <class T> FM_HD T* write(T* row) { return row; }
FM_HD HalfReader read(const bf16* row) { return {row}; }
FM_HD HalfWriter write(bf16* row) { return {row}; }

}  // namespace fm::rows
