// The samples that a generator network models, as far as its sizes follow from them.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/shape.h"

namespace fm {

struct Modeled {
  Shape shape;                           // of one sample, as networks see it: (channels, height, width), (channels, length), (2)
  std::int64_t classes = 0;              // labels of the networks; 0: none
  std::string source = {};               // the data, for messages
};

}  // namespace fm
