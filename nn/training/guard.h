// Detects an exploding training: a watched number far above its own running median for several steps in a row.
//
//   above(x_k)   x_k > factor * median(x_{k-window} ... x_{k-1}),  and above a floor where small values mean nothing
//   alarm        above() for `patience` observations in a row, once there are `least` in the history
//
// Numbers above their bound do not enter the history, so an ongoing explosion does not raise the bound. MeanFlow's du/dt is a
// product of Jacobians, and a few rows with a large one can carry a run away within tens of steps (docs/decisions.md, "Explosions").
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
  std::int64_t step = 0, began = 0;      // counted from 1: now, and the first of the steps in a row
};

class ExplosionGuard {
 public:
  explicit ExplosionGuard(GuardOptions options = {}) : options_(options) {}

  // The numbers of one step. Only raw_mse, loss, grad_norm and derivative_ratio are used, and loss only without a raw_mse (an
  // adaptive metric keeps the loss near 1). Returns the first alarm of an episode; the next comes after the number has been below its bound for
  // `least` observations.
  std::optional<Alarm> observe(std::int64_t step, const std::vector<std::pair<std::string, double>>& numbers);

  // The first of these numbers that is more than `factor` times the median of its history, however short. For the first step after a
  // resume: the history is from before the checkpoint, so a number so far above it means that the weights already exploded.
  std::optional<Alarm> leap(std::int64_t step, const std::vector<std::pair<std::string, double>>& numbers, double factor) const;

  bool calm() const;                     // no number is above its bound now

  // For checkpoints, so that a resumed run sees the same alarms.
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

// "mfd: step 812: grad_norm 31 is 40 times its running median 0.78, for 3 steps: training is exploding; likely remedies: ..."
std::string alarm_text(const std::string& stage, const Alarm& alarm, double factor, const std::string& remedies);

}  // namespace fm
