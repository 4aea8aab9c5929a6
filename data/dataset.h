// Labelled 8-bit images in memory, and their sources: Fashion-MNIST's files, a folder of images, or procedural shapes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"

namespace fm {

struct Dataset {
  std::string name;
  std::int64_t count = 0;
  int channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // (count, channels, height, width)
  std::vector<std::int32_t> labels;  // (count), 0 .. class_names.size()-1
  std::vector<std::string> class_names;
  std::vector<std::string> notes = {};  // remarks on reading for the user: one line each

  std::int64_t sample_size() const { return std::int64_t(channels) * height * width; }
  const std::uint8_t* sample(std::int64_t index) const { return pixels.data() + index * sample_size(); }
  Image image(std::int64_t index) const { return image_from_planes(sample(index), channels, height, width); }
};

enum class Split { train, test };

// Opens images by their specification, NAME[:PATH][?key=value,key=value] (kinds.h has the names, data/README.md their keys), and keeps them in
// memory. ConfigError for a wrong specification, or samples that are not images; FileError for missing or damaged files.
Dataset open_dataset(const std::string& spec, Split split);

// The values of --data, in one line for --help: "fashion-mnist[:FOLDER], shapes, ..., with options after '?' (data/README.md)".
const std::string& data_help();

// Fashion-MNIST, 60,000 + 10,000 grey 28x28 in 10 classes, from *-ubyte.gz (or unpacked) files. An empty folder means the environment's
// FLOWMAP_FASHION_MNIST, then Debian's place for the package dataset-fashion-mnist.
Dataset load_fashion_mnist(Split split, const std::filesystem::path& folder = {});

// Returns the class names of a data set without reading its samples.
std::vector<std::string> class_names_of(const std::string& spec);
std::vector<std::string> fashion_mnist_classes();

// ConfigError if `count` images of `bytes` each exceed this machine's memory.
void check_fits(const std::string& name, std::int64_t count, std::int64_t bytes);

// Adds a border of zeros to every image, up to size x size. ShapeError if `size` is below the larger side.
Dataset padded(const Dataset& data, int size);

// The first `count` samples.
Dataset first_samples(Dataset data, std::int64_t count);

}  // namespace fm
