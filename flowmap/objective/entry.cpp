#include "flowmap/objective/entry.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"

namespace fm {

const Tensor& Drawn::operator[](std::string_view wanted) const {
  const auto it = std::find_if(numbers.begin(), numbers.end(), [&](const auto& entry) { return entry.first == wanted; });
  if (it == numbers.end()) throw Error("an objective asked for '" + std::string(wanted) + "', which its draw() did not make");
  return it->second;
}

Claims claims_under(const MetricConfig& metric, double normalise) {
  if (metric.kind != "l2") return {.unbiased = false, .why = "the " + metric.kind + " metric weighs a residual by its size"};
  if (normalise > 0) return {.unbiased = false, .why = "the normalised target weighs a residual by its size"};
  return {};
}

Claims claims_of_derivative(const DerivativeConfig& derivative, const TangentPolicy& tangent, const Claims& otherwise) {
  if (tangent.warmup != 1) return {false, false, fmt::format("{} of the derivative", tangent.warmup)};
  if (tangent.clamp > 0) return {false, false, fmt::format("elements of the derivative are cut to {}", tangent.clamp)};
  if (derivative.kind != "jvp") return {false, false, fmt::format("a difference of {} in place of the derivative", derivative.delta)};
  return otherwise;
}

}  // namespace fm
