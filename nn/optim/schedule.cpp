#include "nn/optim/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace fm {

void check(const LearningRate& rate) {
  if (!(std::isfinite(rate.peak) && rate.peak >= 0 && std::isfinite(rate.end) && rate.end >= 0))
    throw ConfigError(fmt::format("learning rate: peak = {} and end = {} must be finite and >= 0", rate.peak, rate.end));
  if (rate.warmup_steps < 0) throw ConfigError(fmt::format("learning rate: warmup_steps = {} must be >= 0", rate.warmup_steps));
  if (rate.decay == "constant") return;
  if (rate.decay != "cosine" && rate.decay != "linear")
    throw ConfigError(fmt::format("learning rate: decay = {} must be constant, cosine or linear", rate.decay));
  const std::int64_t begin = std::max(rate.decay_begin, rate.warmup_steps);
  if (rate.decay_end <= begin)
    throw ConfigError(fmt::format("learning rate: decay_end = {} is not after step {}, where the {} fall begins; raise decay_end",
                                  rate.decay_end, begin, rate.decay));
}

double learning_rate(const LearningRate& rate, std::int64_t step) {
  if (step < rate.warmup_steps) return rate.peak * static_cast<double>(step + 1) / static_cast<double>(rate.warmup_steps);
  if (rate.decay == "constant") return rate.peak;
  check(rate);
  const std::int64_t begin = std::max(rate.decay_begin, rate.warmup_steps);
  if (step >= rate.decay_end) return rate.end;
  const double x = static_cast<double>(std::max<std::int64_t>(step - begin, 0)) / static_cast<double>(rate.decay_end - begin);
  if (rate.decay == "cosine") return rate.end + (rate.peak - rate.end) * 0.5 * (1 + std::cos(x * std::numbers::pi));
  return rate.peak + (rate.end - rate.peak) * x;
}

double average_decay(double decay, bool ramp, std::int64_t step) {
  return ramp ? std::min(decay, static_cast<double>(1 + step) / static_cast<double>(10 + step)) : decay;
}

}  // namespace fm
