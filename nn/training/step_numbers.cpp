#include "nn/training/step_numbers.h"

#include <fmt/format.h>

#include <cmath>

#include "nn/training/parallel.h"

namespace fm {

bool StepNumbers::known() const {
  bool all = gradient_norm.known();
  for (const Part& p : parts) all = all && p.loss.known();
  return all;
}

double StepNumbers::loss() const {
  double sum = 0;
  for (const Part& p : parts) sum += p.share * double(p.loss);
  return sum;
}

void StepNumbers::send() {
  std::vector<Late> numbers;
  for (const Part& p : parts) numbers.push_back(p.loss);
  numbers.push_back(gradient_norm);
  sent = Arriving(numbers);
}

StepReport StepNumbers::received() {
  const std::vector<double> numbers = sent.values();
  double sum = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) sum += parts[i].share * numbers[i];
  return {sum, numbers.back(), lr};
}

std::vector<StepMetric> StepNumbers::metrics() const {
  std::vector<Late> numbers;
  for (const Part& p : parts)
    for (const StepMetric& m : p.metrics) numbers.push_back(m.value);
  const std::vector<double> values = Arriving(numbers).values();
  std::vector<StepMetric> out;
  std::size_t at = 0;
  for (const Part& p : parts) {
    std::vector<StepMetric> known = p.metrics;
    for (StepMetric& m : known) m.value = values[at++];
    add_metrics(out, known, p.share);
  }
  return out;
}

void check_finite(const std::string& stage, double loss, std::int64_t step) {
  if (!std::isfinite(loss))
    throw DivergedError(fmt::format("{}: the loss is {} at step {}",
                                    stage, loss, step));
}

}  // namespace fm
