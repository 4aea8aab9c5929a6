// Compares gradients of a loss with finite differences in its parameters, in f64.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "autodiff/tape.h"
#include "autodiff/var.h"

namespace fm::test {

// Derivative of f at 0 by a central difference of fourth order, whose error falls as h^4.
inline double difference(const std::function<double(double)>& f, double h = 1e-3) {
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
}

struct GradientError {
  double worst = 0, largest = 0;         // the largest |gradient - difference|, the largest |gradient|
};

// Compares the gradient with a difference at three elements of each parameter. An undefined gradient counts as 0.
inline GradientError gradient_error(const std::vector<const Parameter*>& parameters, const std::function<Var()>& loss) {
  Gradients gradients = [&] {
    Tape tape;
    return backward(loss());
  }();
  GradientError out;
  for (const Parameter* p : parameters) {
    const Tensor values = p->value.reshape({-1}), g = gradients[*p];
    const std::int64_t n = values.numel();
    for (const std::int64_t i : {std::int64_t{0}, n / 3, n - 1}) {
      const Tensor x = values.select(0, i);
      const double keep = x.item(), exact = g.defined() ? g.reshape({-1}).select(0, i).item() : 0;
      const double by_difference = difference([&](double h) {
        x.fill(keep + h);
        const double value = loss().value().item();
        x.fill(keep);
        return value;
      });
      out.worst = std::max(out.worst, std::abs(exact - by_difference));
      out.largest = std::max(out.largest, std::abs(exact));
    }
  }
  return out;
}

}  // namespace fm::test
