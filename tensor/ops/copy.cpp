#include "tensor/ops/copy.h"

#include <cstring>

#include "tensor/error.h"
#include "tensor/kernels/cpu/elementwise.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/overlap.h"
#include "tensor/ops/walk.h"
#include "tensor/profile.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

template <class A, class B> void copy_row(const A* a, std::int64_t sa, B* b, std::int64_t sb, std::int64_t n) {
  if constexpr (std::is_same_v<A, B>) {
    if (sa == 1 && sb == 1) {
      std::memcpy(b, a, static_cast<std::size_t>(n) * sizeof(A));
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) b[i * sb] = a[i * sa];
  } else if constexpr (std::is_same_v<A, bf16> || std::is_same_v<B, bf16>) {
    if constexpr (std::is_same_v<A, float> || std::is_same_v<B, float>)
      if (sa == 1 && sb == 1) {
        if constexpr (std::is_same_v<A, bf16>) cpu::elementwise_kernels().widen(a, b, n);
        else cpu::elementwise_kernels().narrow(a, b, n);
        return;
      }
    for (std::int64_t i = 0; i < n; ++i) b[i * sb] = B(static_cast<float>(a[i * sa]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) b[i * sb] = static_cast<B>(a[i * sa]);
  }
}

template <class A, class B> void copy_walk(const A* a, B* b, const Walk& w) {
  const int inner = w.shape.rank() - 1;
  const std::int64_t n = w.run_length(), sa = w.a[inner], sb = w.b[inner];
  // A long single run is cut, so that big plain copies use all threads too.
  constexpr std::int64_t piece = 1 << 16;
  const std::int64_t pieces = (n + piece - 1) / piece;
  parallel_for(w.runs() * pieces, n < piece ? n : piece, [&](std::int64_t job) {
    const Walk::Offsets at = w.run(job / pieces);
    const std::int64_t begin = job % pieces * piece, count = n - begin < piece ? n - begin : piece;
    copy_row(a + at.a + begin * sa, sa, b + at.b + begin * sb, sb, count);
  });
}

}  // namespace

void copy(const Tensor& source, const Tensor& to) {
  if (source.shape() != to.shape())
    throw ShapeError("copy: a source of shape " + to_string(source.shape()) + " does not fit a destination of shape " + to_string(to.shape()));
  if (source.numel() == 0) return;
  if (!source.defined() || !to.defined()) throw Error("copy: an undefined tensor was given");
  check_writable(to, "copy");
  if (source.device() != to.device()) {                          // converts first, on the source's device, so that fewer bytes move if `to` is narrower
    copy(source.to(to.dtype()).to(to.device()), to);
    return;
  }
  if (source.raw() == to.raw() && source.strides() == to.strides() && source.dtype() == to.dtype()) return;   // a copy onto itself
  const Tensor from = apart_from(source, to);
  const ProfiledOp scope("copy");
  count_traffic({&from, &to});
  const Walk w = walk_of(from.shape(), from.strides(), to.strides());
  if (from.device().is_cuda()) {
    cuda::on(from.device()).copy.copy(from.dtype(), from.raw(), to.dtype(), to.raw(), w);
    return;
  }
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
    if (p.device() != parts[0].device()) common_device("concat", {&parts[0], &p});
    total += p.shape()[d];
  }
  Tensor out = Tensor::empty(parts[0].shape().with(d, total), parts[0].dtype(), parts[0].device());
  std::int64_t at = 0;
  for (const Tensor& p : parts) {
    copy(p, out.slice(d, at, at + p.shape()[d]));
    at += p.shape()[d];
  }
  return out;
}

Tensor pad(const Tensor& x, int dim, std::int64_t before, std::int64_t after) {
  const int d = normalise_dim(dim, x.rank(), "pad");
  if (before < 0 || after < 0) throw ShapeError("pad: padding cannot be negative; use slice to cut");
  const std::int64_t n = x.shape()[d];
  Tensor out = Tensor::empty(x.shape().with(d, before + n + after), x.dtype(), x.device());
  if (before) out.slice(d, 0, before).fill(0);
  if (after) out.slice(d, before + n, before + n + after).fill(0);
  copy(x, out.slice(d, before, before + n));
  return out;
}

}  // namespace fm
