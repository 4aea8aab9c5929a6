// Samples by number, the input of a loader. A sample is an array with a label. All samples of a source have one shape and type.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "tensor/dtype.h"
#include "tensor/random/philox.h"
#include "tensor/shape.h"

namespace fm {

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual std::string name() const = 0;    // for messages: "shapes", a file or a folder
  virtual std::int64_t count() const = 0;
  virtual Shape shape() const = 0;         // of one sample: (channels, height, width), (2), (channels, length), ...
  // u8: image levels, which a loader gives as level / 255. f32: values, which it gives unchanged. No other types.
  virtual DType dtype() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;          // 0 .. class_names().size() - 1
  virtual const std::vector<std::string>& class_names() const = 0;   // at least one
  virtual const std::vector<std::string>& notes() const;             // remarks on reading for the user: one line each

  // Writes shape().numel() elements of dtype(), row-major. `random` decides a source's random choices (a random crop). Called from any
  // thread. FileError: this sample cannot be read, or is not finite.
  virtual void read(std::int64_t index, const PhiloxBlock& random, void* out) const = 0;
  // Noise that belongs to a sample, in its shape and in f32, for pairs that an ODE has coupled. read_noise() throws Error if there is none.
  virtual bool has_noise() const { return false; }
  virtual void read_noise(std::int64_t index, float* out) const;
  virtual bool is_random() const { return false; }                   // whether read() depends on `random`

  // The text that fingerprint() takes in place of a sample's contents if these take too long to read: a file's name and size. No value: the contents.
  virtual std::optional<std::string> stamp(std::int64_t) const { return std::nullopt; }
};

// The size of images, which are u8 samples of three dimensions.
struct PictureSize {
  int channels = 0, height = 0, width = 0;
};

// ConfigError if the samples are not images: "points:moons: samples are f32 [2]; the judge needs images, u8 [channels, ...".
// `user` names the part that needs images, "the judge".
PictureSize picture_size(const SampleSource& source, const std::string& user);

// A data set in memory as a source.
std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data);

// Like open_dataset (dataset.h), but for any kind of sample, and files are read on request: for collections larger than memory.
std::shared_ptr<const SampleSource> open_source(const std::string& spec, Split split);

// The identity of the samples, eight hexadecimal digits: crc32c of shape, type (if it is not u8), class names, labels, and contents or stamps.
std::string fingerprint(const SampleSource& source);

}  // namespace fm
