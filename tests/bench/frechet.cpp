// Measures the time of a Frechet distance between two sets of random features: bench_frechet [rows [features [FILE.npz]]]. With a file name, the
// features and the distance are written there, so that tests/peers/scores.py can compute the same with NumPy. With any fourth argument the program also
// measures precision and recall.
#include "flowmap/metrics/frechet.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "flowmap/metrics/factor.h"
#include "tensor/io/npy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class F>
auto timed(const char* what, const F& f) {
  const double start = now();
  auto out = f();
  fmt::print("{:<28} {:>8.2f} s\n", what, now() - start);
  std::fflush(stdout);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t rows = argc > 1 ? std::atoll(argv[1]) : 10000, features = argc > 2 ? std::atoll(argv[2]) : 512;
  const std::string file = argc > 3 ? argv[3] : "";
  fmt::print("{} x {} features\n", rows, features);
  const Tensor x = random_normal({rows, features}, {1, 1}), y = random_normal({rows, features}, {1, 2}) * 1.1 + 0.1;
  const double start = now();
  const GaussianFit a = timed("mean and covariance of one", [&] { return fit_gaussian(x); });
  const GaussianFit b = timed("of the other", [&] { return fit_gaussian(y); });
  const double distance = timed("distance", [&] { return frechet_distance(a, b); });
  fmt::print("{:<28} {:>8.2f} s   {:.12g}\n", "together", now() - start, distance);
  if (argc > 4) timed("precision and recall", [&] { return precision_recall(x, y).precision; });
  if (file.empty()) return 0;
  NpzWriter npz(file);
  npz.add("reference", {rows, features}, x.to_vector<float>());
  npz.add("samples", {rows, features}, y.to_vector<float>());
  npz.add("frechet", {1}, std::vector<double>{distance});
  npz.finish();
}
