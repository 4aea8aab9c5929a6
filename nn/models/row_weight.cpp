#include "nn/models/row_weight.h"

#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {
namespace {

constexpr std::int64_t width = 64, count = 8;
constexpr double lowest = 0.5, highest = 10;

}  // namespace

RowWeight::RowWeight(std::uint64_t seed) : frequencies{equal_ratios(lowest, highest, count)}, in(4 * count, width), out(width, 1) {
  reset_parameters(*this, seed);
  out.weight.value = Tensor::zeros(out.weight.value.shape(), out.weight.value.dtype());
  out.bias.value = Tensor::zeros(out.bias.value.shape(), out.bias.value.dtype());
}

Var RowWeight::operator()(const Tensor& s, const Tensor& t) const {
  const Var h = in(concat({sines_and_cosines(Var(t), frequencies.value), sines_and_cosines(Var(t - s), frequencies.value)}, 1));
  return reshape(out(silu(h)), {t.dim(0)});
}

}  // namespace fm
