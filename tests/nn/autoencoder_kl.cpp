// AutoencoderKL (SD-VAE): names and counts of the published files, naming styles, gradients and derivative checks, shapes, tiles and errors. Its values:
// autoencoder_kl_golden.cpp.
#include "nn/models/autoencoder_kl_tiles.h"

#include "autodiff/check.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/models/published_names.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

AutoencoderKLConfig tiny() {
  AutoencoderKLConfig c;
  c.widths = {8, 12}, c.groups = 4, c.resnets = 1, c.latent_channels = 2;
  return c;
}

}  // namespace

TEST_CASE("full width: parameter counts and names are those of the published files") {
  const ShapesOnly shapes;
  const AutoencoderKL model{AutoencoderKLConfig{}};
  CHECK(parameter_count(model.encoder) == 34'163'592);
  CHECK(parameter_count(model.decoder) == 49'490'179);
  CHECK(parameter_count(model.quant_conv) == 72);
  CHECK(parameter_count(model.post_quant_conv) == 20);
  CHECK(state_dict(model).size() == 248);
  CHECK(state_dict(model.encoder).size() == 106);
  check_names(model, "autoencoder_kl.txt");
}

TEST_CASE("a small autoencoder: images of any multiple of the factor, shapes of the latent, errors") {
  const AutoencoderKL model(tiny(), 1);
  CHECK(model.config.factor() == 2);
  const Var moments = model.moments(wave({2, 3, 6, 10}, 1, DType::f32));
  CHECK(moments.shape() == Shape{2, 4, 3, 5});
  CHECK(model.decode(DiagonalGaussian(moments).mean).shape() == Shape{2, 3, 6, 10});
  CHECK_THROWS_WITH_AS(model.moments(wave({2, 3, 6, 9}, 1, DType::f32)), doctest::Contains("multiples of 2"), ShapeError);
  CHECK_THROWS_AS(model.moments(wave({2, 1, 6, 10}, 1, DType::f32)), ShapeError);
  CHECK_THROWS_AS(model.decode(wave({2, 3, 3, 5}, 1, DType::f32)), ShapeError);
  AutoencoderKLConfig c = tiny();
  c.groups = 3;
  CHECK_THROWS_WITH_AS(AutoencoderKL(c, 1), "AutoencoderKL: width 8 is not a multiple of the 3 groups", ConfigError);
  c = tiny(), c.widths = {};
  CHECK_THROWS_AS(AutoencoderKL(c, 1), ConfigError);
}

TEST_CASE("a head of 264 channels, more than the attention kernels of GPUs take, gives the CPU's values on every device") {
  AutoencoderKLConfig c = tiny();
  c.widths = {264};
  VaeAttention attention(264, c), on_cpu = attention;
  shake(attention, 0.05);
  for_each_tensor(on_cpu, [i = 0, from = state_dict(attention)](const std::string&, Tensor& t) mutable { t = from[static_cast<std::size_t>(i++)].second.to(Device{}); });
  const Tensor x = wave({2, 264, 3, 2}, 1, DType::f32);
  CHECK(max_difference(attention(x).value(), on_cpu(x.to(Device{})).value()) < 1e-5);
}

TEST_CASE("the posterior clamps its log-variance to [-30, 20], and a sample is mean + std * noise") {
  const Tensor moments = Tensor::from<double>({1, 2, 3, 4, -50, 0, 1, 30}, {1, 2, 2, 2}), noise = Tensor::from<double>({1, -1, 2, 1}, {1, 1, 2, 2});
  const DiagonalGaussian p(moments);
  const double deviations[] = {std::exp(-15), 1, std::exp(0.5), std::exp(10)}, draws[] = {1, -1, 2, 1};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(near(p.std().value().to_vector<double>()[i], deviations[i], 1e-14));
    CHECK(near(p.sample(noise).value().to_vector<double>()[i], static_cast<double>(i + 1) + deviations[i] * draws[i], 1e-14));
  }
  CHECK_THROWS_AS(DiagonalGaussian(Tensor::ones({1, 3, 2, 2})), ShapeError);
  CHECK_THROWS_AS(p.sample(Tensor::ones({1, 1, 1, 2}, DType::f64)), ShapeError);
}

TEST_CASE("a small autoencoder passes the derivative checks, and every parameter gets a gradient") {
  AutoencoderKL model(tiny(), 1);
  shake(model);
  {
    Tape tape;
    const DiagonalGaussian p = model.posterior(wave({2, 3, 4, 4}, 1, DType::f32));
    const Gradients g = backward(sum(square(model.decode(p.sample(wave(p.mean.shape(), 2, DType::f32))))));
    for_each_parameter(model, [&](const std::string& name, Parameter& q) { CHECK_MESSAGE((g[q].defined() && norm(g[q]) > 0), name); });
  }
  to_dtype(model, DType::f64);
  const auto f = [&](const std::vector<Var>& x) { return model.decode(model.posterior(x[0]).sample(x[1])); };
  const std::vector<Tensor> inputs{sample_normal({2, 3, 4, 4}, 1), sample_normal({2, 2, 2, 2}, 2)};
  for (const auto& check : {check_push, check_pull, check_taped, check_rows}) CHECK_NOTHROW(check(f, inputs, CheckOptions{.name = "autoencoder"}));
}

TEST_CASE("bf16: images and latents stay f32, errors are those of bf16, and every parameter gets a gradient in f32") {
  AutoencoderKLConfig c = tiny();
  AutoencoderKL exact(c, 1);
  shake(exact);
  c.precision = "bf16";
  AutoencoderKL model(c, 1);
  shake(model);
  to_dtype(exact, DType::f64);
  const Tensor image = wave({2, 3, 8, 8}, 1, DType::f32), latent = wave({2, 2, 4, 4}, 2, DType::f32);
  const auto error = [](const Tensor& got, const Tensor& want) {
    CHECK(got.dtype() == DType::f32);
    return norm(got.to(DType::f64) - want) / norm(want);
  };
  for (const double e : {error(model.moments(image).value(), exact.moments(image.to(DType::f64)).value()),
                         error(model.decode(latent).value(), exact.decode(latent.to(DType::f64)).value())}) {
    CHECK(e < 2e-2);
    CHECK(e > 1e-4);                             // f32 would be below 1e-5
  }
  Tape tape;
  const DiagonalGaussian p = model.posterior(image);
  const Gradients g = backward(sum(square(model.decode(p.mean))) + sum(p.log_variance));
  for_each_parameter(model, [&](const std::string& name, Parameter& q) {
    REQUIRE_MESSAGE(g[q].defined(), name);
    CHECK_MESSAGE((norm(g[q]) > 0 && g[q].dtype() == DType::f32), name);
  });
}

TEST_CASE("tiles: a small latent is decoded as a whole, and away from the seams a pixel is that of its tile alone") {
  AutoencoderKL model(tiny(), 1);
  shake(model);
  to_dtype(model, DType::f64);
  const Tensor z = wave({2, 2, 11, 13}, 1, DType::f64);
  const auto alone = [&](std::int64_t y, std::int64_t x) { return model.decode(z.slice(2, y, y + 6).slice(3, x, x + 6).contiguous()).value(); };
  CHECK(max_difference(decode_tiles(model, z, {.tile = 13, .overlap = 2}), model.decode(z).value()) == 0);
  const Tensor image = decode_tiles(model, z, {.tile = 6, .overlap = 2});              // tiles begin at rows 0, 4, 5 and columns 0, 4, 7
  REQUIRE(image.shape() == Shape{2, 3, 22, 26});
  const auto part = [](const Tensor& t, std::int64_t y0, std::int64_t y1, std::int64_t x0, std::int64_t x1) { return t.slice(2, y0, y1).slice(3, x0, x1).contiguous(); };
  CHECK(max_difference(part(image, 0, 8, 0, 8), part(alone(0, 0), 0, 8, 0, 8)) == 0);
  CHECK(max_difference(part(image, 0, 8, 12, 14), part(alone(0, 4), 0, 8, 4, 6)) == 0);
  CHECK(max_difference(part(image, 20, 22, 20, 26), part(alone(5, 7), 10, 12, 6, 12)) == 0);
  CHECK(max_difference(part(image, 20, 22, 0, 8), part(alone(5, 0), 10, 12, 0, 8)) == 0);
  CHECK_THROWS_WITH_AS(decode_tiles(model, z, {.tile = 6, .overlap = 6}), "decode_tiles: overlap 6 must be at least 0 and smaller than the tile, 6", ConfigError);
  CHECK_THROWS_AS(decode_tiles(model, z, {.tile = 6, .overlap = -1}), ConfigError);
  CHECK_THROWS_AS(decode_tiles(model, wave({2, 3, 11, 13}, 1, DType::f64), {.tile = 6, .overlap = 2}), ShapeError);
}

TEST_CASE("tiles: in an overlap the weight of the second tile grows in equal steps from 0") {
  AutoencoderKL model(tiny(), 1);
  shake(model);
  to_dtype(model, DType::f64);
  const Tensor z = wave({1, 2, 3, 10}, 1, DType::f64);                                 // tiles begin at columns 0 and 4; pixels 8 to 11 overlap
  const Tensor image = decode_tiles(model, z, {.tile = 6, .overlap = 2});
  const Tensor first = model.decode(z.slice(3, 0, 6).contiguous()).value(), second = model.decode(z.slice(3, 4, 10).contiguous()).value();
  for (std::int64_t k = 0; k < 4; ++k) {
    const double weight = static_cast<double>(k) / 4;
    const Tensor wanted = first.slice(3, 8 + k, 9 + k) * (1 - weight) + second.slice(3, k, k + 1) * weight;
    CHECK(max_difference(image.slice(3, 8 + k, 9 + k).contiguous(), wanted) < 1e-13);
  }
  CHECK(max_difference(image.slice(3, 12, 20).contiguous(), second.slice(3, 4, 12).contiguous()) == 0);
}

TEST_CASE("files with old names, CompVis' names and whole Stable Diffusion files load to the same bits") {
  AutoencoderKLConfig c = tiny();
  c.widths = {8, 12, 16};
  const AutoencoderKL model(c, 3);
  const NamedTensors ours = state_dict(model);
  const auto loads = [&](const NamedTensors& file) {
    AutoencoderKL other(c, 4);
    load_state(other, to_our_names(file, "vae"));
    const NamedTensors loaded = state_dict(other);
    for (std::size_t i = 0; i < ours.size(); ++i) CHECK_MESSAGE(max_difference(loaded[i].second, ours[i].second) == 0, ours[i].first);
  };
  loads(ours);
  NamedTensors old;
  for (const auto& [name, t] : ours) {
    std::string n = name;
    for (const auto& [now, then] : {std::pair("to_q", "query"), std::pair("to_k", "key"), std::pair("to_v", "value"), std::pair("to_out.0", "proj_attn")})
      if (const std::size_t at = n.find(now); at != std::string::npos) n.replace(at, std::string(now).size(), then);
    old.emplace_back(n, t);
  }
  CHECK(layout_of(old) == Layout::diffusers_vae);
  loads(old);

  NamedTensors compvis = to_published_names(ours, "compvis");
  CHECK(layout_of(compvis) == Layout::compvis_vae);
  const auto shape_of = [&](const std::string& name) {
    for (const auto& [n, t] : compvis)
      if (n == name) return t.shape();
    return Shape{};
  };
  // decoder.up_blocks.0 has the lowest resolution, decoder.up.2 too.
  CHECK(shape_of("decoder.up.0.block.0.conv1.weight") == Shape{8, 12, 3, 3});
  CHECK(shape_of("decoder.up.0.block.0.nin_shortcut.weight") == Shape{8, 12, 1, 1});
  CHECK(shape_of("decoder.up.2.upsample.conv.weight") == Shape{16, 16, 3, 3});
  CHECK(shape_of("encoder.down.1.block.0.nin_shortcut.weight") == Shape{12, 8, 1, 1});
  CHECK(shape_of("encoder.down.0.downsample.conv.bias") == Shape{8});
  CHECK(shape_of("encoder.mid.attn_1.q.weight") == Shape{16, 16, 1, 1});
  CHECK(shape_of("decoder.mid.attn_1.proj_out.weight") == Shape{16, 16, 1, 1});
  CHECK(shape_of("decoder.mid.attn_1.norm.bias") == Shape{16});
  CHECK(shape_of("decoder.mid.block_2.conv2.bias") == Shape{16});
  CHECK(shape_of("decoder.norm_out.weight") == Shape{8});
  CHECK(shape_of("post_quant_conv.weight") == Shape{2, 2, 1, 1});
  compvis.emplace_back("loss.logvar", Tensor::zeros({1}));
  compvis.emplace_back("model_ema.decoderconv_inweight", Tensor::zeros({1}));
  loads(compvis);
  NamedTensors whole{{"model.diffusion_model.out.2.weight", Tensor::zeros({1})}, {"cond_stage_model.logit_scale", Tensor::zeros({1})}};
  for (const auto& [name, t] : compvis) whole.emplace_back("first_stage_model." + name, t);
  loads(whole);
  for (const auto& entry : to_our_names(whole, "vae")) CHECK_MESSAGE(!has(entry.first, "loss"), entry.first);

  compvis.emplace_back("encoder.surprise", Tensor::zeros({1}));
  CHECK_THROWS_WITH_AS(loads(compvis), doctest::Contains("encoder.surprise"), FileError);
  CHECK_THROWS_WITH_AS(to_our_names(ours, "decoder"), doctest::Contains("no decoder in this file: it is an AutoencoderKL of diffusers"), FileError);
  CHECK_THROWS_AS(to_published_names({{"a", Tensor::zeros({1})}}, "compvis"), FileError);
}
