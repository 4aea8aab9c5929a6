// DiT^DH on sequences (C, L) and on latents that are not square: numbers of a PyTorch twin that computes in other ways (tests/golden/dit_sequence.py),
// derivatives in f64 against differences, and, without positions, sequences (C, L) against images with one row.
#include <functional>

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/backbones/dit_dh.h"
#include "nn/layers/patch.h"
#include "nn/layers/positions.h"
#include "nn/models/dit_dh.h"
#include "tests/support/error_of.h"
#include "tests/support/golden.h"
#include "tests/support/mentions.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

DitDhConfig sequence() {
  DitDhConfig c;
  c.axes = 1, c.channels = 3, c.input_size = 20, c.patch_size = 4, c.classes = 5, c.mean_flow = true;
  c.width = 12, c.depth = 2, c.heads = 2, c.head_width = 20, c.head_depth = 1, c.head_heads = 2;       // each head is 6 or 10 wide
  return c;
}

DitDhConfig rectangle() {
  DitDhConfig c = sequence();
  c.axes = 2, c.channels = 2, c.input_size = 4, c.input_width = 6, c.patch_size = 2;
  c.width = 16, c.depth = 1, c.head_width = 24;
  return c;
}

Shape batch_of(std::int64_t rows, const DitDhConfig& c) {
  Shape shape{rows};
  for (const std::int64_t d : c.input_shape()) shape.push_back(d);
  return shape;
}

// Sets the same values as dit_sequence.py: functions of the number o of the tensor and the index i of the element.
void fill_by_number(DitDh& net) {
  int o = -1;
  for_each_tensor(net, [&](const std::string& name, Tensor& t) {
    ++o;
    if (has(name, "pos_embed") || has(name, "freqs_")) return;
    const double base = has(name, "norm") && name.ends_with("weight") ? 1 : 0, scale = name.ends_with(".W") ? 1 : 0.2;
    std::vector<float> values;
    for (std::int64_t i = 1; i <= t.numel(); ++i) values.push_back(static_cast<float>(base + scale * std::sin(0.7 * static_cast<double>(i) + 0.31 * o)));
    t.copy_from(Tensor::from(values, t.shape()));
  });
}

Tensor sines(const Shape& shape, double step) { return sin(affine(Tensor::arange(shape.numel(), DType::f64), step, step)).reshape(shape); }

void check_close(const Tensor& ours, const std::string& name, double tolerance) {
  static const auto all = golden_rows(FM_TESTS_FOLDER "/golden/dit_sequence.txt");
  const std::vector<double> got = ours.to_vector<double>(), wanted = all.at(name);
  REQUIRE(got.size() == wanted.size());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) error = std::max(error, std::abs(got[i] - wanted[i])), size = std::max(size, std::abs(wanted[i]));
  CHECK_MESSAGE(error < tolerance * size, name << ": " << error << " of " << size);
}

void check_golden_case(const DitDhConfig& c, const std::string& name, DType type, double tolerance) {
  DitDh net(c, 1);
  fill_by_number(net);
  to_dtype(net, type);
  const Shape shape = batch_of(2, c);
  const Tensor labels = Tensor::from<std::int64_t>({2, 5}, {2});
  const Tensor s = Tensor::from<double>({0.1, 0.5}, {2}).to(type), t = Tensor::from<double>({0.8, 0.5}, {2}).to(type);
  const auto f = [&](const Var& z, const Var& from, const Var& to) { return net(z, from, to, labels); };
  check_close(net.position_table.value, name + ".positions", 1e-7);
  Tape tape;
  const Var x = tape.variable((sines(shape, 0.37) * 1.5).to(type));
  const auto [u, dudt] = jvp(f, at(x, s, t), along(sines(shape, 0.91).to(type), zero, 1.0));
  CHECK(u.shape() == shape);
  check_close(u.value(), name, tolerance);
  check_close(dudt, name + ".derivative", 10 * tolerance);
  const Gradients g = backward(sum(u * sines(shape, 1.7).to(type)));
  check_close(g[x], name + ".gradient.x", 10 * tolerance);
  check_close(g[net.x_embedder.weight], name + ".gradient.x_embedder.proj.weight", 10 * tolerance);
  check_close(g[net.s_embedder.weight], name + ".gradient.s_embedder.proj.weight", 10 * tolerance);
  check_close(g[net.blocks[0].norm1.weight], name + ".gradient.blocks.0.norm1.weight", 10 * tolerance);
  check_close(g[net.final_layer.out.bias], name + ".gradient.final_layer.linear.bias", 10 * tolerance);
}

}  // namespace

TEST_CASE("sequences: values, derivatives and gradients agree with a PyTorch twin, in f64 and f32") {
  for (const auto& [config, name] : {std::pair{sequence(), "sequence"}, {rectangle(), "rectangle"}}) {
    check_golden_case(config, name, DType::f64, 1e-11);
    check_golden_case(config, name, DType::f32, 1e-5);
  }
}

TEST_CASE("sequences: push along (w, 0, 1) agrees with the central difference, and pull is its transpose") {
  for (const DitDhConfig& c : {sequence(), rectangle()})
    for (const bool qk_norm : {false, true}) {
      DitDhConfig config = c;
      config.qk_norm = qk_norm;
      DitDh net(config, 7);
      shake(net);
      to_dtype(net, DType::f64);
      const Tensor x = wave(batch_of(3, c), 1), w = wave(batch_of(3, c), 2), gy = wave(batch_of(3, c), 3), labels = Tensor::from<std::int64_t>({3, 5, 0}, {3});
      const Tensor s = Tensor::from<double>({0.1, 0.3, 0.6}, {3}), t = Tensor::from<double>({0.8, 0.5, 0.9}, {3});
      const auto f = [&](const Var& z, const Var& from, const Var& to) { return net(z, from, to, labels); };
      const double h = 1e-4;
      const auto along_path = [&](double step) { return f(x + w * step, s, t + step).value(); };
      const Tensor difference = ((along_path(h) - along_path(-h)) * (8.0 / 12) - (along_path(2 * h) - along_path(-2 * h)) * (1.0 / 12)) / h;
      const Tensor dudt = jvp(f, at(x, s, t), along(w, zero, 1.0)).second;
      CHECK(norm(difference - dudt) / norm(dudt) < 1e-10);
      Tape tape;
      const Var here = tape.variable(x), end = tape.variable(t);
      const auto [u, du] = jvp(f, at(here, s, end), along(w, zero, wave({3}, 5)));
      const Gradients g = backward(sum(u * gy));
      CHECK(std::abs(dot(du, gy) - dot(g[here], w) - dot(g[end], wave({3}, 5))) / (norm(du) * norm(gy)) < 5e-15);
    }
}

TEST_CASE("sequences: gradients through a taped tangent agree with differences of the tangent") {
  DitDh net(sequence(), 7);
  shake(net);
  to_dtype(net, DType::f64);
  const Shape shape = batch_of(2, net.config);
  const Tensor x = wave(shape, 1), w = wave(shape, 2), gy = wave(shape, 3), s = Tensor::from<double>({0.1, 0.3}, {2}), t = Tensor::from<double>({0.8, 0.5}, {2});
  const auto f = [&](const Var& z, const Var& from, const Var& to) { return net(z, from, to, {}); };
  for (Parameter* p : {&net.x_embedder.weight, &net.blocks[1].attn.qkv.weight}) {
    const Tensor direction = wave(p->value.shape(), 6), start = p->value.clone();
    const auto objective = [&](double h) {
      p->value = start + direction * h;
      return dot(jvp(f, at(x, s, t), along(w, zero, 1.0)).second, gy);
    };
    const double h = 1e-4, difference = ((objective(h) - objective(-h)) * 8 - (objective(2 * h) - objective(-2 * h))) / (12 * h);
    p->value = start;
    Tape tape;
    const auto [u, du] = jvp_taped(f, at(x, s, t), along(w, zero, 1.0));
    const Gradients g = backward(sum(du * gy));
    CHECK(std::abs(dot(g[*p], direction) - difference) / std::abs(difference) < 1e-9);
  }
}

TEST_CASE("without positions, a sequence gives the same values as an image of one row with the same weights") {
  DitDhConfig c = sequence();
  c.patch_size = 1, c.rope = c.position_embed = false;
  DitDhConfig row = c;
  row.axes = 2, row.input_size = 1, row.input_width = 20;
  DitDh a(c, 1), b(row, 1);
  CHECK(max_difference(a.x_embedder.weight.value.reshape({20, 3, 1, 1}), b.x_embedder.weight.value) == 0);       // initial values depend on the weight as a matrix
  shake(a);
  shake(b);
  const Tensor x = wave({2, 3, 20}, 1, DType::f32), s = Tensor::from<float>({0.1f, 0.3f}, {2}), t = Tensor::from<float>({0.8f, 0.5f}, {2});
  const Tensor one = a(x, s, t, {}).value(), other = b(x.reshape({2, 3, 1, 20}), s, t, {}).value();
  CHECK(norm(one) > 0);
  CHECK(max_difference(one, other.reshape({2, 3, 20})) == 0);
}

TEST_CASE("patches of a sequence have channels outermost in a token and innermost in the output") {
  const Tensor x = Tensor::arange(2 * 3 * 8, DType::f32).reshape({2, 3, 8});
  const Tensor tokens = patchify(x, 4).value();
  REQUIRE(tokens.shape() == Shape{2, 2, 12});
  const std::vector<float> values = tokens.to_vector<float>();
  for (std::int64_t b = 0; b < 2; ++b)
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t c = 0; c < 3; ++c)
        for (std::int64_t i = 0; i < 4; ++i) CHECK(values[std::size_t(((b * 2 + n) * 3 + c) * 4 + i)] == float((b * 3 + c) * 8 + 4 * n + i));
  const Tensor inner = tokens.reshape({2, 2, 3, 4}).permute({0, 1, 3, 2}).contiguous().reshape({2, 2, 12});
  CHECK(max_difference(unpatchify(inner, 2, 4).value(), x) == 0);
  CHECK(max_difference(unpatchify(patchify(x, 1), 8, 1).value(), x) == 0);
  CHECK(mentions(error_of<ShapeError>([&] { patchify(x, 3); }), {"patchify", "[2, 3, 8]", "3"}));
  CHECK(mentions(error_of<ShapeError>([&] { unpatchify(inner, 3, 4); }), {"unpatchify", "[2, 2, 12]", "3 patches", "4"}));
}

TEST_CASE("rotations along one axis: products of rotated queries and keys depend only on distances") {
  const auto [cosine, sine] = rope_tables(7, 6);
  CHECK(cosine.shape() == Shape{7, 6});
  const std::vector<float> c = cosine.to_vector<float>(), s = sine.to_vector<float>();
  for (int n = 0; n < 7; ++n)
    for (int m = 0; m < 3; ++m) {
      const double angle = n * std::pow(10000.0, -m / 3.0);
      for (int half : {0, 1}) {
        CHECK(near_zero(c[std::size_t(6 * n + 2 * m + half)] - std::cos(angle), 1e-6));
        CHECK(near_zero(s[std::size_t(6 * n + 2 * m + half)] - std::sin(angle), 1e-6));
      }
    }
  CHECK_THROWS_AS(rope_tables(7, 5), ConfigError);
  CHECK_THROWS_AS(sin_cos_positions(7, 5), ConfigError);
}

TEST_CASE("sequences and images have the same parameter names; a checkpoint of the other kind is refused") {
  DitDhConfig square = sequence();
  square.axes = 2, square.input_size = 4, square.patch_size = 2, square.width = 16, square.head_width = 24;
  const DitDh net(sequence(), 1);
  const StateDict a = state_dict(net), b = state_dict(DitDh(square, 1));
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].first == b[i].first);
  CHECK(net.x_embedder.weight.value.shape() == Shape{20, 3, 4});
  CHECK(net.position_table.value.shape() == Shape{1, 5, 12});
  DitDh same(sequence(), 2), one_channel_more = [] {
    DitDhConfig c = sequence();
    c.channels = 4;
    return DitDh(c, 1);
  }();
  load_state(same, a);
  CHECK(has(error_of<FileError>([&] { load_state(one_channel_more, a); }), "x_embedder.proj.weight"));
}

TEST_CASE("sequences: inputs and configs that do not fit are refused") {
  const DitDh net(sequence(), 1);
  const Tensor t = Tensor::ones({2});
  CHECK(mentions(error_of<ShapeError>([&] { net(Tensor::zeros({2, 3, 16}), t, {}); }), {"DitDh", "[2, 3, 16]", "[2, 3, 20]"}));
  CHECK(mentions(error_of<ShapeError>([&] { net(Tensor::zeros({2, 3, 1, 20}), t, {}); }), {"DitDh", "[2, 3, 1, 20]", "[2, 3, 20]"}));
  CHECK(mentions(error_of<ShapeError>([&] { DitDh(rectangle(), 1)(Tensor::zeros({2, 2, 6, 4}), t, {}); }), {"DitDh", "[2, 2, 6, 4]", "[2, 2, 4, 6]"}));
  const auto refused = [](DitDhConfig c, const std::function<void(DitDhConfig&)>& change) {
    change(c);
    return error_of<ConfigError>([&] { checked(c); });
  };
  CHECK(refused(sequence(), [](auto& c) { c.input_width = 4; }) ==
        "DitDh: input_width = 4 is only for axes = 2; a sequence (axes = 1) has one length, input_size");
  CHECK(mentions(refused(sequence(), [](auto& c) { c.patch_size = 3; }), {"DitDh", "patch_size = 3", "input_size = 20"}));
  CHECK(mentions(refused(rectangle(), [](auto& c) { c.input_width = 7; }), {"DitDh", "patch_size = 2", "input_width = 7"}));
  CHECK(refused(rectangle(), [](auto& c) { c.input_size = 5000; }) ==
        "DitDh: input_size = 5000 is out of range (1 to 4096) for axes = 2; only a sequence (axes = 1) may be longer");
  CHECK(mentions(refused(sequence(), [](auto& c) { c.heads = 4; }), {"DitDh", "width / heads = 3", "multiple of 2", "rope"}));
  CHECK(mentions(refused(rectangle(), [](auto& c) { c.width = 18; }), {"DitDh", "width = 18", "multiple of 4", "position_embed"}));
  CHECK(mentions(refused(sequence(), [](auto& c) { c.axes = 3; }), {"DitDh", "axes = 3", "1 to 2"}));
  DitDhConfig longest = sequence();
  longest.input_size = 1 << 20;
  CHECK(checked(longest).tokens() == 1 << 18);
}

TEST_CASE("size_text contains the length of a sequence, and is unchanged for images") {
  CHECK(size_text(sequence()) == "DiT^DH 12x2 + 20x1, sequences [3, 20] in 5 tokens, flow map u(z, s, t)");
  CHECK(size_text(rectangle()) == "DiT^DH 16x1 + 24x1, flow map u(z, s, t)");
}
