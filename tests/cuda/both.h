// The same array on the CPU and on a GPU, for tests that call both kernels and compare their results.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <vector>

#include "tests/cuda/on_gpu.h"
#include "tests/support/kernel_check.h"

namespace fm::test {

enum class Side { cpu, gpu };

template <class T>
class Both {
 public:
  // n random elements in [-1, 1). If not `wanted`, there is no array and the pointers are null.
  Both(std::int64_t n, unsigned seed, bool wanted = true) {
    if (!wanted) return;
    for (const double x : random_array<double>(n, seed)) host_.push_back(T(static_cast<float>(x)));
    device_.emplace(host_);
  }
  explicit Both(std::vector<T> values) : host_(std::move(values)) { device_.emplace(host_); }

  T* on(Side side) { return !device_ ? nullptr : side == Side::cpu ? host_.data() : device_->data(); }
  std::vector<T> gpu_values() const { return device_->values(); }

  // The largest difference over all elements, including those that no kernel should change, relative to the largest absolute value or 1.
  double difference() const {
    if (!device_) return 0;
    const std::vector<T> theirs = device_->values();
    double worst = max_difference(theirs, host_), largest = 1;
    for (const T& x : host_) largest = std::max(largest, std::fabs(static_cast<double>(x)));
    return worst / largest;
  }

 private:
  std::vector<T> host_;
  std::optional<OnGpu<T>> device_;
};

// The allowed difference of two kernels: f64, f32, and an ulp or two of bf16 if a sum falls to the other side of a rounding boundary.
template <class T>
constexpr double kernels_agree = std::is_same_v<T, double>  ? 1e-12
                                 : std::is_same_v<T, float> ? 1e-5
                                                            : 1.6e-2;

#define FM_CHECK_SAME(array, type) CHECK((array).difference() <= fm::test::kernels_agree<type>)

}  // namespace fm::test
