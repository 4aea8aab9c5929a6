// Rotary position embedding (Su et al. 2021, arXiv:2104.09864) with interleaved pairs: (a, b) = x[2m], x[2m+1] of each head turns by the
// angle of its token, (a cos - b sin, b cos + a sin). The transpose turns the other way.
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/hd.h"

namespace fm::rows {

// Row r = (batch, token): x and y are its parts * heads * dim elements. y may be x.
template <bool inverse, class Lane, class T>
FM_HD void rope(Lane lane, const Rope<T>& a, std::int64_t r, const T* x, T* y) {
  const std::int64_t turned = a.rotated * a.heads, all = a.parts * a.heads, n = a.dim;
  const T *c = a.cosine + r % a.tokens * n, *s = a.sine + r % a.tokens * n;
  for (std::int64_t h = 0; h < turned; ++h, x += n, y += n)
    lane.each(n / 2, [&](std::int64_t m) {
      const T p = x[2 * m], q = x[2 * m + 1], co = c[2 * m], si = inverse ? -s[2 * m] : s[2 * m];
      y[2 * m] = p * co - q * si;
      y[2 * m + 1] = q * co + p * si;
    });
  if (x != y) lane.each((all - turned) * n, [&](std::int64_t i) { y[i] = x[i]; });
}

}  // namespace fm::rows
