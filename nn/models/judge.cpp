#include "nn/models/judge.h"

#include <fmt/format.h>

#include <cmath>

#include "autodiff/rules/conv.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {

JudgeConv::JudgeConv(std::int64_t in, std::int64_t out, int stride_of)
    : weight(make_parameter({out, in, 3, 3})), bias(make_parameter({out})), stride(stride_of) {}

void JudgeConv::reset(const Init& init) {
  init.uniform("weight", weight, std::sqrt(6.0 / static_cast<double>(weight.value.numel() / weight.value.dim(0))));
  fill(bias, 0);
}

Var JudgeConv::operator()(const Var& x) const { return relu(conv2d(x, weight, bias, stride, 1)); }

// Means over n x n blocks: (B, C, H, W) -> (B, C, H / n, W / n). Rows and columns that do not fill a block are dropped.
static Var block_means(const Var& x, std::int64_t n) {
  if (n == 1) return x;
  const std::int64_t rows = x.dim(2) / n, columns = x.dim(3) / n;
  const Var whole = slice(slice(x, 2, 0, rows * n), 3, 0, columns * n);
  return mean(reshape(whole, {x.dim(0), x.dim(1), rows, n, columns, n}), {3, 5});
}

Judge::Judge(const JudgeConfig& c) : classify(c.features, c.classes) {
  checked_config(c, "Judge");
  const std::int64_t half = (c.size + 1) / 2, quarter = (half + 1) / 2;        // sizes after the strides
  while (quarter / block > 8) block *= 2;
  const std::int64_t side = quarter / block;
  hidden = Linear(4 * c.width * side * side, c.features);
  convs.emplace_back(c.channels, c.width, 1);
  convs.emplace_back(c.width, 2 * c.width, 2);
  convs.emplace_back(2 * c.width, 2 * c.width, 1);
  convs.emplace_back(2 * c.width, 4 * c.width, 2);
  convs.emplace_back(4 * c.width, 4 * c.width, 1);
}

Var Judge::features(const Var& x) const {
  Var h = (x - 0.5) * 2;
  for (const JudgeConv& conv : convs) h = conv(h);
  return relu(hidden(reshape(block_means(h, block), {h.dim(0), -1})));
}

std::string size_text(const JudgeConfig& c) { return fmt::format("convolutional classifier, width {}, {} features", c.width, c.features); }

}  // namespace fm
