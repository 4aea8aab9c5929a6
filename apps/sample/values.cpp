#include "apps/sample/values.h"

#include <fmt/format.h>

#include <optional>

#include "apps/cli/progress.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"

namespace fm {

void draw_values(const Source& source, const PictureConfig& c, std::uint64_t seed, Logger& log) {
  if (!c.pngs.empty() || (!c.grid.empty() && c.grid != PictureConfig().grid))
    throw ConfigError(fmt::format("--pngs and --grid are for images, but samples of this run are {}: give --npz FILE", to_string(source.space.shape())));
  if (c.npz.empty()) throw ConfigError(fmt::format("samples of this run are {}, not images: give --npz FILE for their values", to_string(source.space.shape())));
  prepare_file("npz", c.npz, ".npz");
  const std::vector<std::int64_t> labels = labels_of(c.labels, c.first, c.count, source.classes, seed, source.class_names);
  NpzWriter npz(c.npz);
  const Shape shape = source.space.shape();
  npz.begin("arr_0", DType::f32, {shape.begin(), shape.end()});
  generate_batches(source.space, source.generate, consecutive(c.first, c.count), labels, seed, batch_of(c, source),
                   [&](std::int64_t first, const Tensor& values) {
                     const Tensor rows = values.contiguous();
                     npz.append(std::span<const float>(rows.data<float>(), static_cast<std::size_t>(rows.numel())));
                     log.status(fmt::format("{}/{} samples", first + rows.dim(0), c.count));
                   });
  log.end_status();
  npz.end();
  npz.finish();
  log.info("{} samples of {} in {}", c.count, to_string(shape), c.npz);
}

}  // namespace fm
