#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <optional>

#include "data/image_folder.h"
#include "data/shapes.h"
#include "tensor/error.h"
#include "tensor/memory/machine_memory.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

struct Spec {
  std::string text, name;
  std::optional<std::string> path;
  std::map<std::string, std::string> options;

  // The option's whole number, taken out; `fallback` when it is not given.
  std::int64_t number(const std::string& key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
    const auto found = options.find(key);
    if (found == options.end()) return fallback;
    const std::string value = found->second;
    options.erase(found);
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (error != std::errc() || end != value.data() + value.size() || n < low || n > high) {
      throw ConfigError(fmt::format("data '{}': {} = '{}' is not a whole number in [{}, {}]", text, key, value, low, high));
    }
    return n;
  }
  // The option's word, taken out; the first of `words` when it is not given.
  std::string word(const std::string& key, const std::vector<std::string>& words) {
    const auto found = options.find(key);
    if (found == options.end()) return words.front();
    const std::string value = found->second;
    options.erase(found);
    if (std::find(words.begin(), words.end(), value) == words.end())
      throw ConfigError(fmt::format("data '{}': {} = '{}' is none of {}", text, key, value, fmt::join(words, ", ")));
    return value;
  }
  void finish(const char* known) const {
    if (options.empty()) return;
    throw ConfigError(fmt::format("data '{}': {} has no option '{}'; options: {}", text, name, options.begin()->first, known));
  }
};

Spec parse_spec(const std::string& text) {
  Spec spec{text, text, {}, {}};
  if (const auto mark = spec.name.rfind('?'); mark != std::string::npos) {
    std::string rest = spec.name.substr(mark + 1) + ",";
    spec.name.resize(mark);
    for (std::size_t at = 0, comma; (comma = rest.find(',', at)) != std::string::npos; at = comma + 1) {
      const std::string item = rest.substr(at, comma - at);
      const auto equals = item.find('=');
      if (equals == std::string::npos || equals == 0) {
        throw ConfigError(fmt::format("data '{}': '{}' after '?' is not key=value", text, item));
      }
      spec.options[item.substr(0, equals)] = item.substr(equals + 1);
    }
  }
  if (const auto colon = spec.name.find(':'); colon != std::string::npos) {
    spec.path = spec.name.substr(colon + 1);
    spec.name.resize(colon);
  }
  return spec;
}

constexpr std::int64_t max_count = std::int64_t(1) << 32;

Dataset open_fashion_mnist(Spec& spec, Split split) {
  const int size = narrow<int>(spec.number("size", 28, 28, 1024));
  const std::int64_t limit = spec.number("limit", max_count, 1, max_count);
  spec.finish("size, limit");
  Dataset data = first_samples(load_fashion_mnist(split, spec.path.value_or("")), limit);
  return size == 28 ? data : padded(data, size);
}

Dataset open_shapes(Spec& spec, Split split) {
  if (spec.path) throw ConfigError(fmt::format("data '{}': shapes are drawn, not read: it takes no path", spec.text));
  ShapesOptions options;
  options.count = spec.number("count", split == Split::train ? 20000 : 2000, 1, max_count);
  options.size = narrow<int>(spec.number("size", options.size, 8, 1024));
  options.channels = narrow<int>(spec.number("channels", options.channels, 1, 3));
  options.seed = std::uint64_t(spec.number("seed", 1, 0, std::numeric_limits<std::int64_t>::max()));
  spec.finish("count, size, channels, seed");
  return draw_shapes(options, split);
}

// The test split is what scores compare with: its pictures are the same every time, whatever the training draws.
ImageFolderOptions folder_options(Spec& spec, Split split) {
  if (!spec.path || spec.path->empty()) throw ConfigError(fmt::format("data '{}': write folder:PATH?size=N", spec.text));
  ImageFolderOptions options;
  options.size = narrow<int>(spec.number("size", 0, 1, 4096));
  options.channels = narrow<int>(spec.number("channels", options.channels, 1, 3));
  options.limit_per_class = spec.number("limit", 0, 1, max_count);
  options.crop = spec.word("crop", {"center", "random"}) == "center" || split == Split::test ? Crop::center : Crop::random;
  spec.finish("size, channels, limit, crop");
  if (options.size == 0) throw ConfigError(fmt::format("data '{}': the size of the pictures is missing: folder:PATH?size=N", spec.text));
  return options;
}

Dataset open_folder(Spec& spec, Split split) {
  const ImageFolderOptions options = folder_options(spec, split);
  return load_image_folder(*spec.path, options, split);
}

}  // namespace

Dataset open_dataset(const std::string& text, Split split) {
  Spec spec = parse_spec(text);
  if (spec.name == "fashion-mnist") return open_fashion_mnist(spec, split);
  if (spec.name == "shapes") return open_shapes(spec, split);
  if (spec.name == "folder") return open_folder(spec, split);
  throw ConfigError(fmt::format("data '{}': unknown data set '{}'; there are fashion-mnist, shapes and folder:PATH", text, spec.name));
}

std::shared_ptr<const SampleSource> open_source(const std::string& text, Split split) {
  Spec spec = parse_spec(text);
  if (spec.name != "folder") return as_source(std::make_shared<const Dataset>(open_dataset(text, split)));
  const ImageFolderOptions options = folder_options(spec, split);
  return std::make_shared<ImageFolder>(*spec.path, options, split);
}

std::vector<std::string> class_names_of(const std::string& text) {
  const Spec spec = parse_spec(text);
  if (spec.name == "fashion-mnist") return fashion_mnist_classes();
  if (spec.name == "shapes") return shape_classes();
  if (spec.name == "folder" && spec.path) return image_folder_classes(*spec.path);
  return open_dataset(text, Split::train).class_names;      // which says what is wrong
}

void check_fits(const std::string& name, std::int64_t count, std::int64_t bytes) {
  constexpr double gib = 1 << 30;
  const double needed = double(count) * double(bytes);
  const MemoryLimit limit = machine_memory();
  if (needed > limit.bytes)
    throw ConfigError(fmt::format("{}: {} pictures take {:.1f} GiB in memory, {} has {:.1f} GiB: take fewer (limit or count after '?'), or "
                                  "read a folder's pictures as they are needed (--latents images)",
                                  name, count, needed / gib, limit.whose, limit.bytes / gib));
}

Dataset padded(const Dataset& data, int size) {
  if (size < std::max(data.height, data.width)) {
    throw ShapeError(fmt::format("padded: size {} is below the pictures' {}x{}", size, data.height, data.width));
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
