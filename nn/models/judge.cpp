#include "nn/models/judge.h"

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

Judge::Judge(const JudgeConfig& c) : hidden(4 * c.width, c.features), classify(c.features, c.classes) {
  convs.emplace_back(c.channels, c.width, 1);
  convs.emplace_back(c.width, 2 * c.width, 2);
  convs.emplace_back(2 * c.width, 2 * c.width, 1);
  convs.emplace_back(2 * c.width, 4 * c.width, 2);
  convs.emplace_back(4 * c.width, 4 * c.width, 1);
}

Var Judge::features(const Var& x) const {
  Var h = (x - 0.5) * 2;
  for (const JudgeConv& conv : convs) h = conv(h);
  return relu(hidden(mean(h, {2, 3})));
}

}  // namespace fm
