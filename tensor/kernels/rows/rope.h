// Rotary position embedding (Su et al. 2021, arXiv:2104.09864) with interleaved pairs: the pair (a, b) = x[2m], x[2m+1] of a head is
// rotated by the angle of its token, to (a cos - b sin, b cos + a sin). Each channel reads its own entry of the tables. The transpose rotates the
// other way.
#pragma once

#include "tensor/kernels/rows/args.h"
#include "tensor/kernels/rows/half.h"
#include "tensor/hd.h"

namespace fm::rows {

// Row r = (batch, token): x and y are its parts * heads * dim elements. y may be x.
template <bool transposed, class Lane, class T, class S>
FM_HD void rope(Lane lane, const Rope<T>& a, std::int64_t r, const S* x, S* y) {
  const std::int64_t turned = a.rotated * a.heads, all = a.parts * a.heads, n = a.dim;
  const T *c = a.cosine + r % a.tokens * n, *s = a.sine + r % a.tokens * n;
  for (std::int64_t h = 0; h < turned; ++h, x += n, y += n) {
    const auto from = read(x);
    const auto to = write(y);
    lane.each(n / 2, [&](std::int64_t m) {
      const T p = from[2 * m], q = from[2 * m + 1], c0 = c[2 * m], s0 = s[2 * m], c1 = c[2 * m + 1], s1 = s[2 * m + 1];
      to[2 * m] = transposed ? p * c0 + q * s1 : p * c0 - q * s0;
      to[2 * m + 1] = transposed ? q * c1 - p * s0 : q * c1 + p * s1;
    });
  }
  if (x == y) return;
  const auto from = read(x);
  const auto to = write(y);
  lane.each((all - turned) * n, [&](std::int64_t i) { to[i] = from[i]; });
}

}  // namespace fm::rows
