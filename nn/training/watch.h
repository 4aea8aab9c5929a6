// Watches the numbers of a training: detects explosions (nn/training/guard.h) and the best checkpoint so far.
//
// A rewind resumes from the newest checkpoint before the explosion, with half the learning rate. All decisions depend only on the steps and on
// checkpoints, so a run that is killed and resumed warns, rewinds and keeps checkpoints as an uninterrupted one does. (But a stop saves an additional
// checkpoint, which a later rewind may use.)
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/config/visit.h"
#include "nn/training/guard.h"
#include "nn/training/observer.h"
#include "tensor/error.h"

namespace fm {

struct WatchConfig {
  std::string on_explosion = "warn", keep_best;
  double explosion_factor = 10;
  template <class V> void visit(V&& v) {
    v("on_explosion", on_explosion,
      "reaction to a residual, gradient norm or |du/dt| far above its running median: a warning; a stop (exit code 4); or a rewind to the last good "
      "checkpoint with half the learning rate",
      one_of({"warn", "stop", "rewind"}), flag("on-explosion"));
    v("explosion_factor", explosion_factor, "multiple of the running median: training counts as exploding if a watched number stays above it for three steps in a row",
      range(2, 1e6));
    v("keep_best", keep_best,
      "name of a column of metrics.csv: the checkpoint with the lowest mean of this column since the previous checkpoint, or with the best score (loop.score_every), is also kept as checkpoints/best; empty: none is",
      flag("keep-best"));
  }
};

// Thrown at an explosion if on_explosion is stop or rewind.
struct ExplodedError : DivergedError {
  ExplodedError(const std::string& what, std::int64_t began_at) : DivergedError(what), began(began_at) {}
  std::int64_t began;                    // first step of the explosion, counted from 1
};

class LoopWatch {
 public:
  static constexpr int most_rewinds = 5;

  // The observer receives the warnings, and must outlive this object. `remedies` returns the likely remedies for a number that explodes; may be empty.
  using Remedies = std::function<std::string(const std::string& number)>;
  LoopWatch(std::string stage, WatchConfig config, Remedies remedies, LoopObserver& observer);

  // Call it after restore() of the checkpoint from which training resumes. If a number of the next step is above `leap` times its median before the
  // checkpoint, it is reported, followed by `advice`. The guard alone would miss such a number if the history is short.
  static constexpr double leap = 1000;
  void resumed(std::string advice) { resumed_ = std::move(advice); }

  // Takes the numbers of one step. `complete`: they are all columns of metrics.csv. ExplodedError at an explosion; ConfigError if a complete list does
  // not contain the column keep_best.
  void observe(std::int64_t step, const LoopNumbers& numbers, bool complete);

  // The scores that some steps measure (StageScores), and those of them that are better if they are higher: keep_best may name one.
  void set_scores(std::vector<std::string> names, std::vector<std::string> higher) { score_names_ = std::move(names), higher_ = std::move(higher); }
  // The scores of this step; empty: it has none. They count for keep_best alone, at the checkpoint of the same step, not for the detection of explosions.
  // ConfigError if they lack the one that keep_best names and no earlier step had it.
  void take_scores(const LoopNumbers& numbers);

  bool rewinds() const { return config_.on_explosion == "rewind"; }
  double rate_scale() const { return rate_scale_; }
  std::int64_t explosions() const { return explosions_; }
  bool calm() const { return guard_.calm(); }

  // take_largest_norm() returns the largest gradient norm since its last call, so that the log shows rare large ones between its lines.
  void saw_norm(double norm) { largest_norm_ = std::max(largest_norm_, norm); }
  double take_largest_norm() { return std::exchange(largest_norm_, 0); }

  // Call it at each checkpoint. Returns true if the checkpoint, of this step, is the best so far, and begins the next mean.
  bool is_best(std::int64_t step);

  nlohmann::ordered_json state() const;                    // for a checkpoint; call is_best() first
  void restore(const nlohmann::ordered_json& state);       // the state in a checkpoint; null (an older checkpoint): begins anew
  std::int64_t rewound_to() const { return rewound_to_; }  // the checkpoint of the last rewind; -1: none
  // Returns to the state of the checkpoint of step `to`, with half the learning rate. DivergedError after most_rewinds rewinds.
  void rewind(std::int64_t to, const nlohmann::ordered_json& state);

 private:
  void check_resumed(std::int64_t step, const LoopNumbers& numbers);

  std::string stage_;
  std::vector<std::string> score_names_, higher_;
  double score_ = std::numeric_limits<double>::quiet_NaN();    // of this step, smaller is better
  bool was_scored_ = false;              // an earlier step had the score that keep_best names
  std::optional<std::string> resumed_;   // the advice, until the first step was checked
  WatchConfig config_;
  Remedies remedies_;
  LoopObserver& observer_;
  ExplosionGuard guard_;
  double largest_norm_ = 0;
  double rate_scale_ = 1, sum_ = 0, best_ = std::numeric_limits<double>::infinity();
  std::int64_t best_step_ = -1;          // the checkpoint with best_
  std::string other_best_;               // JSON of the entry `best` in the restored state, kept for later trainings while keep_best is empty; may be empty
  std::int64_t explosions_ = 0, count_ = 0, rewound_to_ = -1;
  int rewound_ = 0;
};

}  // namespace fm
