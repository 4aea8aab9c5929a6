// Generates samples from trained weights.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "flowmap/network.h"
#include "flowmap/sampler.h"
#include "flowmap/sampler_sde.h"
#include "flowmap/training/latent_space.h"
#include "flowmap/velocity.h"
#include "tensor/error.h"
#include "tensor/random/fill.h"

namespace fm {

// The noise of sample number i is a function of (seed, i). It depends neither on the batch nor on the number of steps.
Tensor sample_noise(const Samples& samples, const Shape& latent, std::uint64_t seed);

struct SamplesNotFinite : Error { using Error::Error; };   // weights with NaN, or a training that diverged

// Throws SamplesNotFinite if a row of x (n, ...) is not finite. The message names the row's sample, samples[first + row].
void refuse_not_finite(const Tensor& x, const std::string& what, const Samples& samples, std::int64_t first = 0);

// Generates sample number samples[i] with label labels[i], for all i, `batch` at a time. take(first, images) receives the images from samples[first] on:
// (n, channels, H, W) in [0, 1], on the CPU. `generate` maps noise and labels to latents of `space`. SamplesNotFinite names the first sample that is not
// finite.
using LatentGenerator = std::function<Tensor(const Tensor& noise, const Labels& y)>;
void generate_batches(const LatentSpace& space, const LatentGenerator& generate, const Samples& samples, const std::vector<std::int64_t>& labels,
                      std::uint64_t seed, std::int64_t batch, const std::function<void(std::int64_t first, const Tensor& images)>& take);
// Like generate_batches(), but returns all images as one tensor.
Tensor generate_images(const LatentSpace& space, const LatentGenerator& generate, const Samples& samples, const std::vector<std::int64_t>& labels,
                       std::uint64_t seed, std::int64_t batch);

// Returns the batch size whose passes use about half a gigabyte, from the bytes of one sample (nn/flops/activations.h). The result is from 1 to 256.
std::int64_t batch_for(std::int64_t bytes_a_sample);

// Returns the teacher with classifier-free guidance at times in the interval, or the teacher itself if scale is 1. `classes`: the null label.
VelocityNet guided(VelocityNet teacher, double scale, std::int64_t classes, Interval interval = {});

// Returns a generator that ignores labels, for networks without labels.
LatentGenerator without_labels(LatentGenerator generate);

// Returns (z, s, t) -> u(z, t, t). Jumps of this map are steps of Euler's method, for networks that were trained only at s = t.
FlowMapNet euler_jumps(FlowMapNet u);

// Returns a generator that calls u this number of times for a sample. The trained jumps decide its sampler: jumps, jumps with noise added between the calls
// (sample_renoised), or steps of Euler's method. ConfigError if takes_calls() refuses the number.
LatentGenerator flow_map_generator(FlowMapNet u, int steps, Jumps jumps = Jumps::any);

// How a teacher makes samples: by steps of Euler's or Heun's method on a grid, by a solver that chooses its own steps down to t = 0 (sample_adaptive), or
// by the SDE of SiT (sample_sde).
enum class TeacherSolver { euler, heun, dopri5, sde };
std::vector<std::string> teacher_solver_names();
TeacherSolver teacher_solver_named(const std::string& name);         // ConfigError for a name that is not in the list

// The work of dopri5 over all batches of a generator: calls of the velocity, accepted and rejected steps.
struct AdaptiveWork {
  std::int64_t batches = 0, calls = 0, steps = 0, rejected = 0;
};

// Returns a generator of `steps` steps: of teacher_grid(steps + 1, shift), or of the SDE, each with one call but heun's with two. dopri5 adds its numbers to
// `work`, if given. `sde`: its diffusion and last step; its number of calls is that of the steps. ConfigError if dopri5 is given another number than 1, or the SDE fewer than 2.
LatentGenerator velocity_generator(VelocityNet v, int steps, double shift, TeacherSolver solver = TeacherSolver::euler, std::shared_ptr<AdaptiveWork> work = {}, const SdeConfig& sde = {});
// The same on another grid for euler and heun; the number of steps is grid.size() - 1.
LatentGenerator velocity_generator(VelocityNet v, Grid grid, TeacherSolver solver, std::shared_ptr<AdaptiveWork> work = {}, const SdeConfig& sde = {});

// Returns (n, C, H, W) in [0, 1] as 8-bit images. 255 x is rounded to the nearest integer, or truncated, as in the published samplers.
// SamplesNotFinite names the first row that is not finite.
enum class Rounding { nearest, truncate };
std::vector<Image> to_images(const Tensor& batch, Rounding rounding = Rounding::nearest);

}  // namespace fm
