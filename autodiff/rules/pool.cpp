#include "autodiff/rules/pool.h"

namespace fm {
namespace {

// The linear map x -> x[index], which is the tangent of the maximum.
Var take_maxima(const Var& x, const Tensor& index, PoolWindow window) {
  const Shape shape = x.shape();
  return record("max_pool2d", max_pool2d_push(x.value(), index, window), {&x},
                [=](const Tensor& gy, Cotangents& g) { g.add(0, max_pool2d_pull(gy, index, shape, window)); });
}

}  // namespace

Var max_pool2d(const Var& x, PoolWindow window) {
  const MaxPooled pooled = max_pool2d_indexed(x.value(), window);
  const Tensor index = pooled.index;
  const Shape shape = x.shape();
  const Var y = record("max_pool2d", pooled.value, {&x}, [=](const Tensor& gy, Cotangents& g) { g.add(0, max_pool2d_pull(gy, index, shape, window)); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] { return take_maxima(x.tangent(), index.slice(0, 0, x.tangent_rows()), window); }));
}

Var avg_pool2d(const Var& x, PoolWindow window, PoolCount count) {
  const Shape shape = x.shape();
  const Var y = record("avg_pool2d", avg_pool2d(x.value(), window, count), {&x},
                       [=](const Tensor& gy, Cotangents& g) { g.add(0, avg_pool2d_pull(gy, shape, window, count)); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] { return avg_pool2d(x.tangent(), window, count); }));
}

}  // namespace fm
