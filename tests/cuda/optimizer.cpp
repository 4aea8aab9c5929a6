// AdamW with its averages on a GPU against the CPU's.
#include "tensor/kernels/cpu/optimizer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "tests/cuda/on_gpu.h"
#include "tests/support/kernel_check.h"

using namespace fm::kernels;
using fm::test::gpu;
using fm::test::OnGpu;
using Int = std::int64_t;

namespace {

template <class T>
struct State {
  std::vector<T> p, g, m, v;
  std::vector<std::vector<T>> averages;

  State(Int n, int count)
      : p(fm::test::random_array<T>(n, 1)),
        g(fm::test::random_array<T>(n, 2)),
        m(fm::test::random_array<T>(n, 3)),
        v(fm::test::random_array<T>(n, 4)) {
    for (T& x : v) x = std::abs(x);
    for (int k = 0; k < count; ++k) averages.push_back(fm::test::random_array<T>(n, 5 + static_cast<unsigned>(k)));
  }
};

template <class T>
double difference(const std::vector<T>& a, const std::vector<T>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::fabs(double(a[i]) - double(b[i])) / (1 + std::fabs(double(b[i]))));
  return worst;
}

template <class T>
void check(Int n, int count, bool gradient, std::size_t offset, AdamWKernel<T> on_cpu, AdamWKernel<T> on_gpu) {
  INFO(n << " elements, " << count << " averages, gradient " << gradient << ", offset " << offset);
  const AdamWScalars<T> s{T(0.1), T(0.95), T(0.05), T(1e-8)};
  const std::vector<AdamWStep> now{{0.999, 1e-2, 1.3}};
  const std::vector<AdamWClip> clip{{2, 0.7}};
  const OnGpu<AdamWStep> gpu_now(now);
  const OnGpu<AdamWClip> gpu_clip(clip);
  State<T> host(n, count);
  const OnGpu<T> p(host.p, offset), g(host.g, offset), m(host.m, offset), v(host.v, offset);
  std::vector<OnGpu<T>> averages;
  std::vector<T*> there, here;
  std::vector<double> rates;
  for (int k = 0; k < count; ++k) {
    auto& e = host.averages[static_cast<std::size_t>(k)];
    averages.emplace_back(e, offset);
    there.push_back(averages.back().data());
    here.push_back(e.data());
    rates.push_back(1.0 / (k + 2));
  }
  const OnGpu<double> gpu_rates(rates);
  for (int step = 0; step < 3; ++step) {
    on_cpu({host.p.data(), gradient ? host.g.data() : nullptr, host.m.data(), host.v.data(), here.data(), rates.data(), count, n, now.data(), clip.data()}, s);
    on_gpu({p.data(), gradient ? g.data() : nullptr, m.data(), v.data(), there.data(), gpu_rates.data(), count, n, gpu_now.data(), gpu_clip.data()}, s);
  }
  const double allowed = std::is_same_v<T, double> ? 1e-12 : 1e-5;
  CHECK(difference(p.values(), host.p) <= allowed);
  CHECK(difference(m.values(), host.m) <= allowed);
  CHECK(difference(v.values(), host.v) <= allowed);
  for (std::size_t k = 0; k < averages.size(); ++k) CHECK(difference(averages[k].values(), host.averages[k]) <= allowed);
}

}  // namespace

TEST_CASE("AdamW on a GPU: odd sizes, any number of averages, with and without a gradient") {
  for (const Int n : {0, 1, 3, 4, 5, 1030, 5001})
    for (const int count : {0, 1, 3, 8, 9, 17})
      for (const bool gradient : {false, true})
        for (const std::size_t offset : {0, 1}) {
          check(n, count, gradient, offset, fm::cpu::optimizer_kernels().adamw_f32, gpu().optimizer.adamw_f32);
          check(n, count, gradient, offset, fm::cpu::optimizer_kernels().adamw_f64, gpu().optimizer.adamw_f64);
        }
}
