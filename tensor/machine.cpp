#include "tensor/machine.h"

#include <omp.h>

#include <algorithm>
#include <chrono>

#include "tensor/kernels/cpu/peak.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double best_rate(double (*kernel)()) {
  double best = 0;
  for (const double end = now() + 0.2; now() < end;) {
    double flops = 0;
    const double start = now();
#pragma omp parallel reduction(+ : flops)
    for (int i = 0; i < 8; ++i) flops += kernel();
    best = std::max(best, flops / (now() - start));
  }
  return best;
}

}  // namespace

double measured_f32_peak() { return best_rate(cpu::peak_kernels().f32); }

double measured_bf16_peak() { return cpu::peak_kernels().bf16 ? best_rate(cpu::peak_kernels().bf16) : 0; }

double measured_bandwidth() {
  const std::int64_t n = std::int64_t{64} << 20;
  Tensor y = Tensor::zeros({n});
  const Tensor x = Tensor::ones({n});
  double best = 0;
  for (const double end = now() + 0.3; now() < end;) {
    const double start = now();
    add_into(y, x, 0.5);
    best = std::max(best, 3.0 * 4.0 * static_cast<double>(n) / (now() - start));
  }
  return best;
}

}  // namespace fm
