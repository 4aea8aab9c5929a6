// Numbers that a GPU is still computing. A step that read its loss at once would wait for the device and leave it without work meanwhile.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// How often the host has waited for the device since the program began. The CPU is never behind.
std::int64_t host_waits(Device device);

// A number, or a tensor of one element on a GPU. value() reads it and waits for the device; on the CPU the number is known at once. Reading is
// explicit, since a comparison or a printed line that waited for the device would leave it without work.
class Late {
 public:
  Late(double value = 0) : value_(value) {}
  Late(const Tensor& one) : value_(one.device().is_cuda() ? 0 : one.item()) {
    if (one.device().is_cuda()) tensor_ = one;
  }

  bool known() const { return !tensor_.defined(); }
  double value() const { return known() ? value_ : tensor_.item(); }
  explicit operator double() const { return value(); }
  const Tensor& tensor() const { return tensor_; }     // undefined where the number is known

 private:
  double value_;
  Tensor tensor_;
};

// Numbers that were requested together. The device continues with later requests; reading waits only for these numbers.
class Arriving {
 public:
  Arriving() = default;
  explicit Arriving(const std::vector<Late>& numbers);
  Arriving(Arriving&& other) noexcept;
  Arriving& operator=(Arriving&& other) noexcept;
  ~Arriving();

  std::vector<double> values();                        // Error if called twice

 private:
  std::vector<double> known_;
  Tensor sent_;                                        // all of them, f64; undefined if all are known
  void* answer_ = nullptr;
};

}  // namespace fm
