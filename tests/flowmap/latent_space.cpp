// A latent space normalizes its latents as the formula of the statistics says, in double precision, and decoding undoes it.
#include "flowmap/training/latent_space.h"

#include <doctest/doctest.h>

#include <cmath>

#include "flowmap/training/rae_space.h"
#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

// (500, 3): two elements with different means and deviations, and one that is the same in all samples.
Tensor uneven_samples() {
  const Tensor x = normal({500, 3}, 7, DType::f32).clone();
  float* v = x.data<float>();
  for (std::int64_t i = 0; i < 500; ++i) v[3 * i] = 40 * v[3 * i] - 1000, v[3 * i + 1] = 0.001f * v[3 * i + 1] + 3, v[3 * i + 2] = 0.1f;
  return x;
}

struct Moments2 {
  double mean = 0, variance = 0;
};
Moments2 moments(const Tensor& x, std::size_t element) {
  const std::vector<double> v = x.to_vector<double>();
  const auto size = static_cast<std::size_t>(x.numel() / x.dim(0)), n = v.size() / size;
  Moments2 m;
  for (std::size_t i = 0; i < n; ++i) m.mean += v[i * size + element] / static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) m.variance += std::pow(v[i * size + element] - m.mean, 2) / static_cast<double>(n);
  return m;
}

std::shared_ptr<Rae> small_rae() {
  RaeConfig c;
  c.encoder.patch_size = 4, c.encoder.width = 8, c.encoder.depth = 1, c.encoder.heads = 2, c.encoder.mlp_width = 8;
  c.encoder.image_size = 8, c.encoder.channels = c.decoder.image_channels = 1;
  c.decoder.width = 8, c.decoder.depth = 1, c.decoder.heads = 2, c.decoder.mlp_width = 8;
  c.decoder.latent_channels = 8, c.decoder.latent_size = 2, c.decoder.patch_size = 4;
  return std::make_shared<Rae>(c, 1);
}

LatentStats some_stats() {
  return {normal({8, 2, 2}, 3, DType::f32), square(normal({8, 2, 2}, 4, DType::f32)) + 0.5};
}

}  // namespace

TEST_CASE("without statistics, the latents are the samples, bit for bit") {
  const LatentSpace space = identity_space({3});
  const Tensor x = uneven_samples();
  CHECK(space.encode(x).to_vector<float>() == x.to_vector<float>());
  CHECK(space.decode(x).to_vector<float>() == x.to_vector<float>());
  CHECK(space.shape() == Shape{3});
  CHECK(space.decoding().empty());
}

TEST_CASE("with statistics, each element of the latents has mean 0 and variance 1, and decoding inverts the scaling") {
  const Tensor x = uneven_samples();
  const LatentStats stats = statistics_of(x);
  const LatentSpace space = identity_space({3}, stats);
  const Tensor z = space.encode(x);
  for (std::size_t k : {0u, 1u}) {
    CHECK(near(stats.variance.to_vector<double>()[k], moments(x, k).variance, 1e-6));
    CHECK(near(stats.mean.to_vector<double>()[k], moments(x, k).mean, 1e-6));
    CHECK(near_zero(moments(z, k).mean, 1e-3));                    // the mean 3 is 3000 deviations, so f32 resolves 2e-4 of a deviation
    CHECK(near(moments(z, k).variance, 1, 1e-3));
  }
  CHECK(near_zero(moments(z, 2).mean, 1e-6));                      // a constant element becomes 0, not amplified rounding
  CHECK(max_difference(space.decode(z), x) < 1e-4);
  CHECK(max_difference(space.normalised({x}), z) == 0);
  const Tensor few = x.slice(0, 0, 2).clone();
  CHECK(max_difference(space.encode(few), z.slice(0, 0, 2)) == 0);   // a latent does not depend on the other rows
}

TEST_CASE("data may have any unit that f32 can hold; a variance out of range is an error that names the element") {
  const Tensor x = normal({64, 2}, 9, DType::f32);
  for (const double unit : {1e-9, 1e9}) {
    const Tensor scaled = x * unit;
    const Tensor z = identity_space({2}, statistics_of(scaled)).encode(scaled);
    CHECK(near(moments(z, 1).variance, 1, 1e-4));
  }
  CHECK(error_of<ConfigError>([&] { statistics_of(x * 1e-18); }).find("element 0 of the samples has variance") != std::string::npos);
  CHECK(error_of<ConfigError>([&] { statistics_of(x.slice(0, 0, 1)); }).find("statistics of 1 sample") != std::string::npos);
}

TEST_CASE("latents and statistics of another shape are refused") {
  const LatentSpace space = identity_space({3}, statistics_of(uneven_samples()));
  const std::string what = error_of<ShapeError>([&] { space.decode(Tensor::zeros({5, 4})); });
  CHECK_MESSAGE(what.find("[5, 4]; their rows must be [3]") != std::string::npos, what);
  CHECK_THROWS_AS(space.encode(Tensor::zeros({3})), ShapeError);
  CHECK_THROWS_AS(identity_space({4}, statistics_of(uneven_samples())), ShapeError);
}

TEST_CASE("a latent space's fingerprint changes with its statistics, shape, preprocessing and encoder weights") {
  const LatentStats stats = statistics_of(uneven_samples());
  LatentStats others = stats;
  others.mean = stats.mean + 1.0;
  const std::string plain = identity_space({3}).fingerprint(), scaled = identity_space({3}, stats).fingerprint();
  CHECK(plain != scaled);
  CHECK(scaled == identity_space({3}, stats).fingerprint());
  CHECK(scaled != identity_space({3}, others).fingerprint());
  CHECK(plain != identity_space({4}).fingerprint());
  const auto rae = small_rae();
  const std::string before = rae_space(rae, some_stats()).fingerprint();
  LatentCoder seen_otherwise = rae_coder(rae);
  seen_otherwise.preprocessing += ", mirrored";
  CHECK(LatentSpace(seen_otherwise, some_stats()).fingerprint() != before);
  for_each_parameter(rae->encoder, [](const std::string&, Parameter& p) { p.value.copy_from(p.value * 2.0); });
  CHECK(rae_space(rae, some_stats()).fingerprint() != before);
}

TEST_CASE("the latent space of an RAE is its encoder and decoder with the statistics in between") {
  const auto rae = small_rae();
  const LatentStats stats = some_stats();
  const LatentSpace space = rae_space(rae, stats);
  const Tensor images = normal({3, 1, 8, 8}, 5, DType::f32) * 0.2 + 0.5, raw = rae->encode(images);
  const Tensor wanted = (raw.to(DType::f64) - stats.mean.to(DType::f64)) / sqrt(stats.variance.to(DType::f64) + 1e-5);
  CHECK(max_difference(space.encode(images), wanted) < 1e-5);
  CHECK(max_difference(space.decode(space.encode(images)), rae->decode(raw)) < 1e-5);
  CHECK(space.coder().encoder() == Checksums{{"encoder", checksum(state_dict(rae->encoder))}});
  CHECK(space.decoding() == "decoder " + checksum(state_dict(rae->decoder)) + " stats " + checksum({{"var", stats.variance}, {"mean", stats.mean}}));
  LatentStats moved = stats;
  moved.mean = stats.mean + 1.0;                                     // moves the decoded images too
  CHECK(rae_space(rae, moved).decoding() != space.decoding());
  CHECK(error_of<Error>([&] { rae_space(rae, {}); }).find("there are no statistics of latents") != std::string::npos);

  const auto decoder = std::make_shared<RaeDecoder>(clone(rae->decoder));
  const LatentSpace decoder_alone(rae_coder(decoder, rae->config), stats);
  CHECK(max_difference(decoder_alone.decode(space.encode(images)), space.decode(space.encode(images))) == 0);
  CHECK_THROWS_AS(decoder_alone.encode(images), Error);
  decoder->config.precision = "bf16";                                        // the same weights give other samples
  CHECK(decoder_alone.coder().decoder() == checksum(state_dict(*decoder)) + " bf16");
}
