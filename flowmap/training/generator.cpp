#include "flowmap/training/generator.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "flowmap/draws.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/sampler_adaptive.h"
#include "flowmap/sampler_sde.h"
#include "tensor/narrow.h"
#include "tensor/ops/copy.h"

namespace fm {

Tensor sample_noise(const Samples& samples, const Shape& latent, std::uint64_t seed) {
  return Draws{seed, 0, samples}.normal(latent, DType::f32, Purpose::sampling);
}

void refuse_not_finite(const Tensor& x, const std::string& what, const Samples& samples, std::int64_t first) {
  if (const std::int64_t bad = first_row_not_finite(x); bad >= 0)
    throw SamplesNotFinite(fmt::format("{} of sample {} are not finite: the weights are damaged or their training diverged", what,
                                       samples[static_cast<std::size_t>(first + bad)]));
}

void generate_batches(const LatentSpace& space, const LatentGenerator& generate, const Samples& samples, const std::vector<std::int64_t>& labels,
                      std::uint64_t seed, std::int64_t batch, const std::function<void(std::int64_t first, const Tensor& images)>& take) {
  const PauseTape pause;
  const auto n = static_cast<std::int64_t>(samples.size());
  for (std::int64_t i = 0; i < n; i += batch) {
    const std::int64_t end = std::min(n, i + batch);
    const Tensor y = Tensor::from(std::vector<std::int64_t>(labels.begin() + i, labels.begin() + end), {end - i});
    const Tensor z = generate(sample_noise({samples.begin() + i, samples.begin() + end}, space.shape(), seed), y);
    refuse_not_finite(z, "latents", samples, i);
    const Tensor images = space.decode(z).to(Device{});
    refuse_not_finite(images, "pixels", samples, i);
    take(i, images);
  }
}

Tensor generate_images(const LatentSpace& space, const LatentGenerator& generate, const Samples& samples, const std::vector<std::int64_t>& labels,
                       std::uint64_t seed, std::int64_t batch) {
  std::vector<Tensor> parts;
  generate_batches(space, generate, samples, labels, seed, batch, [&](std::int64_t, const Tensor& images) { parts.push_back(images); });
  return concat(parts, 0);
}

std::int64_t batch_for(std::int64_t bytes_a_sample) {
  return std::clamp<std::int64_t>((std::int64_t{1} << 29) / std::max<std::int64_t>(1, bytes_a_sample), 1, 256);
}

VelocityNet guided(VelocityNet teacher, double scale, std::int64_t classes, Interval interval) {
  return scale == 1 ? teacher : cfg(std::move(teacher), scale, classes, interval);
}

LatentGenerator without_labels(LatentGenerator generate) {
  return [generate = std::move(generate)](const Tensor& noise, const Labels&) { return generate(noise, {}); };
}

FlowMapNet euler_jumps(FlowMapNet u) {
  return [u = std::move(u)](const Var& z, const Var&, const Var& t, const Labels& y) { return u(z, t, t, y); };
}

LatentGenerator flow_map_generator(FlowMapNet u, int steps, Jumps jumps) {
  if (!takes_calls(jumps, steps)) throw ConfigError(fmt::format("--calls {}: this flow map {}", steps, sampler_of(jumps).text));
  if (jumps == Jumps::none) u = euler_jumps(std::move(u));
  return [u = std::move(u), grid = plain_grid(steps), renoised = jumps == Jumps::to_data](const Tensor& noise, const Labels& y) {
    return renoised ? sample_renoised(u, noise, y, grid) : sample_flow_map(u, noise, y, grid);
  };
}

namespace {

constexpr std::pair<const char*, TeacherSolver> teacher_solvers[] = {
    {"euler", TeacherSolver::euler}, {"heun", TeacherSolver::heun}, {"dopri5", TeacherSolver::dopri5}, {"sde", TeacherSolver::sde}};

}  // namespace

std::vector<std::string> teacher_solver_names() {
  std::vector<std::string> names;
  for (const auto& solver : teacher_solvers) names.emplace_back(solver.first);
  return names;
}

TeacherSolver teacher_solver_named(const std::string& name) {
  for (const auto& [known, solver] : teacher_solvers)
    if (name == known) return solver;
  throw ConfigError(fmt::format("there is no solver '{}': known are {}", name, fmt::join(teacher_solver_names(), ", ")));
}

LatentGenerator velocity_generator(VelocityNet v, int steps, double shift, TeacherSolver solver, std::shared_ptr<AdaptiveWork> work, const SdeConfig& sde) {
  return velocity_generator(std::move(v), teacher_grid(steps + 1, shift), solver, std::move(work), sde);
}

namespace {

LatentGenerator adaptive_generator(VelocityNet v, std::shared_ptr<AdaptiveWork> work) {
  return [v = std::move(v), work = std::move(work)](const Tensor& noise, const Labels& y) {
    const AdaptiveSamples made = sample_adaptive(v, noise, y);
    if (work) ++work->batches, work->calls += made.calls, work->steps += made.steps, work->rejected += made.rejected;
    return made.samples;
  };
}

}  // namespace

LatentGenerator velocity_generator(VelocityNet v, Grid grid, TeacherSolver solver, std::shared_ptr<AdaptiveWork> work, const SdeConfig& sde) {
  const int steps = narrow<int>(std::ssize(grid)) - 1;
  if (solver == TeacherSolver::dopri5) {
    if (steps != 1) throw ConfigError(fmt::format("--calls {}: dopri5 chooses the number of its steps itself: leave --calls out", steps));
    return adaptive_generator(std::move(v), std::move(work));
  }
  if (solver == TeacherSolver::sde) {
    if (steps < 2) throw ConfigError(fmt::format("--calls {}: the SDE needs at least 2 calls; SiT takes 250", steps));
    SdeConfig config = sde;
    config.calls = steps;
    return [v = std::move(v), config](const Tensor& noise, const Labels& y) { return sample_sde(v, noise, y, config); };
  }
  return [v = std::move(v), grid = std::move(grid), kind = solver == TeacherSolver::heun ? Solver::heun : Solver::euler](
             const Tensor& noise, const Labels& y) { return sample_ode(v, noise, y, grid, kind); };
}

namespace {

Image truncated(const float* planes, int channels, int height, int width) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(channels) * static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(std::clamp(255.0f * planes[i], 0.0f, 255.0f));
  return image_from_planes(bytes.data(), channels, height, width);
}

}  // namespace

std::vector<Image> to_images(const Tensor& batch, Rounding rounding) {
  const Tensor x = batch.contiguous().to(Device{});
  refuse_not_finite(x, "pixels", consecutive(0, x.dim(0)));
  const int channels = narrow<int>(x.dim(1)), height = narrow<int>(x.dim(2)), width = narrow<int>(x.dim(3));
  std::vector<Image> out;
  for (std::int64_t i = 0; i < x.dim(0); ++i) {
    const float* planes = x.select(0, i).data<float>();
    out.push_back(rounding == Rounding::nearest ? image_from_planes(planes, channels, height, width)
                                                : truncated(planes, channels, height, width));
  }
  return out;
}

}  // namespace fm
