// FlowMlp: values, gradients and derivatives against PyTorch (tests/golden/flow_mlp.py), checks in f64, names, initial values, cost, and training as a
// velocity and as a flow map.
#include "nn/models/flow_mlp.h"

#include <map>
#include <sstream>

#include "autodiff/check.h"
#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "flowmap/network.h"
#include "nn/optim/adamw.h"
#include "tensor/error.h"
#include "tests/support/model_check.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

FlowMlpConfig small(bool mean_flow, std::int64_t classes) {
  FlowMlpConfig c;
  c.dim = 3, c.width = 6, c.depth = 3, c.frequencies = 4, c.classes = classes, c.mean_flow = mean_flow;
  return c;
}

// Sets the same values as flow_mlp.py: functions of the number o of the parameter and the index i of the element.
void fill_parameters(FlowMlp& net) {
  int o = 0;
  for_each_parameter(net, [&](const std::string&, Parameter& p) {
    std::vector<float> values;
    for (std::int64_t i = 1; i <= p.value.numel(); ++i) values.push_back(static_cast<float>(0.3 * std::sin(0.7 * static_cast<double>(i) + 0.31 * o)));
    p.value.copy_from(Tensor::from(values, p.value.shape()));
    ++o;
  });
}

Tensor sines(std::int64_t rows, double step) { return sin(affine(Tensor::arange(rows * 3, DType::f64), step, step)).reshape({rows, 3}); }

const Tensor& z() { static const Tensor value = sines(4, 0.37) * 1.5; return value; }
const Tensor& s() { static const Tensor value = Tensor::from<double>({0.1, 0.3, 0.0, 0.5}, {4}); return value; }
const Tensor& t() { static const Tensor value = Tensor::from<double>({0.8, 0.3, 1.0, 0.9}, {4}); return value; }
const Tensor& y() { static const Tensor value = Tensor::from<std::int64_t>({2, 5, 0, 4}, {4}); return value; }

Tensor golden(const std::string& name, const Shape& shape) {
  static const auto all = golden_rows(FM_TESTS_FOLDER "/golden/flow_mlp.txt");
  return Tensor::from(all.at(name), shape);
}

FlowMlp filled(bool mean_flow, std::int64_t classes, DType dtype = DType::f64) {
  FlowMlp net(small(mean_flow, classes), 1);
  fill_parameters(net);
  to_dtype(net, dtype);
  return net;
}

}  // namespace

TEST_CASE("FlowMlp's values, gradients and derivatives agree with PyTorch's") {
  for (const bool mean_flow : {false, true})
    for (const std::int64_t classes : {0, 5})
      for (const DType type : {DType::f64, DType::f32}) {
        const std::string name = std::string(mean_flow ? "map" : "velocity") + (classes > 0 ? ".labels" : "");
        CAPTURE(name);
        const double bound = type == DType::f64 ? 1e-14 : 3e-6;
        const FlowMlp net = filled(mean_flow, classes, type);
        const Tensor labels = classes > 0 ? y() : Tensor();
        const auto call = [&](const Var& x, const Var& a, const Var& b) { return mean_flow ? net(x, a, b, labels) : net(x, b, labels); };
        const Tensor x = z().to(type), from = s().to(type), to = t().to(type);
        Tape tape;
        const Var out = call(x, from, to);
        CHECK(max_difference(out.value(), golden(name, {4, 3})) < bound);
        const Gradients g = backward(sum(out * sines(4, 1.7).to(type)));
        int o = 0;
        for_each_parameter(net, [&](const std::string&, const Parameter& p) {
          CHECK(max_difference(g[p], golden(name + ".gradient." + std::to_string(o++), p.value.shape())) < 5 * bound);
        });
        if (mean_flow)
          CHECK(max_difference(jvp(call, at(x, from, to), along(sines(4, 0.91).to(type), zero, 1.0)).second, golden(name + ".derivative", {4, 3})) < 10 * bound);
      }
}

TEST_CASE("FlowMlp passes all derivative checks in z, s and t: differences, transposes, taped tangents, first rows") {
  for (const std::int64_t classes : {0, 5}) {
    const FlowMlp two = filled(true, classes), one = filled(false, classes);
    const Tensor labels = classes > 0 ? y() : Tensor();
    CheckOptions options;
    options.name = "FlowMlp";
    check_all([&](const std::vector<Var>& v) { return two(v[0], v[1], v[2], labels); }, {z(), s(), t()}, options);
    check_all([&](const std::vector<Var>& v) { return one(v[0], v[1], labels); }, {z(), t()}, options);
  }
}

TEST_CASE("FlowMlp: gradients through the derivative agree with differences of the derivative") {
  FlowMlp net = filled(true, 5);
  const auto call = [&](const Var& x, const Var& a, const Var& b) { return net(x, a, b, y()); };
  const Tensor w = sines(4, 0.91), gy = sines(4, 1.7);
  for (Parameter* p : {&net.in.weight, &net.hidden[1].bias, &net.y_embedder->table}) {
    const Tensor direction = wave(p->value.shape(), 6), start = p->value.clone();
    const auto objective = [&](double h) {
      p->value = start + direction * h;
      return dot(jvp(call, at(z(), s(), t()), along(w, zero, 1.0)).second, gy);
    };
    const double h = 1e-3;
    const double difference = ((objective(h) - objective(-h)) * 8 - (objective(2 * h) - objective(-2 * h))) / (12 * h);
    p->value = start;
    Tape tape;
    const Gradients g = backward(sum(jvp_taped(call, at(z(), s(), t()), along(w, zero, 1.0)).second * gy));
    CHECK(near(dot(g[*p], direction), difference, 1e-8));
  }
}

TEST_CASE("the parameter names of FlowMlp are those of flow_mlp.txt") { check_names(FlowMlp(small(true, 5)), "flow_mlp.txt"); }

TEST_CASE("linear layers have PyTorch's initial values; frequencies rise from the lowest to the highest in equal ratios") {
  FlowMlpConfig c;
  c.mean_flow = true, c.classes = 8;
  const FlowMlp net(c, 3), same(c, 3), other(c, 4);
  CHECK(c.inputs() == 34);
  for (const Linear* layer : {&net.in, &net.hidden[0], &net.hidden[1], &net.out}) {
    const double bound = 1 / std::sqrt(static_cast<double>(layer->weight.value.dim(1)));
    for (const Parameter* p : {&layer->weight, &layer->bias}) {
      double largest = 0;
      for (const double v : p->value.to_vector<double>()) largest = std::max(largest, std::abs(v));
      CHECK(largest <= bound);
      CHECK(largest > 0.4 * bound);
    }
    CHECK(near(norm(layer->weight.value) / std::sqrt(static_cast<double>(layer->weight.value.numel())), bound / std::sqrt(3.0), 0.06));
  }
  CHECK(near(norm(net.y_embedder->table.value) / std::sqrt(9.0 * 128), 0.02, 0.1));
  CHECK(max_difference(net.in.weight.value, same.in.weight.value) == 0);
  CHECK(max_difference(net.in.weight.value, other.in.weight.value) > 1e-3);
  const std::vector<double> w = net.frequencies.value.to_vector<double>();
  REQUIRE(w.size() == 8);
  for (std::size_t k = 0; k < 8; ++k) CHECK(near(w[k], 0.5 * std::pow(20, static_cast<double>(k) / 7), 1e-6));
  FlowMlpConfig single;
  single.frequencies = 1, single.depth = 1;
  CHECK(FlowMlp(single).frequencies.value.item() == 0.5);
  CHECK(FlowMlp(single).hidden.empty());
}

TEST_CASE("FlowMlp: a saved model loaded into one of another seed gives the same bits; a clone is independent") {
  FlowMlp a(small(true, 5), 1), b(small(true, 5), 2), c = clone(a);
  load_state(b, state_dict(a));
  const Tensor x = z().to(DType::f32), from = s().to(DType::f32), to = t().to(DType::f32);
  const Tensor wanted = a(x, from, to, y()).value();
  CHECK(max_difference(wanted, b(x, from, to, y()).value()) == 0);
  a.out.bias.value.fill(7);
  CHECK(max_difference(wanted, c(x, from, to, y()).value()) == 0);
  CHECK(parameter_count(a, true) == parameter_count(a));
}

TEST_CASE("FlowMlp: undefined labels mean no label; one time means s = t; rows may have any shape") {
  const FlowMlp net = filled(true, 5), bare = filled(false, 0);
  CHECK(max_difference(net(z(), s(), t(), {}).value(), net(z(), s(), t(), Tensor::full({4}, 5, DType::i64)).value()) == 0);
  CHECK(max_difference(net(z(), s(), t(), {}).value(), net(z(), s(), t(), y()).value()) > 1e-3);
  CHECK(max_difference(net(z(), t(), y()).value(), net(z(), t(), t(), y()).value()) == 0);
  const Tensor folded = z().reshape({4, 3, 1, 1});
  CHECK(max_difference(bare(folded, t(), {}).value(), bare(z(), t(), {}).value().reshape({4, 3, 1, 1})) == 0);
}

TEST_CASE("FlowMlp refuses wrong calls and configs in one line") {
  const FlowMlp one = filled(false, 0), two = filled(true, 5);
  CHECK_THROWS_WITH_AS(one(z(), s(), t(), {}), "FlowMlp: called with two times, but the model was made for one; set mean_flow in its config", ConfigError);
  CHECK_THROWS_WITH_AS(one(z(), t(), y()), "FlowMlp: called with labels, but the model was made without classes; set classes in its config, or pass no labels",
                       ConfigError);
  CHECK_THROWS_WITH_AS(one(z().slice(1, 0, 2), t(), {}), doctest::Contains("FlowMlp: input [4, 2] at times [4]: the input must have rows of 3 numbers, with one time each"),
                       ShapeError);
  CHECK_THROWS_AS(one(z(), t().slice(0, 0, 3), {}), ShapeError);
  CHECK_THROWS_AS(two(z(), s().slice(0, 0, 1), t(), y()), ShapeError);
  CHECK_THROWS_AS(two(z(), s(), t(), Tensor::full({4}, 6, DType::i64)), Error);
  FlowMlpConfig c;
  c.highest = 0.1;
  CHECK_THROWS_WITH_AS(FlowMlp{c}, "FlowMlp: highest = 0.1 is below lowest = 0.5: swap them", ConfigError);
  c = {};
  c.width = 0;
  CHECK_THROWS_AS(FlowMlp{c}, ConfigError);
}

TEST_CASE("FlowMlp trains as a velocity and as a flow map, and every parameter gets a gradient") {
  for (const bool mean_flow : {false, true}) {
    const auto model = std::make_shared<FlowMlp>(small(mean_flow, 5), 1);
    const FlowMapNet u = mean_flow ? FlowMapNet(model) : FlowMapNet();
    const VelocityNet v = model;
    AdamW optimizer(named_parameters(*model));
    const Tensor x = z().to(DType::f32), from = s().to(DType::f32), to = t().to(DType::f32), wanted = sines(4, 2.3).to(DType::f32);
    double first = 0, last = 0;
    for (int step = 0; step < 60; ++step) {
      Tape tape;
      const Var loss = mean(square((mean_flow ? u(x, from, to, y()) : v(x, to, y())) - wanted));
      const Gradients g = backward(loss);
      for_each_parameter(*model, [&](const std::string& name, Parameter& p) { REQUIRE_MESSAGE((g[p].defined() && norm(g[p]) > 0), name); });
      last = loss.value().item();
      if (step == 0) first = last;
      optimizer.step(g, {.lr = 0.02});
    }
    CHECK(last < 0.2 * first);
  }
}
