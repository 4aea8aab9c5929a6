// Numbers that a GPU is still computing. A step that read its loss at once would wait for the device and leave it idle.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// Returns how often the host has waited for `device` since the program began. 0 for the CPU, which computes at once.
std::int64_t host_waits(Device device);

// A number, or a tensor of one element on a GPU. value() reads the tensor and waits for the device; on the CPU the number is known at once.
// There is no implicit conversion to double, so that no comparison and no log line waits for the device unnoticed.
class Late {
 public:
  Late(double value = 0) : value_(value) {}
  Late(const Tensor& one) : value_(one.device().is_cuda() ? 0 : one.item()) {
    if (one.device().is_cuda()) tensor_ = one;
  }

  bool known() const { return !tensor_.defined(); }
  double value() const { return known() ? value_ : tensor_.item(); }
  explicit operator double() const { return value(); }
  const Tensor& tensor() const { return tensor_; }     // undefined if known()

 private:
  double value_;
  Tensor tensor_;
};

// Numbers whose copies to the host were requested together. The device continues with later work; values() waits for these numbers only.
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
  Tensor sent_;                                        // all numbers, f64; undefined if all were known
  void* answer_ = nullptr;
};

}  // namespace fm
