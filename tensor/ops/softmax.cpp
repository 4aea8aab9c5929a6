#include "tensor/ops/softmax.h"

#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/ops/widen.h"
#include "tensor/profile.h"

namespace fm {
namespace {

template <class T> const kernels::RowTable<T>& table(const Tensor& x) { return row_kernels(x.device()).of<T>(); }

std::int64_t width_of(const Tensor& x, const char* op) {
  if (x.rank() == 0 || x.shape().back() == 0) throw ShapeError(std::string(op) + ": x of shape " + to_string(x.shape()) + " has empty rows");
  return x.shape().back();
}

// Returns y = f(a) or f(a, b), computed row by row by run(table, rows, width, a, b, y). a and b have one shape; b may be undefined.
template <class F> Tensor by_rows(const char* op, const Tensor& a, const Tensor& b, F&& run) {
  const OpName scope(op);
  const DType compute = compute_type(a, op);
  const std::int64_t width = width_of(a, op);
  if (b.defined() && b.shape() != a.shape())
    throw ShapeError(std::string(op) + ": a tangent or cotangent of shape " + to_string(b.shape()) + " does not fit a value of shape " +
                     to_string(a.shape()));
  const Tensor wa = widen(a, compute, op).contiguous(), wb = b.defined() ? widen(b, compute, op).contiguous() : b;
  Tensor y = Tensor::empty(a.shape(), compute, common_device(op, {&a, &b}));
  count_traffic({&wa, &wb, &y});
  with_compute_type(compute, [&]<class T>(T) { run(table<T>(wa), a.numel() / width, width, wa.data<T>(), pointer_or_null<T>(wb), y.data<T>()); });
  return y.to(a.dtype());
}

}  // namespace

Tensor softmax(const Tensor& x) {
  return by_rows("softmax", x, {}, [](const auto& t, auto rows, auto n, auto* a, auto*, auto* y) { t.softmax_value(rows, n, a, y); });
}
Tensor softmax_push(const Tensor& y, const Tensor& dx) {
  return by_rows("softmax", y, dx, [](const auto& t, auto rows, auto n, auto* a, auto* b, auto* out) { t.softmax_push(rows, n, a, b, out); });
}
Tensor log_softmax(const Tensor& x) {
  return by_rows("log_softmax", x, {}, [](const auto& t, auto rows, auto n, auto* a, auto*, auto* y) { t.log_softmax_value(rows, n, a, y); });
}
Tensor log_softmax_push(const Tensor& y, const Tensor& dx) {
  return by_rows("log_softmax", y, dx, [](const auto& t, auto rows, auto n, auto* a, auto* b, auto* out) { t.log_softmax_push(rows, n, a, b, out); });
}
Tensor log_softmax_pull(const Tensor& y, const Tensor& gy) {
  return by_rows("log_softmax", y, gy, [](const auto& t, auto rows, auto n, auto* a, auto* b, auto* out) { t.log_softmax_pull(rows, n, a, b, out); });
}

namespace {

constexpr const char* loss_name = "cross_entropy";

Shape loss_shape(const Tensor& logits) { return logits.shape().without(logits.rank() - 1); }

Tensor checked_labels(const Tensor& targets, const Tensor& logits) {
  if (targets.shape() != loss_shape(logits))
    throw ShapeError(std::string(loss_name) + ": class indices of shape " + to_string(targets.shape()) + " do not fit logits of shape " +
                     to_string(logits.shape()));
  const Tensor labels = targets.to(DType::i64).reshape({-1}).contiguous();
  if (labels.device().is_cuda()) {
    cuda::on(labels.device()).index.check(labels.data<std::int64_t>(), labels.numel(), logits.shape().back());
    return labels;
  }
  const std::int64_t* k = labels.data<std::int64_t>();
  for (std::int64_t i = 0; i < labels.numel(); ++i)
    if (k[i] < 0 || k[i] >= logits.shape().back())
      throw ShapeError(std::string(loss_name) + ": class " + std::to_string(k[i]) + " is not in [0, " + std::to_string(logits.shape().back()) + ")");
  return labels;
}

Tensor checked_probabilities(const Tensor& targets, const Tensor& logits, DType compute) {
  if (targets.shape() != logits.shape())
    throw ShapeError(std::string(loss_name) + ": probabilities of shape " + to_string(targets.shape()) + " do not fit logits of shape " +
                     to_string(logits.shape()));
  return widen(targets, compute, loss_name).contiguous();
}

// Logits in the type of the computation, and the arguments of the kernels for their first `rows` rows.
struct PreparedLoss {
  DType compute;
  Tensor x;
  std::int64_t rows, classes;
  template <class T> rows::CrossEntropy<T> args(const CrossEntropySaved& s) const {
    return {rows, classes, x.data<T>(), pointer_or_null<std::int64_t>(s.labels), pointer_or_null<T>(s.p), s.top.data<T>(), s.sum.data<T>()};
  }
};

PreparedLoss prepare(const Tensor& logits) {
  const DType compute = compute_type(logits, loss_name);
  const std::int64_t classes = width_of(logits, loss_name);
  return {compute, widen(logits, compute, loss_name).contiguous(), logits.numel() / classes, classes};
}

void check_saved(const PreparedLoss& p, const Tensor& logits, const CrossEntropySaved& s) {
  const std::int64_t rows = logits.numel() / p.classes;
  if (!s.top.defined() || s.top.numel() != rows || s.top.dtype() != p.compute || !s.sum.defined() || s.sum.numel() != rows)
    throw ShapeError(std::string(loss_name) + ": the saved sums are not those of logits of shape " + to_string(logits.shape()));
}

}  // namespace

Tensor cross_entropy_value(const Tensor& logits, const Tensor& targets, CrossEntropySaved& saved) {
  const OpName scope(loss_name);
  const PreparedLoss p = prepare(logits);
  if (!targets.defined()) throw Error("cross_entropy: the targets are undefined");
  if (is_floating(targets.dtype())) saved.p = checked_probabilities(targets, logits, p.compute);
  else saved.labels = checked_labels(targets, logits);
  const Device device = common_device(loss_name, {&logits, &targets});
  saved.top = Tensor::empty({p.rows}, p.compute, device);
  saved.sum = Tensor::empty({p.rows}, p.compute, device);
  Tensor loss = Tensor::empty(loss_shape(logits), p.compute, device);
  with_compute_type(p.compute, [&]<class T>(T) { table<T>(p.x).cross_entropy_value(p.args<T>(saved), loss.data<T>()); });
  return loss.to(logits.dtype());
}

Tensor cross_entropy_push(const Tensor& logits, const CrossEntropySaved& saved, const Tensor& dx) {
  const OpName scope(loss_name);
  check_defined(dx, loss_name);
  if (dx.rank() == 0 || logits.rank() != dx.rank() || dx.dim(0) > logits.dim(0) || dx.shape() != logits.shape().with(0, dx.dim(0)) ||
      (dx.rank() == 1 && dx.shape() != logits.shape()))
    throw ShapeError(std::string(loss_name) + ": a tangent of shape " + to_string(dx.shape()) + " does not fit logits of shape " +
                     to_string(logits.shape()));
  const PreparedLoss p = prepare(head_rows(logits, dx.dim(0)));
  check_saved(p, logits, saved);
  const Tensor d = widen(dx, p.compute, loss_name).contiguous();
  Tensor dloss = Tensor::empty(loss_shape(dx), p.compute, common_device(loss_name, {&logits, &dx}));
  with_compute_type(p.compute, [&]<class T>(T) { table<T>(p.x).cross_entropy_push(p.args<T>(saved), d.data<T>(), dloss.data<T>()); });
  return dloss.to(logits.dtype());
}

Tensor cross_entropy_pull(const Tensor& logits, const CrossEntropySaved& saved, const Tensor& gloss) {
  const OpName scope(loss_name);
  const PreparedLoss p = prepare(logits);
  check_defined(gloss, loss_name);
  check_shape(gloss, loss_shape(logits), loss_name);
  check_saved(p, logits, saved);
  const Tensor g = widen(gloss, p.compute, loss_name).contiguous();
  Tensor gx = Tensor::empty(logits.shape(), p.compute, common_device(loss_name, {&logits, &gloss}));
  with_compute_type(p.compute, [&]<class T>(T) { table<T>(p.x).cross_entropy_pull(p.args<T>(saved), g.data<T>(), gx.data<T>()); });
  return gx.to(logits.dtype());
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets) {
  CrossEntropySaved saved;
  return cross_entropy_value(logits, targets, saved);
}

}  // namespace fm
