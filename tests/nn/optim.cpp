// AdamW with clipping and averages: against a naive implementation in double and closed forms of the first steps, for every instruction set and any
// number of threads. Schedules against their formulas. Saving and restoring the state.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "nn/optim/adamw.h"
#include "nn/optim/schedule.h"
#include "tensor/error.h"
#include "tensor/kernels/cpu/optimizer.h"
#include "tests/support/error_of.h"
#include "tests/support/kernel_check.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::error_of;
using fm::test::near;
using test::random_array;

namespace {

std::int64_t length(const std::vector<double>& v) { return static_cast<std::int64_t>(v.size()); }
Tensor make(const std::vector<double>& v, DType dtype) { return Tensor::from(v, {length(v)}).to(dtype); }
std::vector<double> read(const Parameter& p) { return p.value.to_vector<double>(); }

// AdamW for one parameter, as in the paper, in double.
struct Naive {
  std::vector<double> p, m, v, e;
  int k = 0;
  explicit Naive(const std::vector<double>& start) : p(start), m(start.size(), 0), v(start.size(), 0), e(start) {}
  void step(const std::vector<double>& g, const AdamWConfig& c, double lr, double scale) {
    ++k;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double gi = g[i] * scale;
      p[i] -= lr * c.weight_decay * p[i];
      m[i] = c.beta1 * m[i] + (1 - c.beta1) * gi;
      v[i] = c.beta2 * v[i] + (1 - c.beta2) * gi * gi;
      p[i] -= lr * (m[i] / (1 - std::pow(c.beta1, k))) / (std::sqrt(v[i] / (1 - std::pow(c.beta2, k))) + c.eps);
    }
  }
  void follow(double d) {
    for (std::size_t i = 0; i < p.size(); ++i) e[i] = d * e[i] + (1 - d) * p[i];
  }
};

struct Model {
  Parameter a, b, frozen;
  template <class V> void visit(V&& v) {
    v("a", a);
    v("b", b);
    v("frozen", frozen);
  }
};

Model make_model(DType dtype, std::int64_t n = 1037) {
  return {{make(random_array(n, 1), dtype)}, {make(random_array(33, 2), dtype)}, {make(random_array(5, 3), dtype), false}};
}

Gradients make_gradients(const Model& model, const std::vector<double>& a, const std::vector<double>& b) {
  Gradients g;
  if (!a.empty()) g.add(model.a, make(a, model.a.value.dtype()));
  if (!b.empty()) g.add(model.b, make(b, model.b.value.dtype()));
  return g;
}

bool same_bits(const Tensor& left, const Tensor& right) {
  const Tensor a = left.to(Device{}), b = right.to(Device{});
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace

TEST_CASE("AdamW agrees with a naive update: both types, clipping, decay, a missing gradient, two averages") {
  test::each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (DType dtype : {DType::f32, DType::f64}) {
      Model model = make_model(dtype), ema = clone(model), ramped = clone(model);
      const AdamWConfig config{.weight_decay = 0.1, .clip = 20};
      AdamW optimizer(named_parameters(model), config);
      optimizer.add_average(named_parameters(ema), 0.9);
      optimizer.add_average(named_parameters(ramped), 0.999, true);
      Naive a(read(model.a)), b(read(model.b)), ramped_a(read(model.a));
      int clipped = 0;
      for (int k = 0; k < 12; ++k) {
        const double lr = 0.01 + 0.001 * k, size = k == 4 ? 3.0 : 1.0;
        std::vector<double> ga = random_array(1037, 10 + k), gb = k % 3 == 1 ? std::vector<double>{} : random_array(33, 50 + k);
        for (double& x : ga) x *= 2 * size;            // a sum over two micro-batches
        for (double& x : gb) x *= 2 * size;
        double squares = 0;
        for (double x : ga) squares += x * x / 4;
        for (double x : gb) squares += x * x / 4;
        const double norm = std::sqrt(squares), scale = norm > 20 ? 20 / (norm + 1e-6) : 1;
        const StepStats stats = optimizer.step(make_gradients(model, ga, gb), {.lr = lr, .gradient_scale = 0.5});
        CHECK(near(stats.gradient_norm.value(), norm, 1e-6));
        clipped += norm > 20;
        a.step(ga, config, lr, 0.5 * scale);
        if (!gb.empty()) b.step(gb, config, lr, 0.5 * scale);
        a.follow(0.9);
        b.follow(0.9);
        ramped_a.p = a.p;
        ramped_a.follow(std::min(0.999, (1.0 + k) / (10.0 + k)));
      }
      CHECK(clipped > 0);
      CHECK(clipped < 12);
      const double tolerance = dtype == DType::f64 ? 1e-13 : 4e-6;
      CHECK(test::max_difference(read(model.a), a.p) < tolerance);
      CHECK(test::max_difference(read(model.b), b.p) < tolerance);
      CHECK(test::max_difference(read(ema.a), a.e) < tolerance);
      CHECK(test::max_difference(read(ema.b), b.e) < tolerance);
      CHECK(test::max_difference(read(ramped.a), ramped_a.e) < tolerance);
      CHECK(same_bits(ema.frozen.value, model.frozen.value));
      CHECK(optimizer.updates() == 12);
    }
  });
}

TEST_CASE("AdamW's first step has length lr, and a constant gradient keeps that length") {
  Model model = make_model(DType::f64);
  const std::vector<double> start = read(model.b), g = random_array(33, 7);
  AdamW optimizer(named_parameters(model), {.eps = 1e-30, .clip = 0});
  for (int k = 1; k <= 5; ++k) {
    optimizer.step(make_gradients(model, {}, g), {.lr = 0.125});
    const std::vector<double> now = read(model.b);
    for (std::size_t i = 0; i < g.size(); ++i) CHECK(near(now[i], start[i] - 0.125 * k * (g[i] > 0 ? 1 : -1), 1e-13));
  }
}

TEST_CASE("in f32, the average of constant weights stays exactly equal to them") {
  Model model = make_model(DType::f32), ema = clone(model);
  AdamW optimizer(named_parameters(model));
  optimizer.add_average(named_parameters(ema), 0.9999);
  for (int k = 0; k < 100; ++k) optimizer.step(make_gradients(model, random_array(1037, 1), {}), {.lr = 0});
  CHECK(same_bits(ema.a.value, model.a.value));
}

TEST_CASE("AdamW's instruction sets agree and threads change no bit, at every odd length") {
  for (std::int64_t n : {1, 7, 16, 1023, 1024, 1025, 50001}) {
    test::Array<float> expected;
    test::each_isa([&](const std::string& isa) {
      CAPTURE(isa);
      const auto run = [&] {
        auto p = random_array<float>(n, 1), g = random_array<float>(n, 2), m = random_array<float>(n, 3), v = random_array<float>(n, 4),
             e = random_array<float>(n, 5);
        for (float& x : v) x = std::fabs(x);
        float* averages[] = {e.data()};
        const double rates[] = {0.25};
        const cpu::AdamWScalars<float> s{0.1f, 0.95f, 0.05f, 1e-8f};
        const cpu::AdamWStep now{0.99, 0.01, 1.5};
        const cpu::AdamWClip clip{1, 0.5};
        cpu::optimizer_kernels().adamw_f32({p.data(), g.data(), m.data(), v.data(), averages, rates, 1, n, &now, &clip}, s);
        for (const auto* x : {&m, &v, &e}) p.insert(p.end(), x->begin(), x->end());
        return p;
      };
      CHECK(test::same_for_any_threads(run));
      if (expected.empty()) expected = run();
      CHECK(test::max_difference(run(), expected) < 1e-6);
    });
  }
}

TEST_CASE("a gradient that is not finite is an error with the parameter's name, and changes nothing") {
  Model model = make_model(DType::f32), before = clone(model), ema = clone(model);
  AdamW optimizer(named_parameters(model));
  optimizer.add_average(named_parameters(ema), 0.5);
  std::vector<double> a = random_array(1037, 1), b = random_array(33, 1);
  b[32] = NAN;
  if (default_device().is_cuda()) {                  // on a GPU the error shows only when the norm is read
    CHECK(std::isnan(optimizer.step(make_gradients(model, a, b), {.lr = 1}).gradient_norm.value()));
  } else {
    const std::string what = error_of<DivergedError>([&] { optimizer.step(make_gradients(model, a, b), {.lr = 1}); });
    CHECK(what.find("update 1: the gradient of b is not finite") != std::string::npos);
    CHECK(optimizer.updates() == 0);
    CHECK(optimizer.state().size() == 1);
  }
  CHECK(same_bits(model.a.value, before.a.value));
  CHECK(same_bits(ema.a.value, before.a.value));
}

TEST_CASE("training from a saved and restored optimizer state gives the same bits") {
  Model model = make_model(DType::f32), ema = clone(model);
  AdamW optimizer(named_parameters(model));
  optimizer.add_average(named_parameters(ema), 0.9);
  const auto run = [](const Model& m, AdamW& o, int from, int to) {
    for (int k = from; k < to; ++k) {
      const std::vector<double> b = k < 2 ? std::vector<double>{} : random_array(33, k);
      o.step(make_gradients(m, random_array(1037, k), b), {.lr = 0.01});
    }
  };
  run(model, optimizer, 0, 5);
  Model resumed = clone(model), resumed_ema = clone(ema);
  AdamW other(named_parameters(resumed));
  other.add_average(named_parameters(resumed_ema), 0.9);
  other.load_state(optimizer.state());
  CHECK(other.updates() == 5);
  run(model, optimizer, 5, 9);
  run(resumed, other, 5, 9);
  for (Parameter Model::*p : {&Model::a, &Model::b, &Model::frozen}) {
    CHECK(same_bits((model.*p).value, (resumed.*p).value));
    CHECK(same_bits((ema.*p).value, (resumed_ema.*p).value));
  }
  // Three tensors each for a and b, which have had gradients, none for the frozen parameter, and `updates`.
  CHECK(other.state().size() == 7);

  NamedTensors wrong = optimizer.state();
  wrong[1].second = Tensor::zeros({3});
  wrong.erase(wrong.begin() + 5);
  wrong.emplace_back("m.other", Tensor::zeros({1}));
  const std::string what = error_of<FileError>([&] { other.load_state(wrong); });
  CHECK(what.find("m.a is f32 [3] instead of f32 [1037], v.b is missing, m.other is unknown") != std::string::npos);
}

TEST_CASE("wrong uses of an optimizer are refused with their cause") {
  Model model = make_model(DType::f32), same = model, other = make_model(DType::f32, 7);
  AdamW optimizer(named_parameters(model));
  CHECK(error_of<Error>([&] { optimizer.add_average(named_parameters(same), 0.9); }).find("clone()") != std::string::npos);
  CHECK_THROWS_AS(optimizer.add_average(named_parameters(other), 0.9), ShapeError);
  CHECK_THROWS_AS(optimizer.add_average({}, 0.9), ShapeError);
  CHECK_THROWS_AS(optimizer.step(make_gradients(model, {1, 2}, {}), {.lr = 1}), ShapeError);
  CHECK_THROWS_AS(AdamW(named_parameters(model), {.beta1 = 1}), ConfigError);
  // The gradients are those of a copy, whose parameters have other addresses.
  const std::string lost = error_of<Error>([&] { optimizer.step(make_gradients(same, random_array(1037, 1), {}), {.lr = 1}); });
  CHECK(lost.find("none of the 3 parameters (a, ...) has a gradient") != std::string::npos);
  CHECK(optimizer.updates() == 0);
  Parameter half{Tensor::zeros({2}, DType::bf16)};
  CHECK(error_of<DTypeError>([&] { AdamW({{"half", &half}}); }).find("half is bf16") != std::string::npos);
  CHECK(error_of<Error>([&] { AdamW({{"x", &model.a}, {"x", &model.b}}); }).find("two parameters are named x") != std::string::npos);
}

TEST_CASE("step settings out of range are refused, and nothing changes") {
  Model model = make_model(DType::f32), before = clone(model), ema = clone(model);
  AdamW optimizer(named_parameters(model));
  optimizer.add_average(named_parameters(ema), 0.5);
  const Gradients g = make_gradients(model, random_array(1037, 1), random_array(33, 1));
  for (const double bad : {double(NAN), HUGE_VAL, -HUGE_VAL, -1e-3}) {
    CAPTURE(bad);
    CHECK(error_of<ConfigError>([&] { optimizer.step(g, {.lr = bad}); }).starts_with("AdamW: learning rate "));
    CHECK(error_of<ConfigError>([&] { optimizer.repeat({.lr = bad}); }).starts_with("AdamW: learning rate "));
    CHECK(error_of<ConfigError>([&] { optimizer.step(g, {.lr = 1e-3, .gradient_scale = bad}); }).starts_with("AdamW: gradient_scale "));
  }
  CHECK_THROWS_AS(optimizer.step(g, {.lr = 1e-3, .gradient_scale = 0}), ConfigError);
  CHECK(optimizer.updates() == 0);
  CHECK(optimizer.state().size() == 1);
  CHECK(same_bits(model.a.value, before.a.value));
  CHECK(same_bits(ema.a.value, before.a.value));
  CHECK_NOTHROW(optimizer.step(g, {.lr = 0}));                 // a schedule may begin or end at rate 0
  CHECK(same_bits(model.a.value, before.a.value));
}

TEST_CASE("configs that are out of range, or would be in f32, are refused") {
  Model model = make_model(DType::f32), wide = make_model(DType::f64), ema = clone(model);
  const auto refused = [&](const AdamWConfig& c, const char* word) {
    const std::string what = error_of<ConfigError>([&] { AdamW(named_parameters(model), c); });
    CHECK_MESSAGE(what.find(word) != std::string::npos, what);
  };
  for (const double bad : {double(NAN), HUGE_VAL, -HUGE_VAL, -0.1}) {
    CAPTURE(bad);
    refused({.beta1 = bad}, "beta1 = ");
    refused({.beta2 = bad}, "beta2 = ");
    refused({.eps = bad}, "eps = ");
    refused({.weight_decay = bad}, "weight_decay = ");
    refused({.clip = bad}, "clip = ");
    AdamW optimizer(named_parameters(model));
    CHECK_THROWS_AS(optimizer.add_average(named_parameters(ema), bad), ConfigError);
    CHECK_THROWS_AS(check(LearningRate{.peak = bad}), ConfigError);
    CHECK_THROWS_AS(check(LearningRate{.peak = 1e-3, .end = bad}), ConfigError);
  }
  CHECK_THROWS_AS(check(LearningRate{.peak = 1e-3, .warmup_steps = -1}), ConfigError);
  refused({.beta1 = 1}, "beta1 = 1");
  refused({.beta2 = 1}, "beta2 = 1");
  refused({.eps = 0}, "eps = 0");
  refused({.eps = 1e-40}, "in f32");
  refused({.beta2 = 1 - 1e-9}, "in f32");
  refused({.eps = 1e40}, "in f32");
  CHECK_NOTHROW(AdamW(named_parameters(wide), {.beta2 = 1 - 1e-9, .eps = 1e-40}));
}

TEST_CASE("gradients near the largest f32 number are clipped like any other") {
  for (const double size : {1e15, 2e19, 3e30}) {
    CAPTURE(size);
    Model model = make_model(DType::f32), small = clone(model);
    AdamW optimizer(named_parameters(model), {.eps = 1e-12, .clip = 1}), usual(named_parameters(small), {.eps = 1e-12, .clip = 1});
    const std::vector<double> g = random_array(33, 5);
    std::vector<double> large = g;
    double squares = 0;
    for (double& v : large) v = static_cast<float>(v * size), squares += v * v;
    const StepStats stats = optimizer.step(make_gradients(model, {}, large), {.lr = 0.125});
    usual.step(make_gradients(small, {}, g), {.lr = 0.125});
    CHECK(near(double(stats.gradient_norm), std::sqrt(squares), 1e-6));
    CHECK(test::max_difference(read(model.b), read(small.b)) < 1e-6);
    CHECK(optimizer.first_not_finite(stats.squares).empty());
  }
}

TEST_CASE("tiny gradients have a norm above 0") {
  Model model = make_model(DType::f32);
  AdamW optimizer(named_parameters(model));
  const StepStats stats = optimizer.step(make_gradients(model, {}, std::vector<double>(33, 1e-25)), {.lr = 0});
  CHECK(near(double(stats.gradient_norm), 1e-25 * std::sqrt(33.0), 1e-6));
}

TEST_CASE("unclipped gradients whose squares the second moment cannot hold are an error, and nothing changes") {
  Model model = make_model(DType::f32), before = clone(model);
  AdamW optimizer(named_parameters(model), {.clip = 0});
  const Gradients g = make_gradients(model, {}, std::vector<double>(33, 2e19));
  if (default_device().is_cuda()) {
    CHECK(std::isinf(double(optimizer.step(g, {.lr = 1}).gradient_norm)));
  } else {
    const std::string what = error_of<DivergedError>([&] { optimizer.step(g, {.lr = 1}); });
    CHECK_MESSAGE(what.find("update 1: the gradients are finite, but their norm, 1.15e+20,") == 0, what);
    CHECK(what.find("set clip") != std::string::npos);
    CHECK(optimizer.updates() == 0);
  }
  CHECK(same_bits(model.b.value, before.b.value));
  // In f64 the squares of the gradients overflow.
  Model wide = make_model(DType::f64);
  AdamW other(named_parameters(wide), {.clip = 1});
  if (!default_device().is_cuda())
    CHECK(error_of<DivergedError>([&] { other.step(make_gradients(wide, {}, std::vector<double>(33, 1e200)), {.lr = 1}); }).find("the gradients are finite") !=
          std::string::npos);
}

TEST_CASE("parameters or averages that share memory are refused") {
  Model model = make_model(DType::f32), ema = clone(model);
  CHECK(error_of<Error>([&] { AdamW({{"x", &model.a}, {"y", &model.a}}); }).find("x and y share memory") != std::string::npos);
  Parameter part{model.a.value.slice(0, 10, 20)}, rest{model.a.value.slice(0, 20, 1037)};
  CHECK(error_of<Error>([&] { AdamW({{"all", &model.a}, {"part", &part}}); }).find("share memory") != std::string::npos);
  CHECK_NOTHROW(AdamW({{"part", &part}, {"rest", &rest}}));
  AdamW optimizer(named_parameters(model));
  optimizer.add_average(named_parameters(ema), 0.5);
  CHECK(error_of<Error>([&] { optimizer.add_average(named_parameters(ema), 0.9); }).find("share memory") != std::string::npos);
}

TEST_CASE("a state with a negative count is refused") {
  Model model = make_model(DType::f32);
  AdamW optimizer(named_parameters(model));
  optimizer.step(make_gradients(model, {}, random_array(33, 1)), {.lr = 0.1});
  for (const char* name : {"updates", "step.b"}) {
    NamedTensors state = optimizer.state();
    for (auto& [n, t] : state)
      if (n == name) t = Tensor::scalar(-1, DType::i64, Device{});
    CHECK(error_of<FileError>([&] { optimizer.load_state(state); }).find(std::string(name) + " is -1") != std::string::npos);
  }
}

TEST_CASE("gradients of micro-batches add up") {
  Model model = make_model(DType::f64);
  Gradients sum;
  std::vector<double> expected(33, 0);
  for (int k = 0; k < 3; ++k) {
    const std::vector<double> g = random_array(33, k);
    for (std::size_t i = 0; i < g.size(); ++i) expected[i] += g[i];
    accumulate(sum, make_gradients(model, {}, g));
  }
  CHECK(test::max_difference(sum[model.b].to_vector<double>(), expected) == 0);
  CHECK_FALSE(sum[model.a].defined());
}

TEST_CASE("schedules agree with their formulas") {
  LearningRate r{.peak = 2e-4};
  check(r);
  CHECK(learning_rate(r, 0) == 2e-4);
  CHECK(learning_rate(r, 1000000) == 2e-4);
  r.warmup_steps = 100;
  CHECK(near(learning_rate(r, 0), 2e-6, 1e-14));
  CHECK(near(learning_rate(r, 99), 2e-4, 1e-14));
  CHECK(learning_rate(r, 100) == 2e-4);
  r = {.peak = 2e-4, .decay = "cosine", .end = 2e-5, .warmup_steps = 100, .decay_end = 1600};
  check(r);
  CHECK(near(learning_rate(r, 49), 1e-4, 1e-14));
  CHECK(near(learning_rate(r, 100), 2e-4, 1e-14));
  CHECK(near(learning_rate(r, 850), 1.1e-4, 1e-14));
  CHECK(near(learning_rate(r, 600), 2e-5 + 1.8e-4 * 0.75, 1e-14));     // a third of the way: (1 + cos 60 deg)/2
  CHECK(learning_rate(r, 1600) == 2e-5);
  CHECK(learning_rate(r, 5000) == 2e-5);
  r = {.peak = 2e-4, .decay = "linear", .end = 2e-5, .decay_begin = 40, .decay_end = 800};
  CHECK(learning_rate(r, 40) == 2e-4);
  CHECK(learning_rate(r, 39) == 2e-4);
  CHECK(near(learning_rate(r, 420), 1.1e-4, 1e-14));
  CHECK(learning_rate(r, 800) == 2e-5);
  r.decay_end = 40;
  CHECK_THROWS_AS(check(r), ConfigError);
  r.decay = "stairs";
  CHECK_THROWS_AS(check(r), ConfigError);
  CHECK(average_decay(0.999, false, 0) == 0.999);
  CHECK(near(average_decay(0.999, true, 0), 0.1, 1e-14));
  CHECK(average_decay(0.999, true, 1000000) == 0.999);
}
