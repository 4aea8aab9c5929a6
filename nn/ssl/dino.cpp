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

Var DinoLoss::operator()(const std::vector<Var>& student, const std::vector<Tensor>& teacher) {
  std::vector<Tensor> targets;
  Tensor batch_mean = Tensor::zeros(centre.shape());
  for (const Tensor& h : teacher) {
    targets.push_back(softmax((h - centre) / teacher_temperature));
    batch_mean = batch_mean + mean(h, {0}, true) / static_cast<double>(teacher.size());
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
  centre.copy_from(centre * centre_momentum + batch_mean * (1 - centre_momentum));   // in place: checkpoints hold this tensor
  return total / static_cast<double>(pairs);
}

double dino_momentum(double start, std::int64_t step, std::int64_t steps) {
  return 1 - (1 - start) * (std::cos(M_PI * static_cast<double>(step) / static_cast<double>(steps)) + 1) / 2;
}

}  // namespace fm
