// The walkers on a small module: names, counts, copies, loading and its error, initial values.
#include "nn/module.h"

#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/init.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"
#include "nn/layers/patch.h"
#include "nn/layers/positions.h"
#include "tensor/random/fill.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using fm::test::near;
using fm::test::max_difference;

namespace {

struct Pair {
  Linear first, second;
  template <class V> void visit(V&& v) {
    v("first", first);
    v("net.2", second);
  }
};

struct Model {
  Parameter table = make_parameter({3, 2}, false);
  Buffer positions{Tensor::zeros({4})};
  std::vector<Pair> blocks;
  std::optional<Linear> bridge;
  Linear last{4, 2, false};

  Model() {
    for (int i = 0; i < 2; ++i) blocks.push_back({Linear(4, 4), Linear(4, 4, false)});
  }
  template <class V> void visit(V&& v) {
    v("table", table);
    v("positions", positions);
    v("blocks", blocks);
    v("bridge", bridge);
    v("last", last);
  }
  void reset(const Init& init) {
    init.normal("table", table, 0.02);
    fill(last.weight, 0);
  }
};

std::vector<std::string> names(const Model& m) {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : state_dict(m)) out.push_back(name);
  return out;
}

Model made(std::uint64_t seed) {
  Model m;
  reset_parameters(m, seed);
  return m;
}

}  // namespace

TEST_CASE("names follow the visit lists; undefined tensors and absent parts have no names") {
  Model m;
  CHECK(names(m) == std::vector<std::string>{"table", "positions", "blocks.0.first.weight", "blocks.0.first.bias", "blocks.0.net.2.weight",
                                             "blocks.1.first.weight", "blocks.1.first.bias", "blocks.1.net.2.weight", "last.weight"});
  m.bridge.emplace(2, 2);
  CHECK(names(m)[8] == "bridge.weight");
}

TEST_CASE("parameter counts exclude buffers and need no memory") {
  Model m;
  CHECK(parameter_count(m) == 6 + 2 * (16 + 4 + 16) + 8);
  CHECK(parameter_count(m, true) == 2 * (16 + 4 + 16) + 8);
  const ShapesOnly shapes;
  const Linear huge(1 << 20, 1 << 20);
  CHECK(parameter_count(huge) == (std::int64_t{1} << 40) + (1 << 20));
}

TEST_CASE("a clone is independent; copy_parameters copies by name") {
  Model a = made(1), b = clone(a), c = made(2);
  a.blocks[0].first.weight.value.fill(7);
  CHECK(b.blocks[0].first.weight.value.to_vector<double>()[0] != 7);
  CHECK(max_difference(b.blocks[1].first.weight.value, a.blocks[1].first.weight.value) == 0);
  copy_parameters(a, c);
  const StateDict x = state_dict(a), y = state_dict(c);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(max_difference(x[i].second, y[i].second) == 0);
}

TEST_CASE("load_state lists all mismatches in one error, and then writes nothing") {
  Model m = made(1);
  StateDict state = state_dict(clone(m));
  load_state(m, state);
  state.erase(state.begin() + 3);                                         // blocks.0.first.bias
  state.emplace_back("extra.weight", Tensor::zeros({1}));
  state[0].second = Tensor::zeros({3, 3});
  state[1].second = Tensor::ones({4});
  try {
    load_state(m, state);
    FAIL("no error");
  } catch (const FileError& e) {
    const std::string what = e.what();
    CHECK(what.find("missing: blocks.0.first.bias;") != std::string::npos);
    CHECK(what.find("unexpected: extra.weight;") != std::string::npos);
    CHECK(what.find("table (has [3, 3], the model needs [3, 2])") != std::string::npos);
  }
  CHECK(m.positions.value.to_vector<double>()[0] == 0);
  CHECK_THROWS_AS(load_state(m, state, false), FileError);               // a wrong shape is an error even with strict = false
  state.erase(state.begin());
  load_state(m, state, false);
  CHECK(m.positions.value.to_vector<double>()[0] == 1);
}

// A tensor of integers is refused: it holds quantized weights, whose scale is in another tensor, or no weights.
TEST_CASE("integer tensors are refused as weights, and names from a file stay on the message's line") {
  Model m = made(1);
  StateDict state = state_dict(clone(m));
  const std::string name = state[0].first;
  state[0].second = state[0].second.to(DType::i32);
  state.emplace_back("two\nlines", Tensor::zeros({1}));
  const double before = m.table.value.to_vector<double>()[0];
  for (const bool strict : {true, false}) {
    std::string what;
    try {
      load_state(m, state, strict);
    } catch (const FileError& e) {
      what = e.what();
    }
    CHECK_MESSAGE(what.find("other type: " + name + " (has i32, the model needs f32)") != std::string::npos, what);
    CHECK((what.find("unexpected: two\\nlines") != std::string::npos) == strict);
  }
  CHECK(m.table.value.to_vector<double>()[0] == before);
}

TEST_CASE("the error contains all names, those of blocks as ranges") {
  Model m = made(1);
  StateDict state;
  for (const char* name : {"x.0.w", "x.1.w", "x.2.w", "x.5.w", "x.7.b", "y", "z.3", "x.0.b.1.c", "x.0.b.2.c"})
    state.emplace_back(name, Tensor::zeros({1}));
  std::string what;
  try {
    load_state(m, state);
  } catch (const FileError& e) {
    what = e.what();
  }
  CHECK_MESSAGE(what.find("unexpected: x.{0-2, 5}.w, x.7.b, y, z.3, x.0.b.1.c, x.0.b.2.c") != std::string::npos, what);
  for (const auto& entry : state_dict(m))
    if (entry.first.find('.') == std::string::npos) CHECK_MESSAGE(what.find(entry.first) != std::string::npos, what);
}

TEST_CASE("loading converts types, and a model may change its type") {
  Model a = made(3), b = made(4);
  to_dtype(a, DType::f64);
  load_state(b, state_dict(a));
  CHECK(b.last.weight.value.dtype() == DType::f32);
  CHECK(max_difference(b.blocks[0].first.weight.value, a.blocks[0].first.weight.value) == 0);
}

TEST_CASE("initial values depend only on seed and name") {
  const Model a = made(1), b = made(1), c = made(2);
  CHECK(max_difference(a.table.value, b.table.value) == 0);
  CHECK(max_difference(a.table.value, c.table.value) > 1e-3);
  CHECK(max_difference(a.blocks[0].first.weight.value, a.blocks[1].first.weight.value) > 1e-3);
  CHECK(max_difference(a.last.weight.value, Tensor::zeros({2, 4})) == 0);             // the parent's reset ran last
  Pair alone{Linear(4, 4), Linear(4, 4, false)};
  detail::Resetter{1}.leave("blocks.0.first", alone.first);
  CHECK(max_difference(alone.first.weight.value, a.blocks[0].first.weight.value) == 0);
}

TEST_CASE("initial distributions have the right bounds and deviations") {
  Linear layer(400, 300);
  reset_parameters(layer, 5);
  double low = 1, high = -1, squares = 0;
  for (const double v : layer.weight.value.to_vector<double>()) low = std::min(low, v), high = std::max(high, v), squares += v * v;
  CHECK(near(low, -0.05, 5e-5));
  CHECK(near(high, 0.05, 5e-5));
  CHECK(near(squares / 120000, 0.0025 / 3, 1e-3));
  Init(7, "x.").xavier("weight", layer.weight);
  CHECK(near(std::sqrt(sum_squares(layer.weight.value) / 120000), std::sqrt(6.0 / 700 / 3), 5e-4));
  Init(7, "x.").normal("weight", layer.weight, 0.02);
  CHECK(near(std::sqrt(sum_squares(layer.weight.value) / 120000), 0.02, 0.02));
}

TEST_CASE("patch embedding equals the strided convolution; unpatchify places channels innermost") {
  const Tensor image = sin(Tensor::arange(2 * 3 * 4 * 6, DType::f64) * 0.3).reshape({2, 3, 4, 6});
  PatchEmbed embed(3, 2, 5);
  reset_parameters(embed, 1);
  to_dtype(embed, DType::f64);
  const auto y = embed(image, DType::f64).value().to_vector<double>();
  const double *x = image.data<double>(), *w = embed.weight.value.data<double>();
  for (int n = 0; n < 6; ++n)
    for (int o = 0; o < 5; ++o) {
      double want = embed.bias.value.data<double>()[o];
      for (int c = 0; c < 3; ++c)
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < 2; ++j) want += w[((o * 3 + c) * 2 + i) * 2 + j] * x[((3 + c) * 4 + n / 3 * 2 + i) * 6 + n % 3 * 2 + j];
      CHECK(near(y[static_cast<std::size_t>((6 + n) * 5 + o)], want, 5e-14));
    }
  const Tensor placed = unpatchify(Tensor::arange(2 * 6 * 12, DType::f64).reshape({2, 6, 12}), 2, 3, 2).value();
  CHECK(placed.shape() == Shape{2, 3, 4, 6});
  // image 1, channel 2, row 3, column 5: token 5, inside (1,1) -> number (1*2+1)*3+2
  CHECK(placed.contiguous().data<double>()[((1 * 3 + 2) * 4 + 3) * 6 + 5] == (6 + 5) * 12 + 11);
  CHECK_THROWS_AS(patchify(image, 4), ShapeError);
}

TEST_CASE("position tables agree with values by hand") {
  const auto p = sin_cos_positions(2, 3, 8).to_vector<double>();
  const double column = 2, row = 1;                                       // token 5; q = 2, omega = 1, 0.01
  const std::vector<double> want{std::sin(column), std::sin(0.01 * column), std::cos(column), std::cos(0.01 * column),
                                 std::sin(row),    std::sin(0.01 * row),    std::cos(row),    std::cos(0.01 * row)};
  for (std::size_t i = 0; i < 8; ++i) CHECK(near(p[5 * 8 + i], want[i], 5e-7));
  const auto [cosine, sine] = rope_tables(2, 3, 8);                         // f_m = 1, 0.01
  const std::vector<double> angles{1, 1, 0.01, 0.01, 2, 2, 0.02, 0.02};
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(near(cosine.to_vector<double>()[5 * 8 + i], std::cos(angles[i]), 5e-7));
    CHECK(near(sine.to_vector<double>()[5 * 8 + i], std::sin(angles[i]), 5e-7));
  }
  CHECK_THROWS_AS(rope_tables(2, 2, 6), ConfigError);
}

TEST_CASE("time and label embeddings give gradients to their parameters") {
  GaussianFourierEmbedding time(6, 4);
  LabelEmbed label(3, 6);
  reset_parameters(time, 1);
  reset_parameters(label, 1);
  CHECK(label.null_label() == 3);
  Tape tape;
  const Tensor t = Tensor::from<float>({0.1f, 0.9f}, {2}), y = Tensor::from<std::int64_t>({3, 0}, {2});
  const Gradients g = backward(sum(square(time(t) + label(y))));
  for_each_parameter(time, [&](const std::string&, Parameter& p) { CHECK(g[p].defined() == p.trainable); });
  CHECK(sum_squares(g[label.table].slice(0, 1, 3)) == 0);
  CHECK(sum_squares(g[label.table]) > 0);
}
