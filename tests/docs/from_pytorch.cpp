// docs/from_pytorch.md: each of its C++ blocks is included below, runs, and gives the results of the page. The expressions of the page's table are tested too.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "autodiff/check.h"
#include "flowmap/flowmap.h"
#include "tests/support/near.h"
#include "tests/support/picture_folder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

using namespace fm;
using test::near;
using test::near_zero;
namespace fs = std::filesystem;

namespace {

const fs::path project = fs::path(FM_TESTS_FOLDER).parent_path();

// Runs a block in a temporary folder, because the blocks use file names relative to the current folder.
struct InTempFolder {
  TempFolder folder;
  fs::path before = fs::current_path();
  InTempFolder() { fs::current_path(folder.path()); }
  ~InTempFolder() { fs::current_path(before); }
};

std::string contents(const fs::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

using Floats = std::vector<float>;

double largest_difference(const Tensor& a, const Tensor& b) { return test::max_difference(a.to(DType::f64), b.to(DType::f64)); }

#include "tests/docs/modules.h"    // struct Net

}  // namespace

TEST_CASE("tensors and gradients") {
#include "tests/docs/gradients.h"
  CHECK(gx == Floats{2, 4, 6});
}

TEST_CASE("a derivative along a direction") {
  const std::int64_t n = 4;
  const Tensor z = random_normal({n, 3}, {1}), w = random_normal({n, 3}, {2}), s = random_uniform({n}, {3}), t = s + 0.5;
  const Labels y;
  const FlowMapNet net = [](const Var& at, const Var& from, const Var& to, const Labels&) { return at * column(to - from, 2); };    // z (t - s)
  Tape tape;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"      // the block's function names its arguments z and t, like the Python code beside it
#include "tests/docs/derivative.h"
#pragma GCC diagnostic pop
  const Tensor exact = w * column(t - s, 2) + z;              // by hand: du/dz w + du/dt
  CHECK(near_zero(largest_difference(dudt, exact), 1e-6));
  CHECK(near_zero(largest_difference(target, w - column(t - s, 2) * exact), 1e-6));
  CHECK(loss.on_tape() == u.on_tape());
}

TEST_CASE("a module lists its parameters by name") {
  Net net;
  std::vector<std::string> names;
  for (const NamedParameter& p : named_parameters(net)) names.push_back(p.name);
  CHECK(names == std::vector<std::string>{"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"});
}

TEST_CASE("a training step") {
  const Tensor x = random_normal({64, 2}, {1}), y = sin(x);
#include "tests/docs/training_step.h"
  const double trained = mean(square(net(x).value() - y)).item(), averaged = mean(square(ema(x).value() - y)).item();
  CHECK(trained < 0.01);
  CHECK(averaged > trained);             // the average follows slowly: it starts at 0.43 and moves by 1/1000 in each of 1000 steps
  CHECK(averaged < 0.25);
  CHECK(optimizer.config().beta1 == 0.9);
  CHECK(optimizer.config().beta2 == 0.95);
  CHECK(optimizer.config().weight_decay == 0);
  CHECK(optimizer.config().clip == 1);
}

TEST_CASE("inference and frozen networks") {
  const FlowMlpConfig config{.mean_flow = true};
  FlowMapNet u = std::make_shared<FlowMlp>(config, 1);
  const VelocityNet teacher = diagonal(u);
  const Tensor z = random_normal({4, 2}, {1}), t = random_uniform({4}, {2});
  const Labels y;
  Tape tape;
  const Tensor wanted = evaluate(teacher, z, t, y);
#include "tests/docs/inference.h"
  CHECK(largest_difference(w, wanted) == 0);
  CHECK(tape.size() == 0);
}

TEST_CASE("a data loader gives batches of images with values from 0 to 1") {
  const InTempFolder inside;
  test::draw_picture_folder("images", {.width = 40, .height = 32});
#include "tests/docs/data.h"
  const SampleBatch batch = loader.batch(0, 64);
  CHECK(batch.x.shape() == Shape{64, 3, 32, 32});
  CHECK(batch.labels.shape() == Shape{64});
  const auto levels = batch.x.to_vector<float>();
  CHECK(*std::min_element(levels.begin(), levels.end()) >= 0);
  CHECK(*std::max_element(levels.begin(), levels.end()) <= 1);
}

TEST_CASE("a checkpoint is written and read back") {
  const InTempFolder inside;
  Net net;
  reset_parameters(net, 1);
  AdamW optimizer(named_parameters(net));
  const std::int64_t step = 7;
  const nlohmann::ordered_json state = {{"note", "any"}};
  const auto warn = [](const std::string& line) { FAIL(line); };
#include "tests/docs/checkpoints.h"
  const auto newest = open_newest(folder, warn);
  REQUIRE(newest.has_value());
  CHECK(newest->step() == 7);
  CHECK(newest->state() == state);
  Net loaded;
  load_state(loaded, newest->part("model"));
  CHECK(largest_difference(loaded.fc1.weight.value, net.fc1.weight.value) == 0);
}

TEST_CASE("the training loop") {
  const InTempFolder inside;
  const std::uint64_t seed = 1;
  const auto loss_of_rows = [](const Net& net, const StepPart& part) {
    const Tensor x = random_normal_rows(samples_of(part, 64), {2}, {seed, 1});
    return mean(square(net(x) - sin(x)));
  };
#include "tests/docs/training_loop.h"
  const Tensor x = random_normal({64, 2}, {2});
  CHECK(mean(square(net(x).value() - sin(x))).item() < 0.1);
  for (const char* file : {"metrics.csv", "report.html", "checkpoints"}) CHECK(fs::exists(fs::path("runs/a/net") / file));
}

TEST_CASE("the table: making and reading tensors") {
  CHECK(Tensor::zeros({2, 3}).shape() == Shape{2, 3});
  CHECK(Tensor::arange(5).to_vector<float>() == Floats{0, 1, 2, 3, 4});
  CHECK(Tensor::from<float>({1, 2}, {2}).to_vector<float>() == Floats{1, 2});
  CHECK(largest_difference(random_normal({4, 3}, {.seed = 1}), random_normal({4, 3}, {.seed = 1})) == 0);
  const Tensor x = Tensor::arange(12).reshape({4, 3});
  CHECK(x.dim(0) == 4);
  CHECK(x.dtype() == DType::f32);
  CHECK(x.device() == default_device());
  CHECK(x.slice(0, 0, 2).to_vector<float>() == Floats{0, 1, 2, 3, 4, 5});
  CHECK(x.select(1, 1).to_vector<float>() == Floats{1, 4, 7, 10});
  CHECK(x.transpose(0, 1).shape() == Shape{3, 4});
  CHECK(x.reshape({-1}).shape() == Shape{12});
  CHECK(x.to(DType::f64).dtype() == DType::f64);
  CHECK(x.to(DType::bf16).dtype() == DType::bf16);
  const Device device = x.device();
  synchronise(device);
}

TEST_CASE("the table: writing to tensors and computing with them") {
  Tensor x = Tensor::arange(3);
  const Tensor y = x + 1.0;
  CHECK(x.expand({4, 3}).shape() == Shape{4, 3});
  x.copy_from(y);
  CHECK(x.to_vector<float>() == Floats{1, 2, 3});
  x.fill(0);
  CHECK(x.to_vector<float>() == Floats{0, 0, 0});
  x = Tensor::arange(4).reshape({2, 2});
  const Tensor a = x, b = x;
  CHECK((a + b).to_vector<float>() == Floats{0, 2, 4, 6});
  CHECK(matmul(a, b).to_vector<float>() == Floats{2, 3, 6, 11});
  CHECK(concat(std::vector<Tensor>{a, b}, 1).to_vector<float>() == Floats{0, 1, 0, 1, 2, 3, 2, 3});
  CHECK(sum(x, {0}, true).shape() == Shape{1, 2});
  x = sum(x);
  CHECK(x.item() == 6);
}

TEST_CASE("the table: losses and attention") {
  const Tensor logits = Tensor::from<float>({0, 0, 0, 0}, {2, 2}), y = Tensor::zeros({2}, DType::i64);
  CHECK(near(mean(cross_entropy(logits, y)).item(), std::log(2.0), 1e-6));
  const Tensor q = random_normal({2, 1, 5, 4}, {2}), k = q, v = Tensor::ones({2, 1, 5, 4});
  CHECK(near_zero(largest_difference(attention(q, k, v), v), 1e-6));      // the result is a mean of ones
}

TEST_CASE("the table: reverse mode") {
  Parameter p{Tensor::from<float>({3}, {1})};
  Tape tape;
  const Var leaf = [&tape](const Tensor& x) { return tape.variable(x); }(Tensor::from<float>({2}, {1}));
  const Var x = leaf * p;
  tape.keep(x);
  const Var loss = sum(x * x);
  CHECK(x.value().item() == 6);
  const Gradients g = backward(loss);
  CHECK(g[x].item() == 12);
  CHECK(g[p].item() == 24);
  CHECK(g[leaf].item() == 36);
  PauseTape pause;
  CHECK(!(p * 2.0).on_tape());
}

TEST_CASE("the table: forward mode") {
  const auto f = [](const Var& x) { return x * x; };
  const Tensor d = Tensor::from<float>({1, 10}, {2});
  Tape tape;
  const Var x = tape.variable(Tensor::from<float>({2, 3}, {2}));
  const auto [y, dy] = jvp(f, at(x), along(d));
  CHECK(dy.to_vector<float>() == Floats{4, 60});
  const auto [taped_y, taped_dy] = jvp_taped(f, at(x), along(d));
  const Var loss = sum(taped_dy) + sum(recompute(f, x));           // the terms are 2 x d and x^2
  CHECK(backward(loss)[x].to_vector<float>() == Floats{2 + 4, 20 + 6});
}

TEST_CASE("the table: checking derivatives") {
  const auto f = [](const std::vector<Var>& x) { return sin(x[0]); };
  const Tensor x = sample_normal({3, 2}, 1);
  for (const CheckReport& report : check_all(f, {x})) CHECK(report.passed());
}

TEST_CASE("the table: models and optimizers") {
  Net model;
  reset_parameters(model, 1);
  Net ema = clone(model);
  auto d = state_dict(model);
  CHECK(d.size() == 4);
  d.pop_back();
  load_state(model, d, false);
  CHECK_THROWS_AS(load_state(model, d), FileError);
  AdamW optimizer(named_parameters(model), {.clip = 1.0});
  optimizer.add_average(named_parameters(ema), 0.999);
  set_trainable(model, false);
  CHECK(!model.fc1.weight.trainable);
  const LearningRate rate{.peak = 0.5};
  const std::int64_t step = 10;
  CHECK(learning_rate(rate, step) == 0.5);
}

TEST_CASE("every expression of the table in docs/from_pytorch.md occurs in this file, and every header exists") {
  const std::string page = contents(project / "docs/from_pytorch.md");
  const std::string source = std::regex_replace(contents(project / "tests/docs/from_pytorch.cpp"), std::regex("//[^\n]*"), "");
  const auto code_spans = [](const std::string& text) {
    static const std::regex span("`([^`]*)`");
    std::vector<std::string> found;
    for (std::sregex_iterator i(text.begin(), text.end(), span), end; i != end; ++i) found.push_back((*i)[1]);
    return found;
  };
  const std::regex row("\\n\\| ([^|\n]*) \\| ([^|\n]*) \\| ([^|\n]*) \\|(?=\n)");
  int rows = 0, expressions = 0;
  for (std::sregex_iterator i(page.begin(), page.end(), row), end; i != end; ++i) {
    if ((*i)[1] == "PyTorch" || (*i)[1] == "---") continue;
    ++rows;
    for (const std::string& code : code_spans((*i)[2])) {
      if (code.find_first_of("([+;") == std::string::npos || code == "operator()") continue;
      ++expressions;
      CHECK_MESSAGE(source.find(code) != std::string::npos, "no test of the table's " << code);
    }
    for (const std::string& header : code_spans((*i)[3])) CHECK_MESSAGE(fs::exists(project / header), "the table names " << header << ", which does not exist");
  }
  CHECK(rows >= 40);                     // about the number of rows on the page, so the pattern has found the table
  CHECK(expressions >= 40);
}
