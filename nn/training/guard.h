// Detects that training explodes: a watched number x stays far above its own running median for several steps in a row.
//
//   above(x_k)   x_k > factor * median(x_{k-window} ... x_{k-1}), and above a floor for numbers whose small values are harmless
//   alarm        above() for `patience` observations in a row, if the history has at least `least` observations
//
// Numbers above their bound do not enter the history, so an explosion does not raise the bound. MeanFlow's du/dt is a product of
// Jacobians, and a few rows with a large du/dt can make a run explode within tens of steps (docs/decisions.md, "Explosions").
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fm {

struct GuardOptions {
  double factor = 10;
  std::int64_t patience = 3, window = 200, least = 20;
};

struct Alarm {
  std::string number;                    // "grad_norm"
  double value = 0, median = 0;
  std::int64_t step = 0, began = 0;      // counted from 1: the step of the alarm, and the first step above the bound
};

class ExplosionGuard {
 public:
  explicit ExplosionGuard(GuardOptions options = {}) : options_(options) {}

  // Takes the numbers of one step. Uses only raw_mse, grad_norm, derivative_ratio and, if there is no raw_mse, loss (an adaptive metric keeps the
  // loss near 1). Returns an alarm at most once per explosion: the same number can alarm again after `least` observations in a row below its bound.
  std::optional<Alarm> observe(std::int64_t step, const std::vector<std::pair<std::string, double>>& numbers);

  // Returns an alarm for the first of these numbers that is more than `factor` times the median of its history, even if the history is short. For
  // the first step after a resume: the history ends at the checkpoint, so such a number means that the checkpoint already contains the explosion.
  std::optional<Alarm> leap(std::int64_t step, const std::vector<std::pair<std::string, double>>& numbers, double factor) const;

  bool calm() const;                     // no number is above its bound now

  // For checkpoints, so that a resumed run raises the same alarms.
  nlohmann::ordered_json state() const;
  void restore(const nlohmann::ordered_json& state);   // FileError if invalid

 private:
  struct Watched {
    std::deque<double> history;
    std::int64_t above = 0, below = 0;   // observations in a row
    bool alarmed = false;
  };
  std::optional<Alarm> observe_one(std::int64_t step, const std::string& name, double value);

  GuardOptions options_;
  std::map<std::string, Watched> watched_;
};

// "mfd: step 812: grad_norm 31 is 40 times its running median 0.78 (more than 10) for 3 steps in a row: training is exploding; ..."
std::string alarm_text(const std::string& stage, const Alarm& alarm, double factor, const std::string& remedies);

}  // namespace fm
