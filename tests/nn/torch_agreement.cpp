// The models against PyTorch functions that were written from the models' description (tests/golden/models.py, make_models.py): encoders of each
// kind with a resized grid of positions, decoder, RAE round trip, DiT^DH, its MeanFlow variant and the derivative of this variant. They are compared
// in f64, in f32, and with blocks in bf16 to 2 %.
#include "autodiff/jvp.h"
#include "nn/latent_stats.h"
#include "nn/models/presets.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/reduce.h"
#include "tests/support/model_check.h"

using namespace fm;
using namespace fm::test;

namespace {

Tensor torch_says(const std::string& name) {
  static const Safetensors file(std::string(FM_TESTS_FOLDER) + "/golden/models.safetensors");
  return file[name].to(DType::f64).to(default_device());
}

// Compares the largest difference with the largest value.
void check_close(const Tensor& ours, const std::string& name, double tolerance) {
  const Tensor want = torch_says(name);
  REQUIRE(ours.shape() == want.shape());
  const double error = max_difference(ours.to(DType::f64), want) / max(abs(want).flatten(0, -1), 0).item();
  CHECK_MESSAGE(error < tolerance, name << ": " << error);
}

// Compares norms, because rounding to bf16 has larger errors in single elements.
void check_near(const Tensor& ours, const std::string& name) {
  const Tensor want = torch_says(name);
  const double error = norm(ours.to(DType::f64) - want) / norm(want);
  CHECK_MESSAGE(error < 2e-2, name << ": " << error);
}

constexpr double f32_tolerance = 1e-5, f64_tolerance = 1e-6;   // f64 too is limited by the file's numbers, which are rounded to f32

Tensor rule_wave(const Shape& shape, double step) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(std::sin(step * static_cast<double>(i + 1)));
  return Tensor::from(values, shape).to(DType::f64) * 1.5;
}

VitEncoderConfig encoder_config(const std::string& kind) {
  VitEncoderConfig c;
  c.kind = kind, c.eps = kind == "mae" ? 1e-12 : 1e-6;
  c.image_size = 20, c.patch_size = 4, c.width = 16, c.depth = 2, c.heads = 2, c.mlp_width = 24, c.registers = 3;
  return c;
}

RaeDecoderConfig decoder_config() {
  RaeDecoderConfig c;
  c.latent_channels = 16, c.latent_size = 5, c.width = 16, c.depth = 2, c.heads = 2, c.mlp_width = 40, c.patch_size = 3;
  return c;
}

DitDhConfig dit_config(bool mean_flow) {
  DitDhConfig c;
  c.input_size = 4, c.channels = 8, c.classes = 10, c.width = 16, c.depth = 2, c.heads = 2;
  c.head_width = 24, c.head_depth = 1, c.head_heads = 2, c.mean_flow = mean_flow;
  return c;
}

// Calls f(model, element type, check) in f64, in f32, and with blocks in bf16.
template <class Model, class Config, class F> void in_every_precision(Config config, F&& f) {
  for (const DType type : {DType::f64, DType::f32}) {
    Model model(config, 1);
    fill_by_rule(model);
    to_dtype(model, type);
    const double tolerance = type == DType::f64 ? f64_tolerance : f32_tolerance;
    f(model, type, [&](const Tensor& y, const std::string& name) { check_close(y, name, tolerance); });
  }
  config.precision = "bf16";
  Model model(config, 1);
  fill_by_rule(model);
  f(model, DType::f32, check_near);
}

}  // namespace

TEST_CASE("encoders agree with PyTorch, at the grid's own size and resized both ways") {
  for (const std::string kind : {"dinov2", "siglip2", "mae"})
    in_every_precision<VitEncoder>(encoder_config(kind), [&](const VitEncoder& net, DType type, auto&& check) {
      const auto run = [&](const char* name, const Shape& shape) {
        check(net(rule_wave(shape, 0.05).to(type)).value(), "encoder." + kind + "." + name);
      };
      run("own", {2, 3, 20, 20});
      run("smaller", {1, 3, 12, 16});
      run("larger", {1, 3, 24, 32});
    });
}

TEST_CASE("the decoder agrees with PyTorch") {
  in_every_precision<RaeDecoder>(decoder_config(), [](const RaeDecoder& net, DType type, auto&& check) {
    check(net(rule_wave({2, 25, 16}, 0.05).to(type)).value(), "decoder");
  });
}

TEST_CASE("RAE's round trip agrees with PyTorch: resizing, normalization by channel, statistics with and without a mean") {
  for (const std::string kind : {"dinov2", "siglip2", "mae"}) {
    RaeConfig c;
    c.encoder = encoder_config(kind), c.decoder = decoder_config();
    c.input_size = 20, c.image_mean = {0.485, 0.456, 0.406}, c.image_std = {0.229, 0.224, 0.225};
    for (const char* precision : {"f32", "bf16"}) {
      c.encoder.precision = c.decoder.precision = precision;
      Rae model(c, 1);
      fill_by_rule(model.encoder);
      fill_by_rule(model.decoder);
      const Shape latent{16, 5, 5};
      LatentStats stats;
      stats.variance = (rule_wave(latent, 0.23) / 3 + 1).to(DType::f32);
      if (kind == "mae") stats.mean = (rule_wave(latent, 0.11) / 10).to(DType::f32);
      const Tensor images = (rule_wave({2, 3, 24, 24}, 0.37) / 3 + 0.5).to(DType::f32);
      const Tensor z = stats.normalise(model.encode(images)), decoded = model.decode(stats.restore(z));
      if (precision == std::string("f32")) {
        check_close(z, "rae." + kind + ".latent", f32_tolerance);
        check_close(decoded, "rae." + kind + ".decoded", f32_tolerance);
      } else {
        check_near(z, "rae." + kind + ".latent");
        check_near(decoded, "rae." + kind + ".decoded");
      }
    }
  }
}

TEST_CASE("DiT^DH, its MeanFlow variant and the derivative along (v, 0, 1) agree with PyTorch") {
  const Tensor r = Tensor::from<float>({0.2f, 0.35f}, {2}), t = Tensor::from<float>({0.9f, 0.35f}, {2});
  const Tensor labels = Tensor::from<std::int64_t>({3, 10}, {2});
  const Tensor x = rule_wave({2, 8, 4, 4}, 0.05), v = rule_wave({2, 8, 4, 4}, 0.13);
  in_every_precision<DitDh>(dit_config(false), [&](const DitDh& net, DType type, auto&& check) {
    check(net(x.to(type), t.to(type), labels).value(), "dit.teacher");
  });
  in_every_precision<DitDh>(dit_config(true), [&](const DitDh& net, DType type, auto&& check) {
    const auto u = [&](const Var& z, const Var& a, const Var& b) { return net(z, a, b, labels); };
    check(net(x.to(type), r.to(type), t.to(type), labels).value(), "dit.mean_flow");
    const auto [value, derivative] = jvp(u, at(x.to(type), r.to(type), t.to(type)), along(v.to(type), zero, 1.0));
    check(value.value(), "dit.mean_flow");
    check(derivative, "dit.mean_flow.derivative");
  });
}
