#include "flowmap/objective/entry.h"

#include <algorithm>

#include "tensor/error.h"

namespace fm {

const Tensor& Drawn::operator[](std::string_view wanted) const {
  const auto it = std::find_if(numbers.begin(), numbers.end(), [&](const auto& entry) { return entry.first == wanted; });
  if (it == numbers.end()) throw Error("an objective asked for '" + std::string(wanted) + "', which its draw() did not make");
  return it->second;
}

}  // namespace fm
