// ResidualMlp: values against plain loops in double, derivatives against differences, initial values, and errors.
#include "nn/models/residual_mlp.h"

#include <cmath>

#include "autodiff/check.h"
#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "flowmap/network.h"
#include "nn/optim/adamw.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t dim = 3, width = 6, rows = 4;
using Row = std::vector<double>;

ResidualMlpConfig small(bool mean_flow, std::int64_t classes) {
  ResidualMlpConfig c;
  c.dim = dim, c.width = width, c.depth = 2, c.frequencies = 4, c.classes = classes, c.mean_flow = mean_flow;
  return c;
}

// Returns a network whose parameters are all nonzero.
ResidualMlp filled(bool mean_flow, std::int64_t classes) {
  ResidualMlp net(small(mean_flow, classes), 1);
  std::uint32_t number = 0;
  for_each_parameter(net, [&](const std::string&, Parameter& p) { p.value.copy_from(random_normal(p.value.shape(), {3, ++number}) * 0.4); });
  to_dtype(net, DType::f64);
  return net;
}

const Tensor& z() { static const Tensor value = normal({rows, dim}, 5, DType::f64); return value; }
const Tensor& s() { static const Tensor value = Tensor::from<double>({0.1, 0.3, 0.0, 0.5}, {rows}); return value; }
const Tensor& t() { static const Tensor value = Tensor::from<double>({0.8, 0.3, 1.0, 0.9}, {rows}); return value; }
const Tensor& y() { static const Tensor value = Tensor::from<std::int64_t>({2, 5, 0, 4}, {rows}); return value; }

Row applied(const Linear& layer, const Row& x) {
  const Row w = layer.weight.value.to_vector<double>();
  Row out = layer.bias.value.to_vector<double>();
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t j = 0; j < x.size(); ++j) out[i] += w[i * x.size() + j] * x[j];
  return out;
}

Row waves(const ResidualMlp& net, double time) {
  Row out;
  for (const double w : net.frequencies.value.to_vector<double>()) out.push_back(std::sin(w * time));
  for (const double w : net.frequencies.value.to_vector<double>()) out.push_back(std::cos(w * time));
  return out;
}

Row activated(Row x) {
  for (double& v : x) v /= 1 + std::exp(-v);
  return x;
}

Row sum_of(const Row& a, const Row& b) {
  Row out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] += b[i];
  return out;
}

// (1 + m[width ...]) (x - mean) / deviation + m[0 ...]
Row modulated(const Row& x, const Row& m) {
  double mean = 0, variance = 0;
  for (const double v : x) mean += v / width;
  for (const double v : x) variance += (v - mean) * (v - mean) / width;
  Row out;
  for (std::size_t i = 0; i < x.size(); ++i) out.push_back((1 + m[width + i]) * (x[i] - mean) / std::sqrt(variance + 1e-6) + m[i]);
  return out;
}

Row by_hand(const ResidualMlp& net, const Row& x, double from, double to, std::int64_t label) {
  Row c = applied(net.t_embedder, waves(net, to));
  if (net.r_embedder) c = sum_of(c, applied(*net.r_embedder, waves(net, to - from)));
  if (net.y_embedder) {
    const Row table = net.y_embedder->table.value.to_vector<double>();
    c = sum_of(c, {table.begin() + label * width, table.begin() + (label + 1) * width});
  }
  c = activated(c);
  Row h = applied(net.in, x);
  for (const ResidualMlpBlock& block : net.blocks) {
    const Row m = applied(block.modulation.linear, c), branch = applied(block.mlp.fc2, activated(applied(block.mlp.fc1, modulated(h, m))));
    for (std::size_t i = 0; i < h.size(); ++i) h[i] += m[2 * width + i] * branch[i];
  }
  return applied(net.out, modulated(h, applied(net.modulation.linear, c)));
}

}  // namespace

TEST_CASE("ResidualMlp agrees with plain loops") {
  for (const bool mean_flow : {false, true})
    for (const std::int64_t classes : {0, 5}) {
      CAPTURE(mean_flow);
      CAPTURE(classes);
      const ResidualMlp net = filled(mean_flow, classes);
      const Tensor labels = classes > 0 ? y() : Tensor();
      const Tensor out = (mean_flow ? net(z(), s(), t(), labels) : net(z(), t(), labels)).value();
      Row wanted;
      for (std::int64_t i = 0; i < rows; ++i) {
        const Row row = by_hand(net, z().select(0, i).to_vector<double>(), s().select(0, i).item(), t().select(0, i).item(),
                                y().to_vector<std::int64_t>()[static_cast<std::size_t>(i)]);
        wanted.insert(wanted.end(), row.begin(), row.end());
      }
      CHECK(max_difference(out, Tensor::from(wanted, {rows, dim})) < 1e-13);
    }
}

TEST_CASE("ResidualMlp passes all derivative checks in z, s and t: differences, transposes, taped tangents, first rows") {
  const ResidualMlp two = filled(true, 5), one = filled(false, 0);
  CheckOptions options;
  options.name = "ResidualMlp";
  check_all([&](const std::vector<Var>& v) { return two(v[0], v[1], v[2], y()); }, {z(), s(), t()}, options);
  check_all([&](const std::vector<Var>& v) { return one(v[0], v[1], {}); }, {z(), t()}, options);
}

TEST_CASE("a new ResidualMlp gives zero; u(x, t, t) is the velocity; samples may have any shape") {
  ResidualMlp net(small(true, 5), 3);
  const Tensor x = z().to(DType::f32), from = s().to(DType::f32), to = t().to(DType::f32);
  CHECK(max(abs(net(x, from, to, y()).value().reshape({-1})), 0).item() == 0);
  const ResidualMlp other = filled(true, 5);
  CHECK(max_difference(other(z(), t(), y()).value(), other(z(), t(), t(), y()).value()) == 0);
  CHECK(max_difference(other(z(), s(), t(), {}).value(), other(z(), s(), t(), Tensor::full({rows}, 5, DType::i64)).value()) == 0);      // no label
  const Tensor wide = z().reshape({rows, 1, dim});
  CHECK(other(wide, s(), t(), y()).shape() == wide.shape());
  CHECK(max_difference(other(wide, s(), t(), y()).value().reshape({rows, dim}), other(z(), s(), t(), y()).value()) == 0);
}

TEST_CASE("ResidualMlp: a saved model loaded into one of another seed gives the same bits; misfits are refused") {
  ResidualMlp a = filled(true, 5), b(small(true, 5), 9);
  to_dtype(b, DType::f64);
  load_state(b, state_dict(a));
  const ResidualMlp c = clone(a);
  a.in.weight.value.fill(0);
  CHECK(max_difference(b(z(), s(), t(), y()).value(), c(z(), s(), t(), y()).value()) == 0);
  CHECK(max_difference(a(z(), s(), t(), y()).value(), c(z(), s(), t(), y()).value()) > 1e-3);
  CHECK(has(error_of<ShapeError>([&] { c(normal({rows, 4}, 1, DType::f64), t(), y()); }), "must have rows of 3 numbers"));
  CHECK(has(error_of<ConfigError>([&] { filled(false, 5)(z(), s(), t(), y()); }), "made for one"));
  CHECK(has(error_of<ConfigError>([&] { filled(true, 0)(z(), s(), t(), y()); }), "without classes"));
  ResidualMlpConfig wrong = small(true, 5);
  wrong.lowest = 20;
  CHECK(has(error_of<ConfigError>([&] { ResidualMlp net(wrong); }), "highest = 10 is below lowest = 20"));
}

TEST_CASE("the parameter names of ResidualMlp are those of residual_mlp.txt") { check_names(ResidualMlp(small(true, 5)), "residual_mlp.txt"); }

TEST_CASE("initial values: modulations and last layer are 0, linear layers are PyTorch's, label vectors N(0, 0.02^2)") {
  ResidualMlpConfig c;
  c.mean_flow = true, c.classes = 40, c.width = 64, c.depth = 2;
  const ResidualMlp net(c, 3), same(c, 3), other(c, 4);
  const auto deviation = [](const Parameter& p) { return norm(p.value) / std::sqrt(static_cast<double>(p.value.numel())); };
  for (const Linear* layer : {&net.blocks[0].modulation.linear, &net.blocks[1].modulation.linear, &net.modulation.linear, &net.out}) {
    CHECK(norm(layer->weight.value) == 0);
    CHECK(norm(layer->bias.value) == 0);
  }
  for (const Linear* layer : {&net.in, &net.t_embedder, &*net.r_embedder, &net.blocks[0].mlp.fc1, &net.blocks[1].mlp.fc2})
    CHECK(near(deviation(layer->weight), 1 / std::sqrt(3.0 * static_cast<double>(layer->weight.value.dim(1))), 0.08));      // U(-1/sqrt(n), 1/sqrt(n))
  CHECK(near(deviation(net.y_embedder->table), 0.02, 0.08));
  CHECK(max_difference(net.in.weight.value, same.in.weight.value) == 0);
  CHECK(max_difference(net.in.weight.value, other.in.weight.value) > 1e-3);
}

TEST_CASE("ResidualMlp: gradients of values and of derivatives agree with differences") {
  ResidualMlp net = filled(true, 5);
  const auto call = [&](const Var& x, const Var& a, const Var& b) { return net(x, a, b, y()); };
  const Tensor w = wave({rows, dim}, 0.9), gy = wave({rows, dim}, 1.7), gd = wave({rows, dim}, 2.6);
  Tape tape;
  const auto [u, dudt] = jvp_taped(call, at(z(), s(), t()), along(w, zero, 1.0));
  const Gradients g = backward(sum(u * gy) + sum(dudt * gd));
  const PauseTape off;
  for_each_parameter(net, [&](const std::string& name, Parameter& p) {
    CAPTURE(name);
    const Tensor direction = wave(p.value.shape(), 6), start = p.value.clone();
    const auto moved = [&](double h) {
      p.value.copy_from(start + direction * h);
      const auto at_h = jvp(call, at(z(), s(), t()), along(w, zero, 1.0));
      return dot(at_h.first.value(), gy) + dot(at_h.second, gd);
    };
    const double h = 1e-3, difference = ((moved(h) - moved(-h)) * 8 - (moved(2 * h) - moved(-2 * h))) / (12 * h);
    p.value.copy_from(start);
    CHECK(near(dot(g[p], direction), difference, 1e-7));
  });
}

TEST_CASE("ResidualMlp trains as a velocity and as a flow map; every parameter gets a gradient once the zeros have changed") {
  for (const bool mean_flow : {false, true}) {
    const auto model = std::make_shared<ResidualMlp>(small(mean_flow, 5), 1);
    const FlowMapNet u = mean_flow ? FlowMapNet(model) : FlowMapNet();
    const VelocityNet v = model;
    AdamW optimizer(named_parameters(*model));
    const Tensor x = z().to(DType::f32), from = s().to(DType::f32), to = t().to(DType::f32), wanted = wave({rows, dim}, 2.3, DType::f32);
    double first = 0, last = 0;
    for (int step = 0; step < 100; ++step) {
      Tape tape;
      const Var loss = mean(square((mean_flow ? u(x, from, to, y()) : v(x, to, y())) - wanted));
      const Gradients g = backward(loss);
      // At first only the last layer has a gradient that is not zero, then also the gates, then the layers before the gates.
      if (step > 2) for_each_parameter(*model, [&](const std::string& name, Parameter& p) { REQUIRE_MESSAGE((g[p].defined() && norm(g[p]) > 0), name); });
      last = loss.value().item();
      if (step == 0) first = last;
      optimizer.step(g, {.lr = 0.02});
    }
    CHECK(last < 0.05 * first);
  }
}
