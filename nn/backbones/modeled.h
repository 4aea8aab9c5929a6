// Properties of the samples that a generator network models: the network's sizes follow from them.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/shape.h"

namespace fm {

struct Modeled {
  Shape shape;                           // shape of one sample, the network's input: (channels, height, width), (channels, length), (2)
  std::int64_t classes = 0;              // number of labels; 0: no labels
  std::string source = {};               // name of the data, for messages
};

}  // namespace fm
