// Speed of the matrix products, in GFLOP/s and as a share of the multiply-add peak measured in the same run.
//
//   bench_gemm [--threads N] [--group NAME] [--type f32|f64|bf16] [--ms MILLISECONDS PER SHAPE]
//
// Rates are the best of repeated calls. Packing is included. FLOWMAP_ISA=base|avx2|avx512 chooses the kernels.
#include <fmt/format.h>
#include <omp.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/peak.h"
#include "tensor/tensor.h"

namespace {

using fm::cpu::GemmArgs;

// With one thread, times are the processor time of the thread, which other work on the machine disturbs less.
bool by_processor_time = false;

double now() {
  timespec t;
  clock_gettime(by_processor_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// Measures once the f32 GFLOP/s of multiply-adds on registers.
double peak_rate(int threads) {
  double flops = 0;
  const double start = now();
#pragma omp parallel num_threads(threads) reduction(+ : flops)
  flops += fm::cpu::peak_kernels().f32();
  return flops / (now() - start) * 1e-9;
}

struct Shape {
  const char* group;
  int m, n, k, batch;
  const char* ops;          // layouts of A and B to measure, each N (as stored) or T (transposed)
};

const std::vector<Shape> shapes = {
    {"quickstart", 2048, 128, 128, 1, "NN NT"},  {"quickstart", 2048, 256, 256, 1, "NN NT"},  {"quickstart", 2048, 384, 384, 1, "NN NT"},
    {"quickstart", 2048, 512, 512, 1, "NN NT"},  {"quickstart", 2048, 768, 256, 1, "NN NT"},  {"quickstart", 2048, 256, 768, 1, "NN NT"},
    {"quickstart", 2048, 512, 128, 1, "NN NT"},  {"quickstart", 2048, 128, 512, 1, "NN NT"},
    {"quickstart_grad", 128, 128, 2048, 1, "TN"}, {"quickstart_grad", 256, 256, 2048, 1, "TN"},
    {"quickstart_grad", 384, 384, 2048, 1, "TN"}, {"quickstart_grad", 512, 512, 2048, 1, "TN"},
    {"quickstart_grad", 256, 768, 2048, 1, "TN"}, {"quickstart_grad", 768, 256, 2048, 1, "TN"},
    {"quickstart_grad", 512, 128, 2048, 1, "TN"}, {"quickstart_grad", 64, 64, 16384, 1, "TN"},
    {"linear", 4096, 768, 768, 1, "NN NT TN"},   {"linear", 4096, 3072, 768, 1, "NN NT"},     {"linear", 4096, 768, 3072, 1, "NN NT"},
    {"linear", 16384, 192, 192, 1, "NN NT"},     {"linear", 16384, 768, 192, 1, "NN NT"},     {"linear", 16384, 192, 768, 1, "NN NT"},
    {"weight_grad", 768, 3072, 4096, 1, "TN"},   {"weight_grad", 192, 768, 16384, 1, "TN"},   {"weight_grad", 768, 768, 4096, 1, "TN"},
    {"xl", 257, 1152, 1152, 1, "NT"},           {"xl", 257, 4096, 1152, 1, "NT"},             {"xl", 257, 1152, 4096, 1, "NT"},
    {"xl", 256, 3456, 1152, 1, "NT"},           {"xl", 256, 10922, 2048, 1, "NT"},            {"xl", 512, 3456, 1152, 1, "NT"},
    {"xl", 514, 4096, 1152, 1, "NT"},           {"xl", 1028, 4096, 1152, 1, "NT"},
    {"short", 256, 1152, 1152, 1, "NN NT TN"},   {"short", 256, 4608, 1152, 1, "NN NT TN"},   {"short", 64, 768, 768, 1, "NN NT TN"},
    {"short", 16, 768, 768, 1, "NN NT TN"},      {"short", 1, 768, 768, 1, "NN NT"},
    {"attention", 256, 64, 256, 64, "NN NT TN"}, {"attention", 256, 256, 64, 64, "NN NT TN"}, {"attention", 64, 64, 32, 256, "NN NT TN"},
    {"tiny", 16, 64, 16, 1, "NN NT TN"},         {"tiny", 8, 8, 8, 1, "NN NT TN"},            {"tiny", 64, 64, 64, 1, "NN NT TN"},
};

struct Rates {
  double product = 0, peak = 0;       // GFLOP/s
};

// Measures product and peak in turn, so that both have the same clock rate and the same other work on the machine.
template <class In, class Out>
Rates measure(const Shape& s, bool ta, bool tb, void (*product)(const GemmArgs<In, Out>&), double seconds, int threads) {
  // The operands are tensors, because large tensors lie on pages of 2 MiB.
  constexpr fm::DType in = sizeof(In) == 2 ? fm::DType::bf16 : fm::dtype_of<std::conditional_t<sizeof(In) == 2, float, In>>;
  constexpr fm::DType out = sizeof(Out) == 2 ? fm::DType::bf16 : fm::dtype_of<std::conditional_t<sizeof(Out) == 2, float, Out>>;
  const fm::Tensor a = fm::Tensor::ones({s.batch, s.m, s.k}, in), b = fm::Tensor::ones({s.batch, s.n, s.k}, in);
  const fm::Tensor c = fm::Tensor::zeros({s.batch, s.m, s.n}, out);
  GemmArgs<In, Out> g{s.m, s.n, s.k, static_cast<const In*>(a.raw()), ta ? s.m : s.k, ta, static_cast<const In*>(b.raw()), tb ? s.k : s.n, tb,
                      static_cast<Out*>(c.raw()), s.n};
  g.batch = s.batch;
  g.stride_a = std::int64_t(s.m) * s.k, g.stride_b = std::int64_t(s.n) * s.k, g.stride_c = std::int64_t(s.m) * s.n;
  const double flops = 2.0 * s.m * s.n * s.k * s.batch;
  const int calls = std::max(1, int(2e6 / flops));           // so many that the resolution of the clock does not matter
  product(g);
  Rates best;
  for (const double end = now() + seconds; now() < end;) {
    const double start = now();
    for (int i = 0; i < calls; ++i) product(g);
    const double spent = now() - start;
    best.product = std::max(best.product, flops * calls / spent * 1e-9);
    for (const double until = now() + 0.3 * spent; now() < until;)
      best.peak = std::max(best.peak, peak_rate(threads) / (sizeof(Out) == 8 ? 2 : 1));
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  int threads = omp_get_max_threads();
  std::string group, type = "f32";
  double seconds = 0.04;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--threads") threads = std::atoi(argv[i + 1]);
    else if (key == "--group") group = argv[i + 1];
    else if (key == "--type") type = argv[i + 1];
    else if (key == "--ms") seconds = std::atof(argv[i + 1]) * 1e-3;
    else return fmt::print(stderr, "bench_gemm: unknown option {}; it takes --threads, --group, --type, --ms\n", key), 2;
  }
  omp_set_num_threads(std::max(1, threads));
  by_processor_time = threads == 1;
  const auto& kernels = fm::cpu::gemm_kernels();
  double product = 1;
  int count = 0;
  const char* current = "";
  const auto summary = [&] {
    if (count) fmt::print("{:<16} geometric mean {:5.1f} % of peak\n\n", current, 100 * std::pow(product, 1.0 / count));
    product = 1, count = 0;
  };
  fmt::print("{} threads, {}, {}; peak = multiply-adds of {} on registers\n", threads, fm::cpu::isa_name(fm::cpu::active_isa()), type,
             type == "f64" ? "f64" : "f32");
  for (const Shape& s : shapes) {
    if (!group.empty() && group != s.group) continue;
    if (std::strcmp(current, s.group) != 0) summary();
    current = s.group;
    for (const char* op = s.ops; *op; op += op[2] ? 3 : 2) {
      const bool ta = op[0] == 'T', tb = op[1] == 'T';
      const Rates r = type == "f64"    ? measure(s, ta, tb, kernels.f64, seconds, threads)
                      : type == "bf16" ? measure(s, ta, tb, kernels.bf16, seconds, threads)
                                       : measure(s, ta, tb, kernels.f32, seconds, threads);
      fmt::print("{:<16} {:>4} x {:5} {:5} {:5} {}{} {:8.2f} of {:6.2f} GFLOP/s {:5.1f} %\n", s.group, s.batch, s.m, s.n, s.k, op[0], op[1],
                 r.product, r.peak, 100 * r.product / r.peak);
      product *= r.product / r.peak;
      ++count;
    }
  }
  summary();
}
