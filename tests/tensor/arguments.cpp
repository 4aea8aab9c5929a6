// Tangents, cotangents and saved tensors that do not fit: every public operation refuses them by name before a kernel reads beyond an array.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/conv.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/gates.h"
#include "tensor/ops/index.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/norm.h"
#include "tensor/ops/pool.h"
#include "tensor/ops/reduce.h"
#include "tensor/ops/softmax.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

Tensor x(const Shape& shape) { return normal(shape, 1, DType::f32); }

// Checks that f accepts the tensor `fits`, and that it throws an Error that begins with the operation's name for wrong tensors and an undefined one.
void refuses(const std::string& op, const Tensor& fits, const std::function<void(const Tensor&)>& f, bool undefined_too = true) {
  CAPTURE(op);
  CHECK_NOTHROW(f(fits));
  std::vector<Tensor> wrong{fits.slice(0, 1, fits.dim(0)), fits.unsqueeze(0), concat({fits, fits}, 0), Tensor::zeros({1}), Tensor::zeros({}), fits.to(DType::i64)};
  if (undefined_too) wrong.push_back({});
  for (const Tensor& t : wrong) {
    std::string message = "nothing thrown";
    try {
      f(t);
    } catch (const Error& e) {
      message = e.what();
    }
    CHECK_MESSAGE(message.starts_with(op), message);
  }
}

}  // namespace

TEST_CASE("element-wise operations refuse tensors of the wrong shape or type") {
  const Tensor a = x({3, 4});
  refuses("tanh", a, [&](const Tensor& t) { map_slope<Tanh>(a, t); });
  refuses("tanh", a, [&](const Tensor& t) {
    Tensor y, dy;
    map_dual<Tanh>(a, t, y, dy);
  });
  refuses("tanh", a, [&](const Tensor& t) { map_curvature<Tanh>(a, t, a); });
  refuses("tanh", a, [&](const Tensor& t) { map_curvature<Tanh>(a, a, t); });
  Tensor sum = a.clone();
  refuses("add_into", a, [&](const Tensor& t) { add_into(sum, t); });
  Tensor y = Tensor::full({2}, 7), dy;              // an output that exists is not written to
  const Tensor before = y;
  map_dual<Tanh>(a, a, y, dy);
  CHECK(before.to_vector<double>() == std::vector<double>{7, 7});
  CHECK(y.shape() == a.shape());
}

TEST_CASE("softmax, norms, cross-entropy and gates refuse tensors of the wrong shape or type") {
  const Tensor a = x({3, 4}), w = x({4});
  refuses("softmax", a, [&](const Tensor& t) { softmax_push(a, t); }, false);
  refuses("log_softmax", a, [&](const Tensor& t) { log_softmax_pull(a, t); }, false);
  const Tensor labels = Tensor::from<std::int64_t>({0, 3, 2}, {3}).to(default_device());
  CrossEntropySaved saved;
  cross_entropy_value(a, labels, saved);
  CHECK_NOTHROW(cross_entropy_push(a, saved, a.slice(0, 0, 2)));
  for (const Tensor& t : {concat({a, a}, 0), a.slice(1, 0, 3), a.unsqueeze(0), Tensor::zeros({}), Tensor::zeros({4}), Tensor()})
    CHECK_THROWS_AS(cross_entropy_push(a, saved, t), Error);
  refuses("cross_entropy", x({3}), [&](const Tensor& t) { cross_entropy_pull(a, saved, t); });
  CHECK_THROWS_AS(cross_entropy_pull(x({4, 4}), saved, x({4})), ShapeError);

  for (const NormKind kind : {NormKind::layer, NormKind::rms}) {
    const std::string op = kind == NormKind::layer ? "layer_norm" : "rms_norm";
    NormSaved statistics;
    const NormForm form{kind, 1e-6, a.dtype()};
    norm_value(form, {a, w, {}, {}, {}}, statistics);
    refuses(op, a, [&](const Tensor& t) { norm_pull(form, {a, w, {}, {}, {}}, statistics, t, {true, true, false, false, false}); });
    refuses(op, a, [&](const Tensor& t) { norm_push(form, {a, w, {}, {}, {}}, statistics, {t, {}, {}, {}, {}}); }, false);
    CHECK_THROWS_AS(norm_pull(form, {x({5, 4}), {}, {}, {}, {}}, statistics, x({5, 4}), {true, false, false, false, false}), ShapeError);
    CHECK_THROWS_AS(norm_push(form, {a, {}, {}, {}, {}}, {}, {a, {}, {}, {}, {}}), ShapeError);
  }
  refuses("swiglu", a, [&](const Tensor& t) { swiglu_push(a, t); });
  refuses("swiglu", x({3, 2}), [&](const Tensor& t) { swiglu_pull(a, t); });
  const Tensor gate = x({3, 4});
  refuses("gated_residual", a, [&](const Tensor& t) { gated_push({a, gate}, {t, {}, {}}, a.dtype()); }, false);
  refuses("gated_residual", a, [&](const Tensor& t) { gated_push({a, gate}, {{}, t, {}}, a.dtype()); }, false);
  refuses("gated_residual", a, [&](const Tensor& t) { gated_pull({a, gate}, a.dtype(), t, true, true); });
  refuses("gated_residual", a, [&](const Tensor& t) { gated_residual(a, t, gate); });
}

TEST_CASE("norms, counts and random tensors refuse wrong numbers and types") {
  for (const double bad : {double(NAN), HUGE_VAL, -1e-6}) {
    CHECK_THROWS_AS(layer_norm(x({3, 4}), {}, {}, bad), ConfigError);
    CHECK_THROWS_AS(rms_norm(x({3, 4}), {}, bad), ConfigError);
  }
  CHECK_NOTHROW(rms_norm(x({3, 4}), {}, 0));
  CHECK_THROWS_AS(consecutive(0, -1), ShapeError);
  CHECK_THROWS_AS(random_uniform({3}, {.seed = 1}, 0, DType::i64), DTypeError);
  CHECK_THROWS_AS(random_normal_rows({1, 2}, {3}, {.seed = 1}, 0, DType::u8), DTypeError);
}

TEST_CASE("products, convolutions, attention and gather refuse tensors of the wrong shape or type") {
  const Tensor w = x({5, 4}), a = x({3, 4});
  refuses("linear", x({5}), [&](const Tensor& t) { linear(a, w, t); }, false);
  CHECK_THROWS_AS(linear(a, w, x({1, 5})), ShapeError);
  const Tensor image = x({2, 3, 5, 5}), kernel = x({4, 3, 3, 3}), y = conv2d(image, kernel, {}, {1, 1});
  refuses("conv2d", y, [&](const Tensor& t) { conv2d_grad_input(t, kernel, image.shape(), {1, 1}); });
  refuses("conv2d", y, [&](const Tensor& t) { conv2d_grad_weight(image, t, kernel.shape(), {1, 1}); });
  refuses("conv2d", x({4}), [&](const Tensor& t) { conv2d(image, kernel, t, {1, 1}); }, false);
  const MaxPooled pooled = max_pool2d_indexed(image, {2, 2, 0});
  refuses("max_pool2d", pooled.value, [&](const Tensor& t) { max_pool2d_pull(t, pooled.index, image.shape(), {2, 2, 0}); });
  refuses("max_pool2d", pooled.index, [&](const Tensor& t) { max_pool2d_push(image, t, {2, 2, 0}); });
  refuses("avg_pool2d", pooled.value, [&](const Tensor& t) { avg_pool2d_pull(t, image.shape(), {2, 2, 0}, PoolCount::all); });
  const Tensor q = x({2, 2, 3, 4});
  Tensor d_o;
  CHECK_NOTHROW(attention_value_push({q, q, q}, {q.slice(0, 0, 1), {}, q.slice(0, 0, 1)}, d_o));
  CHECK_THROWS_AS(attention_value_push({q, q, q}, {}, d_o), Error);
  CHECK_THROWS_AS(attention_value_push({q, q, q}, {q, q.slice(0, 0, 1), {}}, d_o), ShapeError);
  CHECK_THROWS_AS(attention_value_push({q, q, q}, {q.slice(2, 0, 2), {}, {}}, d_o), ShapeError);
  CHECK_THROWS_AS(attention_value_push({q, q, q}, {concat({q, q}, 0), {}, {}}, d_o), ShapeError);
  CHECK_THROWS_AS(attention_value_push({q, q, q}, {x({3}), {}, {}}, d_o), ShapeError);
  CHECK_THROWS_AS(gather(Tensor(), Tensor::zeros({1}, DType::i64)), Error);
  CHECK_THROWS_AS(scatter_add(a, Tensor(), {3, 4}), Error);
}
