// The example of docs/library.md of using the library, for install.sh: y = x * x and its derivative in both modes.
#include <cstdio>
#include <flowmap/flowmap.h>

using namespace fm;

int main() {
  const auto square = [](const Var& x) { return x * x; };
  const Tensor x = Tensor::from<double>({1, 2, 3}, {3});
  const auto [y, dy] = jvp(square, at(x), along(1.0));       // forward mode: 1 4 9 and 2 4 6

  Tape tape;
  const Var leaf = tape.variable(x);
  const Tensor gx = backward(sum(square(leaf)))[leaf];       // reverse mode: 2 4 6

  const auto ys = y.value().to_vector<double>(), dys = dy.to_vector<double>(), gxs = gx.to_vector<double>();
  for (std::size_t i = 0; i < 3; ++i) std::printf("%g %g %g\n", ys[i], dys[i], gxs[i]);
}
