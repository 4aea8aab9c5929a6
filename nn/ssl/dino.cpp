#include "nn/ssl/dino.h"

#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/softmax.h"

namespace fm {
namespace {

Var unit_rows(const Var& x) { return x * rsqrt(sum(square(x), {-1}, true) + 1e-12); }

}  // namespace

DinoHead::DinoHead(std::int64_t in, std::int64_t hidden, std::int64_t bottleneck, std::int64_t count)
    : fc1(in, hidden), fc2(hidden, hidden), fc3(hidden, bottleneck), prototypes(make_parameter({count, bottleneck})) {}

void DinoHead::reset(const Init& init) { init.normal("prototypes", prototypes, 1.0); }

Var DinoHead::operator()(const Var& x) const { return linear(unit_rows(fc3(gelu(fc2(gelu(fc1(x)))))), unit_rows(prototypes)); }

void DinoCentre::see(const Tensor& h) {
  sum_ = sum_ + sum(h, {0}, true);
  rows_ += static_cast<double>(h.dim(0));
}

void DinoCentre::add_over(Communicator& ranks) {
  if (ranks.size() == 1) return;
  sum_ = sum_.clone();
  ranks.all_reduce(sum_);
  rows_ = sum_over_ranks(ranks, {rows_})[0];
}

void DinoCentre::move() {
  if (rows_ == 0) return;
  value_.copy_from(value_ * momentum_ + sum_ * ((1 - momentum_) / rows_));
  sum_.fill(0);
  rows_ = 0;
}

Var DinoLoss::operator()(const std::vector<Var>& student, const std::vector<Tensor>& teacher) {
  std::vector<Tensor> targets;
  for (const Tensor& h : teacher) {
    targets.push_back(softmax((h - centre.value()) / teacher_temperature));
    centre.see(h);
  }
  Var total;
  int pairs = 0;
  for (std::size_t i = 0; i < student.size(); ++i) {
    const Var log_p = log_softmax(student[i] / student_temperature);
    for (std::size_t j = 0; j < targets.size(); ++j) {
      if (i == j) continue;
      const Var cross = neg(mean(sum(log_p * targets[j], {-1})));
      total = total.defined() ? total + cross : cross;
      ++pairs;
    }
  }
  return total / static_cast<double>(pairs);
}

double dino_momentum(double start, std::int64_t step, std::int64_t steps) {
  return 1 - (1 - start) * (std::cos(M_PI * static_cast<double>(step) / static_cast<double>(steps)) + 1) / 2;
}

}  // namespace fm
