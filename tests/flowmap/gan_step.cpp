// One step of adversarial decoder training against numbers of PyTorch (tests/golden/gan_step.py): losses, adaptive weight, gradients of decoder and
// discriminator, spectral vectors. The gradients of the parts against differences.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/check.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "flowmap/training/diff_augment.h"
#include "nn/models/dino_discriminator.h"
#include "nn/models/dino_vit.h"
#include "nn/models/rae.h"
#include "nn/training/adversarial.h"
#include "tests/support/error_of.h"
#include "tests/support/golden.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t batch = 3, side = 12;
constexpr double perceptual_weight = 0.7, scale = 0.75, rate = 0.05;

RaeConfig tiny() {
  RaeConfig c;
  c.decoder.latent_channels = 10, c.decoder.latent_size = 3, c.decoder.width = 16, c.decoder.depth = 1, c.decoder.heads = 2, c.decoder.mlp_width = 24;
  c.decoder.patch_size = 4;
  c.image_mean = {0.485, 0.456, 0.406}, c.image_std = {0.229, 0.224, 0.225};
  return c;
}
DinoVitConfig tiny_dino() { return {.image_size = 20, .patch_size = 5, .width = 12, .depth = 3, .heads = 2, .mlp_width = 20}; }

Tensor numbers(const std::string& name, const Shape& shape, double factor = 1, double shift = 0) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<float>(shift + factor * named_number(name, i)));
  return Tensor::from(values, shape);
}

template <class M> void fill_by_name(M& model, const std::string& prefix, DType type) {
  for_each_tensor(model, [&](const std::string& name, Tensor& t) {
    const bool norm = t.rank() == 1 && name.ends_with(".weight");
    t = numbers(prefix + name, t.shape(), 0.4, norm ? 1 : 0).to(type);
    if (name.ends_with("weight_u") || name.ends_with("weight_v")) t = t / std::sqrt(sum_squares(t));
  });
}

Augmentations given(const std::string& kind) {
  Augmentations out;
  for (int i = 0; i < batch; ++i) {
    const auto u = [&](std::int64_t k) { return (named_number("augment." + kind + "." + std::to_string(i), k) + 1) / 2; };
    out.rows.push_back({static_cast<std::int64_t>(u(0) * 5) - 2, static_cast<std::int64_t>(u(1) * 5) - 2, u(2) - 0.5, 2 * u(3), u(4) + 0.5});
  }
  return out;
}

// Compares with the three numbers of a tensor in the file, or the one number of a scalar.
struct Comparison {
  std::string name;
  std::vector<double> wanted;
  double tolerance;
  std::size_t at = 0;

  Comparison(const std::string& name_, double tolerance_) : name(name_), tolerance(tolerance_) {
    static const auto all = golden_rows(FM_TESTS_FOLDER "/golden/gan_step.txt");
    wanted = all.at(name);
  }
  void operator()(const Tensor& t) {
    const std::vector<double> v = t.to_vector<double>();
    if (v.size() == 1) {
      const double bound = tolerance * std::max(std::abs(wanted.at(at)), 1e-2);
      CHECK_MESSAGE(std::abs(v[0] - wanted[at]) < bound, name << " number " << at << ": " << v[0] << " instead of " << wanted[at]);
      ++at;
      return;
    }
    double first = 0, second = 0, squares = 0;
    for (std::size_t i = 0; i < v.size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      first += v[i] * named_number("probe.1", index), second += v[i] * named_number("probe.2", index), squares += v[i] * v[i];
    }
    // A gradient that is 0 but for rounding (the bias of keys) has no relative error.
    const double bound = tolerance * std::max(wanted.at(at + 2), 1e-2);
    for (const double got : {first, second, std::sqrt(squares)}) {
      CHECK_MESSAGE(std::abs(got - wanted.at(at)) < bound, name << " number " << at << ": " << got << " instead of " << wanted[at]);
      ++at;
    }
  }
};

struct Models {
  RaeConfig config = tiny();
  RaeDecoder decoder{config.decoder};
  DinoVit dino{tiny_dino()};
  DinoDiscriminator discriminator{12, 4};
  Tensor x, z;

  explicit Models(DType type) {
    fill_by_name(decoder, "decoder.", type), fill_by_name(dino, "dino.", type), fill_by_name(discriminator, "disc.", type);
    dino.zero_key_biases();
    x = numbers("image", {batch, 3, side, side}, 0.45, 0.5).to(type), z = numbers("tokens", {batch, 9, 10}).to(type);
  }
  Var scores(const Var& images, const std::string& kind) const { return discriminator(dino.maps(augmented(images, given(kind)))); }
};

void check_generator(Models& m, const std::string& kind, double tolerance) {
  set_trainable(m.discriminator, false);
  Tape tape;
  const Var rows = m.decoder.rows(m.z);
  const auto image = [&](const Var& r) { return restored(m.decoder.image_of(r), m.config); };
  Tensor l1, perceptual, scores;
  const BalancedLoss loss = balanced_loss(
      rows, {&m.decoder.predict.weight, &m.decoder.predict.bias},
      [&](const Var& r) {
        const Var y = image(r), first = mean(abs(y - m.x)), second = mean(square((y * 2.0 - 1.0) - (m.x * 2.0 - 1.0)));
        l1 = first.value(), perceptual = second.value();
        return first + second * perceptual_weight;
      },
      [&](const Var& r) {
        const Var s = m.scores(image(r) * 2.0 - 1.0, "generated");
        scores = s.value();
        return loss_of_generator(kind, s);
      },
      scale);
  Comparison numbers_of(kind + ".generator", tolerance);
  for (const Tensor& t : {l1, perceptual, loss.second, loss.weight, loss.loss.value(), scores}) numbers_of(t);
  const Gradients g = backward(loss.loss * 0.5);                         // a share of the batch, as with micro-batches
  for_each_parameter(m.decoder, [&](const std::string& name, Parameter& p) {
    const Tensor whole = g[p] * 2.0;
    Comparison(kind + ".gradient.decoder." + name, tolerance)(whole);
    p.value = p.value - whole * rate;
  });
}

void check_discriminator(Models& m, const std::string& kind, double tolerance) {
  set_trainable(m.discriminator, true);
  const Tensor fake = rounded_to_bytes(restored(m.decoder(m.z), m.config).value() * 2.0 - 1.0);
  Tape tape;
  m.discriminator.iterate();
  const Var real_scores = m.scores(m.x * 2.0 - 1.0, "real");
  m.discriminator.iterate();
  const Var fake_scores = m.scores(fake, "fake");
  const Var real = loss_of_real(kind, real_scores), generated = loss_of_fake(kind, fake_scores);
  Comparison numbers_of(kind + ".discriminator", tolerance);
  for (const Tensor& t : {real.value(), generated.value(), fake, real_scores.value(), fake_scores.value()}) numbers_of(t);
  const Gradients g = backward(real + generated);
  for_each_parameter(m.discriminator, [&](const std::string& name, Parameter& p) { Comparison(kind + ".gradient.disc." + name, tolerance)(g[p]); });
  for (const auto& [name, t] : state_dict(m.discriminator))
    if (name.ends_with("weight_u") || name.ends_with("weight_v")) Comparison(kind + ".updated.disc." + name, tolerance)(t);
}

}  // namespace

TEST_CASE("adversarial step: losses, adaptive weight, gradients and spectral vectors are PyTorch's") {
  for (const DType type : {DType::f64, DType::f32})
    for (const char* kind : {"hinge", "vanilla"}) {
      CAPTURE(kind);
      CAPTURE(name_of(type));
      const double tolerance = type == DType::f64 ? 1e-9 : 1e-4;
      Models m(type);
      check_generator(m, kind, tolerance);
      check_discriminator(m, kind, tolerance);
    }
}

TEST_CASE("adversarial step: gradients of convolution, augmentation and losses agree with differences") {
  SpectralConv1d conv(3, 5, 9);
  reset_parameters(conv, 3);
  to_dtype(conv, DType::f64);
  const Tensor weight = conv.weight.value, x = sample_normal({2, 3, 7}, 1);
  CHECK_NOTHROW(check_pull([&](const std::vector<Var>& v) { return conv(v[0]); }, {x}));
  const auto of_weight = [&](const Tensor& w) {
    conv.weight.value = w;
    return conv(x);
  };
  Tape tape;
  conv.weight.value = weight;
  const Gradients g = backward(sum(square(conv(x))));
  const Tensor direction = sample_normal(weight.shape(), 2);
  const auto at = [&](double h) { return sum(square(of_weight(weight + direction * h).value())).item(); };
  const double wanted = (at(1e-5) - at(-1e-5)) / 2e-5, got = sum(g[conv.weight] * direction).item();
  CHECK(near(got, wanted, 1e-7));

  Augmentations changes = given("real");
  const Tensor images = sample_normal({batch, 2, 5, 7}, 4);
  CHECK_NOTHROW(check_push([&](const std::vector<Var>& v) { return augmented(v[0], changes); }, {images}));
  CHECK_NOTHROW(check_pull([&](const std::vector<Var>& v) { return augmented(v[0], changes); }, {images}));
  changes.colors = false;
  const std::vector<double> plain = images.to_vector<double>(), moved = augmented(images, changes).value().to_vector<double>();
  for (std::int64_t n = 0; n < batch; ++n)
    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t i = 0; i < 5; ++i)
        for (std::int64_t j = 0; j < 7; ++j) {
          const Augmentation& a = changes.rows[static_cast<std::size_t>(n)];
          const std::int64_t y = i + a.dy, z = j + a.dx;
          const double from = y >= 0 && y < 5 && z >= 0 && z < 7 ? plain[static_cast<std::size_t>(((n * 2 + c) * 5 + y) * 7 + z)] : 0;
          CHECK(moved[static_cast<std::size_t>(((n * 2 + c) * 5 + i) * 7 + j)] == from);
        }
}

TEST_CASE("adversarial step: the losses are finite for large scores, and unknown kinds are errors") {
  const Tensor scores = Tensor::from<float>({-2000, 2000, 0}, {1, 3});
  CHECK(near(loss_of_real("vanilla", scores).value().item(), (2000 + std::log(2.0)) / 6, 1e-6));
  CHECK(near(loss_of_fake("vanilla", scores).value().item(), (2000 + std::log(2.0)) / 6, 1e-6));
  CHECK(near(loss_of_generator("hinge", scores + 1.0).value().item(), -1, 1e-6));
  CHECK(has(error_of<ConfigError>([&] { loss_of_real("wgan", scores); }), "'wgan' is unknown: choose hinge or vanilla"));
}

TEST_CASE("adversarial step: reconstructions are rounded to the nearest byte") {
  for (const DType type : {DType::f32, DType::f64}) {
    const Tensor x = Tensor::from<double>({-3, -1, 0.8 / 255 - 1, 3.2 / 255 - 1, 0.1, 0.999, 7}, {7}).to(type);
    const std::vector<double> bytes = ((rounded_to_bytes(x) + 1.0) * 127.5).to_vector<double>();
    const std::vector<double> wanted{0, 0, 0, 2, 140, 255, 255};         // 0.4 -> 0, 1.6 -> 2
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(std::abs(bytes[i] - wanted[i]) < 1e-4);
  }
}

TEST_CASE("adversarial step: the draws depend on seed, step, sample and kind alone, and stay in their ranges") {
  Draws all{5, 3, consecutive(40, 400)}, some{5, 3, consecutive(42, 2)};
  const Augmentations a = draw_augmentations(all, Augmented::real, 1, 256, 64), b = draw_augmentations(some, Augmented::real, 1, 256, 64);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(a.rows[i + 2].dy == b.rows[i].dy);
    CHECK(a.rows[i + 2].contrast == b.rows[i].contrast);
  }
  CHECK(a.rows[0].brightness != draw_augmentations(all, Augmented::fake, 1, 256, 64).rows[0].brightness);
  std::int64_t low = 0, high = 0, narrow = 0;
  double brightness = 0, saturation = 0, contrast = 0;
  for (const Augmentation& r : a.rows) {
    low = std::min(low, r.dy), high = std::max(high, r.dy), narrow = std::max(narrow, std::abs(r.dx));
    brightness += r.brightness / 400, saturation += r.saturation / 400, contrast += r.contrast / 400;
    CHECK((r.contrast >= 0.5 && r.contrast < 1.5 && r.saturation >= 0 && r.saturation < 2 && std::abs(r.brightness) <= 0.5));
  }
  CHECK((low <= -30 && low >= -32 && high >= 30 && high <= 32 && narrow == 8));
  CHECK((std::abs(brightness) < 0.06 && std::abs(saturation - 1) < 0.12 && std::abs(contrast - 1) < 0.06));
  CHECK((a.moves && a.colors));
  int moves = 0, colors = 0;
  for (std::uint32_t step = 0; step < 400; ++step) {
    const Augmentations c = draw_augmentations({5, step, consecutive(0, 1)}, Augmented::generated, 0.3, 8, 8);
    moves += c.moves, colors += c.colors;
  }
  CHECK((moves > 85 && moves < 155 && colors > 85 && colors < 155));
  const Augmentations none = draw_augmentations(all, Augmented::real, 0, 8, 8);
  CHECK_FALSE((none.moves || none.colors));
}

TEST_CASE("adversarial step: a term with a gradient for a parameter outside of the last layer is an error") {
  Parameter w{Tensor::ones({2})}, other{Tensor::ones({2})};
  Tape tape;
  const Var rows = tape.variable(Tensor::ones({2}));
  const auto plain = [&](const Var& r) { return sum(r * Var(w)); };
  const auto stray = [&](const Var& r) { return sum(r * Var(w) * Var(other)); };
  CHECK(has(error_of<AutodiffError>([&] { balanced_loss(rows, {&w}, plain, stray, 1); }), "not of the last layer"));
}

TEST_CASE("discriminator: heads read the maps after each quarter of the blocks; published sizes and names") {
  using Blocks = std::vector<std::int64_t>;
  CHECK(blocks_of_maps(12) == Blocks{11, 2, 5, 8, 11});
  CHECK(blocks_of_maps(6) == Blocks{5, 1, 2, 4, 5});
  CHECK(blocks_of_maps(3) == Blocks{2, 0, 1, 2});
  CHECK(blocks_of_maps(1) == Blocks{0, 0});
  const ShapesOnly shapes;
  const DinoDiscriminator published(384, 5);
  CHECK(parameter_count(published) == 7386245);
  check_names(published, "dino_discriminator.txt");
  check_names(DinoVit(DinoVitConfig{}), "dino_vit.txt");
}

TEST_CASE("discriminator: the layers of an encoder, before its last norm, are those that its tokens follow from") {
  VitEncoderConfig c;
  c.image_size = 12, c.patch_size = 4, c.width = 8, c.depth = 2, c.heads = 2, c.mlp_width = 12, c.registers = 2;
  VitEncoder encoder(c, 3);
  fill_by_rule(encoder);
  const Tensor x = golden_input({2, 3, 12, 12});
  const auto after = encoder.patches_after(x, {1, 0});
  CHECK(after[1].shape() == Shape{2, 9, 8});
  const Tensor wanted = encoder(x).value(), got = encoder.norm(after[0]).value();
  CHECK(sum(abs(wanted - got)).item() == 0);
  CHECK(sum(abs(wanted - encoder.norm(after[1]).value())).item() > 1e-2);
}
