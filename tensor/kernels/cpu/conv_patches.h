// The matrix of patches of one image, and its transpose ("im2col" and "col2im"):
//
//   patches[(c, u, v)][(i, j)] = x[c, i * stride_h - pad_h + u, j * stride_w - pad_w + v],   0 outside the image,
//
// for a range of channels c and a range of output pixels p = i * out_width + j.
#pragma once

#include <cstdint>

#include "tensor/kernels/cpu/conv.h"
#include "tensor/kernels/cpu/integers.h"
#include "tensor/parallel.h"

namespace fm::cpu::FM_ISA {
namespace {

struct Range {
  Int begin, end;
  Int size() const { return end - begin; }
};

// A piece of an output row, pixels [begin, end) of row i, that one tap (u, v) of the kernel maps to the image. Pixels [first, last) of it fall inside
// the image, into row image_row from image_column on. image_row is -1 if that row lies outside.
struct Piece {
  Int begin, end, first, last, image_row, image_column;
};

FM_INLINE Piece piece_of(const ConvShape& s, Int u, Int v, Int row, Int begin, Int end) {
  Piece piece{begin, end, begin, begin, row * s.stride_h - s.pad_h + u, 0};
  if (piece.image_row < 0 || piece.image_row >= s.height) {
    piece.image_row = -1;
    return piece;
  }
  const Int shift = v - s.pad_w;                                   // image column = pixel * stride + shift
  const Int first = shift < 0 ? ceil_div(-shift, s.stride_w) : 0;
  const Int last = s.width > shift ? ceil_div(s.width - shift, s.stride_w) : 0;
  piece.first = smaller(larger(begin, first), end);
  piece.last = larger(piece.first, smaller(end, last));
  piece.image_column = piece.first * s.stride_w + shift;
  return piece;
}

// Calls f(piece, position in the row of the patch matrix) for every output row that contains some of the pixels.
template <class F>
FM_INLINE void for_each_piece(const ConvShape& s, Int u, Int v, Range pixels, const F& f) {
  const Int width = s.out_width();
  for (Int p = pixels.begin; p < pixels.end;) {
    const Int row = p / width, begin = p - row * width, end = smaller(width, begin + pixels.end - p);
    f(piece_of(s, u, v, row, begin, end), p - pixels.begin);
    p += end - begin;
  }
}

template <class T, class X>
void gather_patches(const ConvShape& s, const X* image, Range channels, Range pixels, T* patches) {
  for (Int c = channels.begin; c < channels.end; ++c)
    for (Int u = 0; u < s.kernel_h; ++u)
      for (Int v = 0; v < s.kernel_w; ++v, patches += pixels.size())
        for_each_piece(s, u, v, pixels, [&](const Piece& piece, Int at) {
          T* to = patches + at - piece.begin;
          const X* from = image + (c * s.height + piece.image_row) * s.width + piece.image_column;
          for (Int j = piece.begin; j < piece.first; ++j) to[j] = 0;
          if (s.stride_w == 1)
            for (Int j = piece.first; j < piece.last; ++j) to[j] = T(from[j - piece.first]);
          else
            for (Int j = piece.first; j < piece.last; ++j) to[j] = T(from[(j - piece.first) * s.stride_w]);
          for (Int j = piece.last; j < piece.end; ++j) to[j] = 0;
        });
}

// Adds the transpose of gather_patches, applied to `patches`, to the image.
template <class T>
void scatter_patches(const ConvShape& s, const T* patches, Range channels, Range pixels, T* image) {
  for (Int c = channels.begin; c < channels.end; ++c)
    for (Int u = 0; u < s.kernel_h; ++u)
      for (Int v = 0; v < s.kernel_w; ++v, patches += pixels.size())
        for_each_piece(s, u, v, pixels, [&](const Piece& piece, Int at) {
          const T* from = patches + at - piece.begin;
          T* to = image + (c * s.height + piece.image_row) * s.width + piece.image_column;
          if (s.stride_w == 1)
            for (Int j = piece.first; j < piece.last; ++j) to[j - piece.first] += from[j];
          else
            for (Int j = piece.first; j < piece.last; ++j) to[(j - piece.first) * s.stride_w] += from[j];
        });
}

}  // namespace
}  // namespace fm::cpu::FM_ISA
