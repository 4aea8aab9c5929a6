// Fits y = sin(3 x) on [-1, 1] by a small network, with automatic differentiation alone. Then compares the network's derivative with 3 cos(3 x).
// README.md beside this file explains the program.
//   fit_function [STEPS]
//   c++ -std=c++20 fit_function.cpp -o fit_function $(pkg-config --cflags --libs flowmap)      (CMake: README.md)
#include <cstdio>
#include <cstdlib>
#include <flowmap/flowmap.h>

using namespace fm;

struct Net {                                                        // a module lists its parts once, in visit
  Linear in{1, 32}, middle{32, 32}, out{32, 1};
  template <class V> void visit(V&& v) {
    v("in", in);
    v("middle", middle);
    v("out", out);
  }
  Var operator()(const Var& x) const { return out(tanh(middle(tanh(in(x))))); }
};

int main(int argc, char** argv) {
  const long steps = argc > 1 ? std::atol(argv[1]) : 2000;
  Net net;
  reset_parameters(net, 1);                                         // initial values depend on the seed and each parameter's name
  AdamW optimizer(named_parameters(net));
  for (long step = 0; step < steps; ++step) {
    const Tensor x = random_uniform({64, 1}, {.seed = 2}, static_cast<std::uint32_t>(step)) * 2.0 - 1.0;
    Tape tape;                                                      // records while it lives
    const Var loss = mean(square(net(x) - sin(x * 3.0)));           // a Tensor has no history: sin(3 x) is a constant
    optimizer.step(backward(loss), {.lr = 1e-2 * (1 - static_cast<double>(step) / static_cast<double>(steps))});
    if (step % 500 == 0) std::printf("step %ld: loss %.2e\n", step, loss.value().item());
  }
  const Tensor x = (Tensor::arange(201) / 100.0 - 1.0).reshape({201, 1});
  const auto [y, slope] = jvp(net, at(x), along(1.0));              // value and derivative in one pass, with no tape
  std::printf("mean square error %.2e\n", mean(square(y - sin(x * 3.0))).value().item());
  std::printf("of the derivative %.2e\n", mean(Var(square(slope - 3.0 * cos(x * 3.0)))).value().item());
}
