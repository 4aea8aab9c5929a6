#include "tensor/ops/elementwise.h"

#include <algorithm>
#include <array>

#include "tensor/error.h"
#include "tensor/kernels/cpu/elementwise.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/overlap.h"
#include "tensor/ops/walk.h"
#include "tensor/parallel.h"
#include "tensor/profile.h"

namespace fm {
namespace {

constexpr std::int64_t piece = 8192;      // elements per job: fits the first-level cache, and does not depend on the number of threads

template <class T> const cpu::ElementwiseTable<T>& table() {
  if constexpr (std::is_same_v<T, double>) return cpu::elementwise_kernels().f64;
  else return cpu::elementwise_kernels().f32;
}

void check_floating(const Tensor& x, const char* op) {
  if (!x.defined()) throw Error(std::string(op) + ": an undefined tensor was given");
  if (!is_floating(x.dtype())) throw DTypeError(std::string(op) + ": needs f32, f64 or bf16, got " + name_of(x.dtype()));
}

// Throws if d, a tangent or cotangent, does not fit its value x.
void check_like(const Tensor& d, const Tensor& x, const char* op) {
  check_floating(x, op);
  check_floating(d, op);
  if (d.shape() != x.shape())
    throw ShapeError(std::string(op) + ": a tangent or cotangent of shape " + to_string(d.shape()) + " does not fit a value of shape " +
                     to_string(x.shape()));
  if (d.dtype() != x.dtype())
    throw DTypeError(std::string(op) + ": a tangent or cotangent in " + name_of(d.dtype()) + " does not fit a value in " + name_of(x.dtype()));
}

template <class F> void in_pieces(std::int64_t n, F&& f) {
  parallel_for((n + piece - 1) / piece, piece * 8, [&](std::int64_t job) {
    const std::int64_t begin = job * piece;
    f(begin, std::min(piece, n - begin));
  });
}

// bf16: each job widens its pieces of the inputs on the stack, f(x, y, n) runs f32 kernels from x[0], x[1], ... to y[0], ..., and the results
// are rounded. The pieces are small enough to stay in the first-level cache.
constexpr std::int64_t half_piece = 1024;

template <std::size_t inputs, std::size_t outputs, class F>
void in_widened_pieces(std::int64_t n, const std::array<const bf16*, inputs>& in, const std::array<bf16*, outputs>& out, F&& f) {
  const auto& k = cpu::elementwise_kernels();
  parallel_for((n + half_piece - 1) / half_piece, half_piece * 8, [&](std::int64_t job) {
    alignas(64) float x[inputs][half_piece], y[outputs][half_piece];
    const std::int64_t begin = job * half_piece, count = std::min(half_piece, n - begin);
    for (std::size_t i = 0; i < inputs; ++i) k.widen(in[i] + begin, x[i], count);
    f(x, y, count);
    for (std::size_t i = 0; i < outputs; ++i) k.narrow(y[i], out[i] + begin, count);
  });
}

// For a GPU: calls f(T{}, table) for all three types. One launch processes whole arrays.
template <class F> void on_gpu(const Tensor& x, F&& f) {
  const cuda::MapKernels& k = cuda::on(x.device()).map;
  if (x.dtype() == DType::f64) f(double{}, k.f64);
  else if (x.dtype() == DType::bf16) f(bf16{}, k.half);
  else f(float{}, k.f32);
}

// Calls f(T{}, table) for f32 and f64.
template <class F> void with_table(DType dtype, F&& f) {
  if (dtype == DType::f64) f(double{}, table<double>());
  else f(float{}, table<float>());
}

}  // namespace

template <class Op> Tensor map(const Tensor& x) {
  check_floating(x, op_name(Op{}));
  const OpName scope(op_name(Op{}));
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  count_traffic({&in, &y});
  if (x.device().is_cuda()) {
    on_gpu(x, [&]<class T>(T, const auto& t) { t.unary[UnaryOps::index<Op>()].value(in.data<T>(), y.data<T>(), x.numel()); });
    return y;
  }
  if (x.dtype() == DType::bf16) {
    in_widened_pieces<1, 1>(x.numel(), {in.data<bf16>()}, {y.data<bf16>()}, [](auto& a, auto& b, std::int64_t n) {
      table<float>().unary[UnaryOps::index<Op>()].value(a[0], b[0], n);
    });
    return y;
  }
  with_table(x.dtype(), [&]<class T>(T, const auto& t) {
    const T* p = in.data<T>();
    T* q = y.data<T>();
    in_pieces(x.numel(), [&](std::int64_t i, std::int64_t n) { t.unary[UnaryOps::index<Op>()].value(p + i, q + i, n); });
  });
  return y;
}

namespace {

// Whether each entry of dimension 0 is contiguous, so that `x` consists of dim(0) runs of memory.
bool has_contiguous_rows(const Tensor& x) { return x.rank() > 0 && x.dim(0) > 0 && x.select(0, 0).is_contiguous(); }

}  // namespace

template <class Op> void map_into(const Tensor& from_x, const Tensor& out) {
  check_like(out, from_x, op_name(Op{}));
  common_device(op_name(Op{}), {&from_x, &out});
  if (out.numel() == 0) return;
  const Tensor x = from_x.raw() == out.raw() && from_x.strides() == out.strides() ? from_x : apart_from(from_x, out);
  if (x.dtype() == DType::bf16 || !has_contiguous_rows(x) || !has_contiguous_rows(out) || overlaps_itself(out)) return out.copy_from(map<Op>(x));
  const OpName scope(op_name(Op{}));
  count_traffic({&x, &out});
  const std::int64_t rows = x.dim(0), row = x.numel() / rows, pieces = (row + piece - 1) / piece, from_stride = x.strides()[0], to_stride = out.strides()[0];
  if (x.device().is_cuda()) {
    on_gpu(x, [&]<class T>(T, const auto& t) {
      for (std::int64_t r = 0; r < rows; ++r) t.unary[UnaryOps::index<Op>()].value(x.data<T>() + r * from_stride, out.data<T>() + r * to_stride, row);
    });
    return;
  }
  with_table(x.dtype(), [&]<class T>(T, const auto& t) {
    const T* from = x.data<T>();
    T* to = out.data<T>();
    parallel_for(rows * pieces, piece * 8, [&](std::int64_t job) {
      const std::int64_t r = job / pieces, at = job % pieces * piece;
      t.unary[UnaryOps::index<Op>()].value(from + r * from_stride + at, to + r * to_stride + at, std::min(piece, row - at));
    });
  });
}

template <class Op> Tensor map_slope(const Tensor& saved, const Tensor& g) {
  const OpName scope(op_name(Op{}));
  check_like(g, saved, op_name(Op{}));
  const Device device = common_device(op_name(Op{}), {&saved, &g});
  const Tensor a = saved.contiguous(), b = g.contiguous();
  Tensor out = Tensor::empty(g.shape(), g.dtype(), device);
  count_traffic({&a, &b, &out});
  if (device.is_cuda()) {
    on_gpu(a, [&]<class T>(T, const auto& t) { t.unary[UnaryOps::index<Op>()].slope_times(a.data<T>(), b.data<T>(), out.data<T>(), g.numel()); });
    return out;
  }
  if (saved.dtype() == DType::bf16) {
    in_widened_pieces<2, 1>(g.numel(), {a.data<bf16>(), b.data<bf16>()}, {out.data<bf16>()}, [](auto& x, auto& y, std::int64_t n) {
      table<float>().unary[UnaryOps::index<Op>()].slope_times(x[0], x[1], y[0], n);
    });
    return out;
  }
  with_table(saved.dtype(), [&]<class T>(T, const auto& t) {
    const T *p = a.data<T>(), *pg = b.data<T>();
    T* q = out.data<T>();
    in_pieces(g.numel(), [&](std::int64_t i, std::int64_t n) { t.unary[UnaryOps::index<Op>()].slope_times(p + i, pg + i, q + i, n); });
  });
  return out;
}

template <class Op> void map_dual(const Tensor& x, const Tensor& dx, Tensor& y, Tensor& dy) {
  const OpName scope(op_name(Op{}));
  check_like(dx, x, op_name(Op{}));
  const Device device = common_device(op_name(Op{}), {&x, &dx});
  const Tensor a = x.contiguous(), b = dx.contiguous();
  y = Tensor::empty(x.shape(), x.dtype(), device);
  dy = Tensor::empty(x.shape(), x.dtype(), device);
  count_traffic({&a, &b, &y, &dy});
  if (device.is_cuda()) {
    on_gpu(x, [&]<class T>(T, const auto& t) {
      t.unary[UnaryOps::index<Op>()].dual(a.data<T>(), b.data<T>(), y.data<T>(), dy.data<T>(), x.numel());
    });
    return;
  }
  if (x.dtype() == DType::bf16) {
    in_widened_pieces<2, 2>(x.numel(), {a.data<bf16>(), b.data<bf16>()}, {y.data<bf16>(), dy.data<bf16>()}, [](auto& u, auto& v, std::int64_t n) {
      table<float>().unary[UnaryOps::index<Op>()].dual(u[0], u[1], v[0], v[1], n);
    });
    return;
  }
  with_table(x.dtype(), [&]<class T>(T, const auto& t) {
    const T *p = a.data<T>(), *pd = b.data<T>();
    T *q = y.data<T>(), *qd = dy.data<T>();
    in_pieces(x.numel(), [&](std::int64_t i, std::int64_t n) { t.unary[UnaryOps::index<Op>()].dual(p + i, pd + i, q + i, qd + i, n); });
  });
}

template <class Op> Tensor map_curvature(const Tensor& x, const Tensor& dx, const Tensor& g) {
  const OpName scope(op_name(Op{}));
  for (const Tensor* t : {&dx, &g}) check_like(*t, x, op_name(Op{}));
  if (x.dtype() == DType::bf16) return map_curvature<Op>(x.to(DType::f32), dx.to(DType::f32), g.to(DType::f32)).to(DType::bf16);   // rare
  const Device device = common_device(op_name(Op{}), {&x, &dx, &g});
  const Tensor a = x.contiguous(), b = dx.contiguous(), c = g.contiguous();
  Tensor out = Tensor::empty(x.shape(), x.dtype(), device);
  if (device.is_cuda()) {
    on_gpu(x, [&]<class T>(T, const auto& t) {
      t.unary[UnaryOps::index<Op>()].curvature(a.data<T>(), b.data<T>(), c.data<T>(), out.data<T>(), x.numel());
    });
    return out;
  }
  with_table(x.dtype(), [&]<class T>(T, const auto& t) {
    const T *p = a.data<T>(), *pd = b.data<T>(), *pg = c.data<T>();
    T* q = out.data<T>();
    in_pieces(x.numel(), [&](std::int64_t i, std::int64_t n) {
      t.unary[UnaryOps::index<Op>()].curvature(p + i, pd + i, pg + i, q + i, n);
    });
  });
  return out;
}

namespace {

// True if the kernels can read the innermost stride: they support 0 and 1.
bool walkable(const Strides& s) { return s.back() == 0 || s.back() == 1; }

// Broadcasts both operands to `shape`. An operand whose innermost stride the kernels do not support is copied.
Walk prepare(Tensor& a, Tensor& b, const Shape& shape) {
  a = a.shape() == shape ? a : a.expand(shape);
  b = b.shape() == shape ? b : b.expand(shape);
  Walk w = walk_of(shape, a.strides(), b.strides());
  if (walkable(w.a) && walkable(w.b)) return w;
  if (!walkable(w.a)) a = a.contiguous();
  if (!walkable(w.b)) b = b.contiguous();
  w = walk_of(shape, a.strides(), b.strides());
  if (walkable(w.a) && walkable(w.b)) return w;
  a = a.contiguous();
  b = b.contiguous();
  return walk_of(shape, a.strides(), b.strides());
}

// Returns a binary kernel on bf16 operands that calls the f32 kernel.
auto widened(cpu::BinaryKernel<float> kernel) {
  return [kernel](const bf16* a, int sa, const bf16* b, int sb, bf16* y, std::int64_t n) {
    const auto& k = cpu::elementwise_kernels();
    alignas(64) float wa[half_piece], wb[half_piece], wy[half_piece];
    for (std::int64_t i = 0; i < n; i += half_piece) {
      const std::int64_t count = std::min(half_piece, n - i);
      k.widen(a + i * sa, wa, sa ? count : 1);
      k.widen(b + i * sb, wb, sb ? count : 1);
      kernel(wa, sa, wb, sb, wy, count);
      k.narrow(wy, y + i, count);
    }
  };
}

template <class T, class Kernel> void run_binary(Kernel kernel, const T* a, const T* b, T* y, const Walk& w) {
  const int inner = w.shape.rank() - 1;
  const std::int64_t n = w.run_length(), cut = (n + piece - 1) / piece;
  const int sa = static_cast<int>(w.a[inner]), sb = static_cast<int>(w.b[inner]);
  parallel_for(w.runs() * cut, std::min(n, piece), [&](std::int64_t job) {
    const std::int64_t row = job / cut, begin = job % cut * piece, count = std::min(piece, n - begin);
    const Walk::Offsets at = w.run(row);
    kernel(a + at.a + begin * sa, sa, b + at.b + begin * sb, sb, y + row * n + begin, count);
  });
}

Tensor zip_by_index(int op, const char* name, const Tensor& a, const Tensor& b) {
  check_floating(a, name);
  check_floating(b, name);
  const OpName scope(name);
  if (a.dtype() != b.dtype())
    throw DTypeError(std::string(name) + ": operands are " + name_of(a.dtype()) + " and " + name_of(b.dtype()) + "; convert one with to()");
  const Device device = common_device(name, {&a, &b});
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), name);
  Tensor ea = a, eb = b, y = Tensor::empty(shape, a.dtype(), device);
  count_traffic({&a, &b, &y});
  if (device.is_cuda()) {
    ea = a.expand(shape);
    eb = b.expand(shape);
    on_gpu(a, [&]<class T>(T, const auto& t) {
      t.binary[op](ea.data<T>(), eb.data<T>(), y.data<T>(), walk_of(shape, ea.strides(), eb.strides()));
    });
    return y;
  }
  const Walk walk = prepare(ea, eb, shape);
  if (a.dtype() == DType::bf16) run_binary<bf16>(widened(table<float>().binary[op]), ea.data<bf16>(), eb.data<bf16>(), y.data<bf16>(), walk);
  else with_table(a.dtype(), [&]<class T>(T, const auto& t) { run_binary<T>(t.binary[op], ea.data<T>(), eb.data<T>(), y.data<T>(), walk); });
  return y;
}

}  // namespace

template <class Op> Tensor zip(const Tensor& a, const Tensor& b) { return zip_by_index(BinaryOps::index<Op>(), op_name(Op{}), a, b); }

#define FM_INSTANTIATE_UNARY(Op, function)                                     \
  template Tensor map<Op>(const Tensor&);                                      \
  template void map_into<Op>(const Tensor&, const Tensor&);                    \
  template Tensor map_slope<Op>(const Tensor&, const Tensor&);                 \
  template void map_dual<Op>(const Tensor&, const Tensor&, Tensor&, Tensor&);  \
  template Tensor map_curvature<Op>(const Tensor&, const Tensor&, const Tensor&);
#define FM_INSTANTIATE_BINARY(Op, function) template Tensor zip<Op>(const Tensor&, const Tensor&);
FM_UNARY_OPS(FM_INSTANTIATE_UNARY)
FM_BINARY_OPS(FM_INSTANTIATE_BINARY)
FM_COMPARISONS(FM_INSTANTIATE_BINARY)

Tensor affine(const Tensor& x, double scale, double shift) {
  check_floating(x, "affine");
  const OpName scope("affine");
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  count_traffic({&in, &y});
  if (x.device().is_cuda()) {
    on_gpu(x, [&]<class T>(T, const auto& t) {
      t.affine(in.data<T>(), static_cast<cuda::Scalar<T>>(scale), static_cast<cuda::Scalar<T>>(shift), y.data<T>(), x.numel());
    });
    return y;
  }
  if (x.dtype() == DType::bf16) {
    in_widened_pieces<1, 1>(x.numel(), {in.data<bf16>()}, {y.data<bf16>()}, [&](auto& a, auto& b, std::int64_t n) {
      table<float>().affine(a[0], static_cast<float>(scale), static_cast<float>(shift), b[0], n);
    });
    return y;
  }
  with_table(x.dtype(), [&]<class T>(T, const auto& t) {
    const T* p = in.data<T>();
    T* q = y.data<T>();
    in_pieces(x.numel(), [&](std::int64_t i, std::int64_t n) { t.affine(p + i, static_cast<T>(scale), static_cast<T>(shift), q + i, n); });
  });
  return y;
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check_floating(a, "where");
  const OpName scope("where");
  if (a.dtype() != b.dtype()) throw DTypeError("where: the two values have different element types");
  if (a.dtype() == DType::bf16) return where(condition, a.to(DType::f32), b.to(DType::f32)).to(DType::bf16);
  const Device device = common_device("where", {&condition, &a, &b});
  const Shape shape = broadcast_shapes(condition.shape(), broadcast_shapes(a.shape(), b.shape(), "where"), "where");
  const Tensor c = condition.to(a.dtype()).expand(shape).contiguous(), x = a.expand(shape).contiguous(), z = b.expand(shape).contiguous();
  Tensor y = Tensor::empty(shape, a.dtype(), device);
  if (device.is_cuda()) {
    on_gpu(a, [&]<class T>(T, const auto& t) { t.select(c.data<T>(), x.data<T>(), z.data<T>(), y.data<T>(), y.numel()); });
    return y;
  }
  with_table(a.dtype(), [&]<class T>(T, const auto& t) {
    in_pieces(y.numel(), [&](std::int64_t i, std::int64_t n) {
      t.select(c.data<T>() + i, x.data<T>() + i, z.data<T>() + i, y.data<T>() + i, n);
    });
  });
  return y;
}

Tensor clamp(const Tensor& x, double low, double high) {
  return minimum(maximum(x, Tensor::scalar(low, x.dtype(), x.device())), Tensor::scalar(high, x.dtype(), x.device()));
}

void add_into(Tensor& y, const Tensor& term, double alpha) {
  check_floating(y, "add_into");
  check_floating(term, "add_into");
  const OpName scope("add_into");
  if (y.shape() != term.shape())
    throw ShapeError("add_into: x of shape " + to_string(term.shape()) + " does not fit y of shape " + to_string(y.shape()));
  check_writable(y, "add_into");
  const Tensor x = apart_from(term, y);
  count_traffic({&x, &y, &y});
  if (common_device("add_into", {&y, &x}).is_cuda()) {
    const Tensor in = x.to(y.dtype());
    on_gpu(y, [&]<class T>(T, const auto& t) {
      t.axpy(static_cast<cuda::Scalar<T>>(alpha), in.data<T>(), y.data<T>(), walk_of(y.shape(), in.strides(), y.strides()));
    });
    return;
  }
  if (!y.is_contiguous() && (y.dtype() == DType::bf16 || y.strides().back() != 1)) {
    y.copy_from(add(y, affine(x.to(y.dtype()), alpha, 0)));
    return;
  }
  const Tensor in = x.to(y.dtype()).contiguous();
  if (y.dtype() == DType::bf16) {
    in_widened_pieces<2, 1>(y.numel(), {in.data<bf16>(), y.data<bf16>()}, {y.data<bf16>()}, [&](auto& a, auto& b, std::int64_t n) {
      std::copy_n(a[1], n, b[0]);
      table<float>().axpy(static_cast<float>(alpha), a[0], b[0], n);
    });
    return;
  }
  with_table(y.dtype(), [&]<class T>(T, const auto& t) {
    const T* p = in.data<T>();
    T* q = y.data<T>();
    if (y.is_contiguous()) {
      in_pieces(y.numel(), [&](std::int64_t i, std::int64_t n) { t.axpy(static_cast<T>(alpha), p + i, q + i, n); });
      return;
    }
    const std::int64_t n = y.shape().back();                       // a view: row by row
    parallel_for(n ? y.numel() / n : 0, n, [&](std::int64_t row) {
      std::int64_t at = 0, left = row;
      for (int d = y.rank() - 2; d >= 0; --d) {
        at += left % y.shape()[d] * y.strides()[d];
        left /= y.shape()[d];
      }
      t.axpy(static_cast<T>(alpha), p + row * n, q + at, n);
    });
  });
}

}  // namespace fm
