// A variational autoencoder as a latent space: the posterior, the latents that are drawn from it, and the scale that follows from the data.
#include "flowmap/training/vae_space.h"

#include <doctest/doctest.h>

#include <cmath>

#include "nn/loaded.h"
#include "nn/models/autoencoder_kl_tiles.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

std::shared_ptr<AutoencoderKL> small_vae() {
  AutoencoderKLConfig c;
  c.image_channels = 1, c.latent_channels = 3, c.widths = {8, 8}, c.resnets = 1, c.groups = 4;
  return std::make_shared<AutoencoderKL>(c, 1);
}

Tensor some_images() { return clamp(normal({5, 1, 8, 8}, 5, DType::f32) * 0.2 + 0.5, 0, 1); }

Draws draws_of_step(std::uint32_t step, std::int64_t rows = 5) { return {7, step, consecutive(0, rows)}; }

}  // namespace

TEST_CASE("raw latents are mean and deviation of the posterior of 2x - 1; encode gives the scaled mean; decoding undoes scale and range") {
  const auto vae = small_vae();
  const LatentSpace space(vae_coder(vae, 8), scaling_by(0.25, {3, 4, 4}));
  const Tensor x = some_images(), raw = space.coder().encode(x);
  const DiagonalGaussian posterior = vae->posterior(x * 2.0 - 1.0);
  CHECK(space.shape() == Shape{3, 4, 4});
  CHECK(raw.shape() == Shape{5, 6, 4, 4});
  CHECK(max_difference(raw.slice(1, 0, 3), posterior.mean.value()) == 0);
  CHECK(max_difference(raw.slice(1, 3, 6), posterior.std().value()) == 0);
  CHECK(max_difference(space.encode(x), posterior.mean.value() * 0.25) < 1e-6);
  const Tensor z = normal({5, 3, 4, 4}, 6, DType::f32);
  CHECK(max_difference(space.decode(z), clamp(vae->decode(z * 4.0).value() * 0.5 + 0.5, 0, 1)) < 1e-6);
}

TEST_CASE("decoding in tiles lets neighbors overlap by a quarter of a tile") {
  const auto vae = small_vae();
  const Tensor raw = normal({1, 3, 20, 20}, 6, DType::f32);        // tiles from 0, 6 and 12; with an overlap of 1 from 0, 7 and 12
  const auto in_tiles = [&](std::int64_t overlap) { return clamp(decode_tiles(*vae, raw, {.tile = 8, .overlap = overlap}) * 0.5 + 0.5, 0, 1); };
  const Tensor decoded = vae_coder(vae, 40, 8).decode(raw);
  CHECK(max_difference(decoded, in_tiles(2)) == 0);
  CHECK(max_difference(decoded, in_tiles(1)) > 1e-4);
}

TEST_CASE("a latent is drawn anew at each step, from the posterior's mean and deviation, and is the same in any part of the batch") {
  const LatentSpace space(vae_coder(small_vae(), 8), scaling_by(0.5, {3, 4, 4}));
  const RawLatents raw{concat(std::vector<Tensor>{normal({5, 3, 4, 4}, 1, DType::f32), square(normal({5, 3, 4, 4}, 2, DType::f32)) + 0.1}, 1)};
  const Tensor mean = raw.values.slice(1, 0, 3), deviation = raw.values.slice(1, 3, 6);
  const Tensor once = space.sampled(raw, draws_of_step(3));
  const Tensor noise = random_normal_rows(consecutive(0, 5), {3, 4, 4}, {7, static_cast<std::uint32_t>(Purpose::posterior)}, 3);
  CHECK(max_difference(once, (mean + deviation * noise) * 0.5) < 1e-6);
  CHECK(max_difference(once, space.sampled(raw, draws_of_step(4))) > 0.1);
  const RawLatents part{raw.values.slice(0, 2, 5)};
  CHECK(max_difference(space.sampled(part, {7, 3, consecutive(2, 3)}), once.slice(0, 2, 5)) == 0);
  CHECK(max_difference(space.normalised(raw), mean * 0.5) < 1e-6);
  CHECK_THROWS_AS(space.sampled({mean}, draws_of_step(3)), ShapeError);
  CHECK_THROWS_AS(space.normalised({mean}), ShapeError);

  const LatentSpace plain = identity_space({6, 4, 4});             // without a posterior nothing is drawn
  CHECK(max_difference(plain.sampled(raw, draws_of_step(3)), raw.values) == 0);
}

TEST_CASE("the scale of an own autoencoder makes the variance of all numbers of its drawn latents 1") {
  constexpr std::int64_t n = 400;
  const Tensor offset = Tensor::from<float>({3.0f, -1.0f}, {1, 2, 1}), width = Tensor::from<float>({0.5f, 2.0f}, {1, 2, 1});
  const Tensor mean = normal({n, 2, 3}, 1, DType::f32) * width + offset, deviation = square(normal({n, 2, 3}, 2, DType::f32)) * width;
  const LatentStats scaling = scaling_of_posteriors(statistics_of(concat(std::vector<Tensor>{mean, deviation}, 1)));
  const std::vector<double> m = mean.to_vector<double>(), d = deviation.to_vector<double>();
  double first = 0, second = 0;
  for (std::size_t i = 0; i < m.size(); ++i) first += m[i], second += m[i] * m[i] + d[i] * d[i];
  const auto count = static_cast<double>(m.size());
  const double variance = second / count - std::pow(first / count, 2);
  for (const double v : scaling.variance.to_vector<double>()) CHECK(near(v, variance, 1e-5));
  CHECK(scaling.variance.shape() == Shape{2, 3});
  for (const double v : scaling.mean.to_vector<double>()) CHECK(v == 0);
  CHECK(scaling.floor == 0);
  CHECK(near(scaling_by(0.18215, {1}).variance.item(), 1 / (0.18215 * 0.18215), 1e-6));

  LatentStats broken{Tensor::zeros({4}), Tensor::zeros({4})};
  CHECK(error_of<ConfigError>([&] { scaling_of_posteriors(broken); }).find("variance 0 over all their numbers") != std::string::npos);
}

TEST_CASE("the checksums of a variational autoencoder's halves change with the weights of that half") {
  const auto vae = small_vae();
  const LatentCoder coder = vae_coder(vae, 8);
  const auto sums = [&] { return std::pair(coder.encoder().front().second, coder.decoder()); };
  const auto change = [&](const std::string& part) {
    for_each_parameter(*vae, [&](const std::string& name, Parameter& p) {
      if (name.starts_with(part)) p.value.copy_from(p.value + 1.0);
    });
  };
  for (const char* part : {"encoder.conv_in", "quant_conv"}) {
    const auto before = sums();
    change(part);
    CHECK_MESSAGE(sums().first != before.first, part);
    CHECK_MESSAGE(sums().second == before.second, part);
  }
  for (const char* part : {"decoder.conv_in", "post_quant_conv"}) {
    const auto before = sums();
    change(part);
    CHECK_MESSAGE(sums().first == before.first, part);
    CHECK_MESSAGE(sums().second != before.second, part);
  }
  CHECK(error_of<ShapeError>([&] { vae_coder(vae, 9); }).find("images of 9 pixels a side") != std::string::npos);
}
