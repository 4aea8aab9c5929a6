#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/memory/machine_memory.h"

namespace fm {

void check_fits(const std::string& name, std::int64_t count, std::int64_t bytes) {
  constexpr double gib = 1 << 30;
  const double needed = double(count) * double(bytes);
  const MemoryLimit limit = machine_memory();
  if (needed > limit.bytes)
    throw ConfigError(fmt::format("{}: {} images take {:.1f} GiB in memory, {} has {:.1f} GiB: take fewer (limit or count after '?'), or "
                                  "read a folder's images as they are needed (--latents images)",
                                  name, count, needed / gib, limit.whose, limit.bytes / gib));
}

Dataset padded(const Dataset& data, int size) {
  if (size < std::max(data.height, data.width)) {
    throw ShapeError(fmt::format("padded: size {} is below the images' {}x{}", size, data.height, data.width));
  }
  Dataset out{data.name, data.count, data.channels, size, size, {}, data.labels, data.class_names, data.notes};
  out.pixels.assign(std::size_t(out.count * out.sample_size()), 0);
  const int top = (size - data.height) / 2, left = (size - data.width) / 2;
  for (std::int64_t plane = 0; plane < data.count * data.channels; ++plane) {
    for (int y = 0; y < data.height; ++y) {
      std::copy_n(data.pixels.data() + (plane * data.height + y) * data.width, data.width,
                  out.pixels.data() + (plane * size + top + y) * size + left);
    }
  }
  return out;
}

Dataset first_samples(Dataset data, std::int64_t count) {
  if (count >= data.count) return data;
  data.count = count;
  data.pixels.resize(std::size_t(count * data.sample_size()));
  data.labels.resize(std::size_t(count));
  return data;
}

}  // namespace fm
