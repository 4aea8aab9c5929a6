// What a loader reads from: samples of one shape with a label, by index.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "tensor/random/philox.h"

namespace fm {

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual std::int64_t count() const = 0;
  virtual int channels() const = 0;
  virtual int height() const = 0;
  virtual int width() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual const std::vector<std::string>& notes() const;  // what a user should know of how it was read: a line each
  // Writes channels*height*width bytes, planes one after the other. `random` decides what a source leaves to chance (a random crop). Called
  // from any thread.
  virtual void read(std::int64_t index, const PhiloxBlock& random, std::uint8_t* planes) const = 0;
};

// A data set in memory as a source.
std::shared_ptr<const SampleSource> as_source(std::shared_ptr<const Dataset> data);

// As open_dataset, but a folder's pictures are read when they are asked for: for collections larger than memory.
std::shared_ptr<const SampleSource> open_source(const std::string& spec, Split split);

// Which samples these are, eight hexadecimal digits: crc32c of shape, class names, labels, and of the pixels, or where pictures are files that are
// read when they are asked for, of their names and sizes.
std::string fingerprint(const SampleSource& source);

}  // namespace fm
