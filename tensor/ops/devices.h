// Operands of one operation must lie on one device: no tensor is moved implicitly.
#pragma once

#include <initializer_list>
#include <string>

#include "tensor/error.h"
#include "tensor/tensor.h"

namespace fm {

// Returns the device of the defined operands; the CPU if none is defined. DeviceError if two devices differ.
inline Device common_device(const char* op, std::initializer_list<const Tensor*> operands) {
  const Tensor* first = nullptr;
  for (const Tensor* x : operands) {
    if (!x->defined()) continue;
    if (!first) first = x;
    else if (x->device() != first->device())
      throw DeviceError(std::string(op) + ": operands lie on " + to_string(first->device()) + " and on " + to_string(x->device()) +
                        "; move one with to()");
  }
  return first ? first->device() : Device{};
}

}  // namespace fm
