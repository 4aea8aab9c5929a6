// What a loader reads from: samples of one shape with a label, by index.
#pragma once

#include <cstdint>

namespace fm {

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual std::int64_t count() const = 0;
  virtual int channels() const = 0;
  virtual int height() const = 0;
  virtual int width() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;
  // Writes channels*height*width bytes, planes one after the other. Called from any thread.
  virtual void read(std::int64_t index, std::uint8_t* planes) const = 0;
};

}  // namespace fm
