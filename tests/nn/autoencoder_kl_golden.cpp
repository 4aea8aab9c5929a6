// AutoencoderKL (SD-VAE) at full width against golden numbers of diffusers' module (sdvae-sit.md 8.1): the whole, and after each part.
#include "autodiff/rules/elementwise.h"
#include "nn/models/autoencoder_kl.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

struct Wanted {
  std::vector<double> first;
  double norm;
  std::vector<double> last;
  double mean = 0;                               // 0: not given
};

// `digits`: half a unit in the last printed place; `error`: the largest error of an element besides that.
void check_numbers(const char* part, const Tensor& y, const Wanted& w, double digits, double error) {
  CAPTURE(part);
  const std::vector<double> v = y.to_vector<double>();
  double squares = 0, sum = 0;
  for (const double x : v) squares += x * x, sum += x;
  for (std::size_t i = 0; i < w.first.size(); ++i) CHECK(near_within(v[i], w.first[i], digits + error));
  for (std::size_t i = 0; i < w.last.size(); ++i) CHECK(near_within(v[v.size() - w.last.size() + i], w.last[i], digits + error));
  CHECK(near(std::sqrt(squares), w.norm, std::max(error, 1e-8) / std::max(1.0, std::sqrt(squares / static_cast<double>(v.size())))));
  if (w.mean != 0) CHECK(near_within(sum / static_cast<double>(v.size()), w.mean, error + 1e-11));
}

Tensor image(DType type) { return golden_input({1, 3, 64, 64}).to(type); }
Tensor latent(DType type) { return golden_input({1, 4, 8, 8}).to(type); }

}  // namespace

TEST_CASE("rule A in f64: every part of the encoder and the decoder has the published module's values") {
  AutoencoderKL model{AutoencoderKLConfig{}};
  fill_by_rule(model);
  to_dtype(model, DType::f64);
  const auto part = [](const char* name, const Var& h, const Wanted& w) { check_numbers(name, h.value(), w, 0.5e-8, 1e-8 * std::fabs(w.first[0])); };

  Var h = model.encoder.conv_in(image(DType::f64));
  part("encoder.conv_in", h, {{0.03021906, 0.09130658, 0.09356809, 0.09576506}, 147.13633477, {}});
  const std::vector<Wanted> down{{{-1.21451611, -1.98988702, -2.58381762, -3.00203593}, 1104.71366420, {}},
                                 {{0.64072099, 0.90328485, 0.86365452, 0.61548261}, 298.02991975, {}},
                                 {{0.45839580, 0.46422097, 0.47146248, 0.50345146}, 113.30740549, {}},
                                 {{7.55433345, 12.97939567, 12.14882072, 6.84506892}, 1049.63716913, {}}};
  for (std::size_t i = 0; i < 4; ++i) part("encoder.down_blocks", h = model.encoder.down_blocks[i](h), down[i]);
  h = model.encoder.mid_block(h);
  part("encoder.mid_block", h, {{3.64117506, 5.35562881, 5.15568350, 3.33775095}, 1232.32480341, {}});
  const Var moments = model.quant_conv(model.encoder.conv_out(silu(model.encoder.conv_norm_out(h))));
  check_numbers("moments", moments.value(),
                {{0.101642111, 0.097442158, 0.095010623, 0.100723790, 0.101758694, 0.097128663, 0.094456158, 0.092943389}, 2.5493003871, {},
                 -0.008841198842}, 0.5e-9, 1e-9);
  const DiagonalGaussian posterior(moments);
  check_numbers("std", posterior.std().value(), {{0.954029106, 0.955423874, 0.956604214, 0.954645027}, 15.5938137866, {}}, 0.5e-9, 1e-9);
  check_numbers("scaled mean", (posterior.mean * model.config.scale).value(), {{0.018514110, 0.017749089, 0.017306185, 0.018346838}, 0.3191772676, {}}, 0.5e-9, 1e-9);

  h = model.decoder.conv_in(model.post_quant_conv(latent(DType::f64)));
  part("decoder.conv_in", h, {{0.05449370, 0.05041270, 0.05013040, 0.04984124}, 10.30507998, {}});
  h = model.decoder.mid_block(h);
  part("decoder.mid_block", h, {{7.20284487, 5.54434886, 3.77729077, 3.31159521}, 1402.99071062, {}});
  const std::vector<Wanted> up{{{-0.59851270, -0.46832382, -0.43313024, -0.33211314}, 315.43095597, {}},
                               {{0.13425655, 0.21460588, 0.25668382, 0.31357706}, 208.67475772, {}},
                               {{0.43331224, 0.62087213, 0.62769818, 0.64022461}, 1321.91712008, {}},
                               {{-0.90412789, -0.90628341, -0.90104795, -0.89878348}, 8003.79117825, {}}};
  for (std::size_t i = 0; i < 4; ++i) part("decoder.up_blocks", h = model.decoder.up_blocks[i](h), up[i]);
  const Var pixels = model.decoder.conv_out(silu(model.decoder.conv_norm_out(h)));
  check_numbers("decode", pixels.value(),
                {{0.022477790, 0.009390984, 0.009360760, 0.009361990, 0.009356649, 0.009360325, 0.009376783, 0.009410972}, 437.3909504009, {},
                 0.068064086397}, 0.5e-9, 1e-9);
}

TEST_CASE("rule B: moments, deviations and decoded images are the published module's, in f32 and f64") {
  AutoencoderKL model{AutoencoderKLConfig{}};
  fill_by_rule_b(model);
  const auto first = model.encoder.conv_in.weight.value.to_vector<float>();
  const float wanted[] = {0.25554052f, 0.04437435f, 0.06079312f, -0.25769982f};
  for (std::size_t i = 0; i < 4; ++i) CHECK(near(first[i], wanted[i], 1e-7));
  for (const DType type : {DType::f32, DType::f64}) {
    to_dtype(model, type);
    const bool exact = type == DType::f64;
    const Var moments = model.moments(image(type));
    check_numbers("moments", moments.value(),
                  {{0.910325371, 0.468438439, 0.326925152, -0.015593172, -0.286181786, -0.458854149, -0.092231475, -0.525501855}, 12.7439562101,
                   {-1.434723840, -0.855259366, -0.180681176, 0.201762154}, -0.077715451450}, 0.5e-9, exact ? 1e-9 : 5 * 1.9e-6);
    check_numbers("std", DiagonalGaussian(moments).std().value(),
                  {{0.561003828, 0.712957575, 0.817465416, 1.227039925}, 17.3342975845, {}}, 0.5e-9, exact ? 1e-9 : 5 * 1.9e-6);
    check_numbers("decode", model.decode(latent(type)).value(),
                  {{0.165635347, 0.192452760, 0.247519137, 0.150983697, 0.169256275, 0.140891392, 0.071316917, 0.096613359}, 76.8655574188,
                   {-0.111751520, -0.056714719, -0.164769372, -0.041298971}, 0.312554681284}, 0.5e-9, exact ? 1e-9 : 5 * 3.4e-6);
  }
}
