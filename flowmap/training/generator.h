// From trained weights to samples.
#pragma once

#include <functional>

#include "data/image.h"
#include "flowmap/network.h"
#include "flowmap/sampler.h"
#include "flowmap/training/latent_space.h"
#include "flowmap/velocity.h"
#include "tensor/error.h"
#include "tensor/random/fill.h"

namespace fm {

// Noise of sample number i is a function of (seed, i): the same sample in any batch and with any number of steps.
Tensor sample_noise(const Samples& samples, const Shape& latent, std::uint64_t seed);

struct SamplesNotFinite : Error { using Error::Error; };   // weights with NaN, or a training that diverged

// SamplesNotFinite when a row of x (n, ...) is not finite; it names its sample, samples[first + row].
void refuse_not_finite(const Tensor& x, const std::string& what, const Samples& samples, std::int64_t first = 0);

// labels[i] for sample number samples[i] -> images (n, channels, H, W) in [0, 1], on the CPU, `batch` at a time: `take(first, images)` receives
// the images from samples[first] on. `generate` maps noise and labels to latents of `space`. SamplesNotFinite names the first sample that is not finite.
using LatentGenerator = std::function<Tensor(const Tensor& noise, const Labels& y)>;
void generate_batches(const LatentSpace& space, const LatentGenerator& generate, const Samples& samples, const std::vector<std::int64_t>& labels,
                      std::uint64_t seed, std::int64_t batch, const std::function<void(std::int64_t first, const Tensor& images)>& take);
// The same in one piece.
Tensor generate_images(const LatentSpace& space, const LatentGenerator& generate, const Samples& samples, const std::vector<std::int64_t>& labels,
                       std::uint64_t seed, std::int64_t batch);

// The batch size whose passes use about half a gigabyte, from the bytes of one sample (nn/flops/activations.h); 1 to 256.
std::int64_t batch_for(std::int64_t bytes_a_sample);

// Classifier-free guidance at times in the interval; with scale 1 the network itself. `classes`: the null label.
VelocityNet guided(VelocityNet teacher, double scale, std::int64_t classes, Interval interval = {});

// Ignores the given labels: for networks without labels.
LatentGenerator without_labels(LatentGenerator generate);

// u(z, s, t) = u(z, t, t): jumps of a network that was trained at s = t alone are steps of Euler's method.
FlowMapNet euler_jumps(FlowMapNet u);

// Samples in this number of calls, by the sampler for the trained jumps: jumps, noise added between calls (sample_renoised), or steps of Euler's method. ConfigError if
// takes_calls() refuses the number.
LatentGenerator flow_map_generator(FlowMapNet u, int steps, Jumps jumps = Jumps::any);
LatentGenerator ode_generator(VelocityNet v, int points, double shift, Solver solver = Solver::euler);

// (n, C, H, W) in [0, 1] as 8-bit images: 255 x rounded to the nearest integer, or truncated, as in the published samplers.
// SamplesNotFinite names the first row that is not finite.
enum class Rounding { nearest, truncate };
std::vector<Image> to_images(const Tensor& batch, Rounding rounding = Rounding::nearest);

}  // namespace fm
