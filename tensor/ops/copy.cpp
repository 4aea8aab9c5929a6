#include "tensor/ops/copy.h"

#include <cstring>

#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

// Two tensors walked together: dimensions of size 1 dropped, neighbours merged where both strides allow.
struct Walk {
  Shape shape;
  Strides from, to;
};

Walk merge(const Tensor& a, const Tensor& b) {
  Walk w;
  for (int i = 0; i < a.rank(); ++i) {
    const std::int64_t n = a.shape()[i], sa = a.strides()[i], sb = b.strides()[i];
    if (n == 1) continue;
    const int last = w.shape.rank() - 1;
    if (last >= 0 && w.from[last] == sa * n && w.to[last] == sb * n) {
      w.shape[last] *= n;
      w.from[last] = sa;
      w.to[last] = sb;
    } else {
      w.shape.push_back(n);
      w.from.push_back(sa);
      w.to.push_back(sb);
    }
  }
  if (w.shape.rank() == 0) {
    w.shape.push_back(1);
    w.from.push_back(1);
    w.to.push_back(1);
  }
  return w;
}

template <class A, class B> void copy_row(const A* a, std::int64_t sa, B* b, std::int64_t sb, std::int64_t n) {
  if constexpr (std::is_same_v<A, B>) {
    if (sa == 1 && sb == 1) {
      std::memcpy(b, a, static_cast<std::size_t>(n) * sizeof(A));
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) b[i * sb] = a[i * sa];
  } else if constexpr (std::is_same_v<A, bf16> || std::is_same_v<B, bf16>) {
    for (std::int64_t i = 0; i < n; ++i) b[i * sb] = B(static_cast<float>(a[i * sa]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) b[i * sb] = static_cast<B>(a[i * sa]);
  }
}

template <class A, class B> void copy_walk(const A* a, B* b, const Walk& w) {
  const int inner = w.shape.rank() - 1;
  const std::int64_t n = w.shape[inner];
  const std::int64_t outer = n ? w.shape.numel() / n : 0;
  // A long single row is cut, so that big plain copies use all threads too.
  constexpr std::int64_t piece = 1 << 16;
  const std::int64_t pieces = (n + piece - 1) / piece;
  parallel_for(outer * pieces, n < piece ? n : piece, [&](std::int64_t job) {
    std::int64_t row = job / pieces, oa = 0, ob = 0;
    const std::int64_t begin = job % pieces * piece, count = n - begin < piece ? n - begin : piece;
    for (int d = inner - 1; d >= 0; --d) {
      const std::int64_t i = row % w.shape[d];
      row /= w.shape[d];
      oa += i * w.from[d];
      ob += i * w.to[d];
    }
    copy_row(a + oa + begin * w.from[inner], w.from[inner], b + ob + begin * w.to[inner], w.to[inner], count);
  });
}

}  // namespace

void copy(const Tensor& from, const Tensor& to) {
  if (from.shape() != to.shape()) throw ShapeError("copy: " + to_string(from.shape()) + " into " + to_string(to.shape()));
  if (from.numel() == 0) return;
  const Walk w = merge(from, to);
  dispatch(from.dtype(), [&]<class A>(A) {
    dispatch(to.dtype(), [&]<class B>(B) { copy_walk(from.data<A>(), to.data<B>(), w); });
  });
}

Tensor concat(const std::vector<Tensor>& parts, int dim) {
  if (parts.empty()) throw ShapeError("concat: no tensors given");
  const int d = normalise_dim(dim, parts[0].rank(), "concat");
  std::int64_t total = 0;
  for (const Tensor& p : parts) {
    if (p.rank() != parts[0].rank() || p.shape().with(d, 0) != parts[0].shape().with(d, 0))
      throw ShapeError("concat: shapes " + to_string(parts[0].shape()) + " and " + to_string(p.shape()) + " differ in more than dimension " +
                       std::to_string(d));
    if (p.dtype() != parts[0].dtype()) throw DTypeError("concat: element types differ");
    total += p.shape()[d];
  }
  Tensor out = Tensor::empty(parts[0].shape().with(d, total), parts[0].dtype());
  std::int64_t at = 0;
  for (const Tensor& p : parts) {
    copy(p, out.slice(d, at, at + p.shape()[d]));
    at += p.shape()[d];
  }
  return out;
}

Tensor pad(const Tensor& x, int dim, std::int64_t before, std::int64_t after) {
  const int d = normalise_dim(dim, x.rank(), "pad");
  if (before < 0 || after < 0) throw ShapeError("pad: negative padding; use slice to cut");
  const std::int64_t n = x.shape()[d];
  Tensor out = Tensor::empty(x.shape().with(d, before + n + after), x.dtype());
  if (before) out.slice(d, 0, before).fill(0);
  if (after) out.slice(d, before + n, before + n + after).fill(0);
  copy(x, out.slice(d, before, before + n));
  return out;
}

}  // namespace fm
