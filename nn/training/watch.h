// Watches a training's own numbers: detects explosions (nn/training/guard.h), and keeps the best checkpoint so far.
//
// A rewind resumes from the newest checkpoint before the explosion with half the learning rate. All decisions are functions of the steps and of
// checkpoints, so a killed and resumed run warns, rewinds and keeps checkpoints like an uninterrupted one. (A stop saves another checkpoint, which
// a later rewind may use.)
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
      "answer to a residual, gradient norm or |du/dt| far above its running median: a warning; a stop (exit code 4); or a rewind to the last good "
      "checkpoint with half the learning rate",
      one_of({"warn", "stop", "rewind"}), flag("on-explosion"));
    v("explosion_factor", explosion_factor, "multiple of the running median above which a number, for three steps, counts as exploding",
      range(2, 1e6));
    v("keep_best", keep_best,
      "column of metrics.csv: the checkpoint with its lowest mean since the one before is kept as checkpoints/best; empty: none",
      flag("keep-best"));
  }
};

// Thrown for stop and rewind.
struct ExplodedError : DivergedError {
  ExplodedError(const std::string& what, std::int64_t began_at) : DivergedError(what), began(began_at) {}
  std::int64_t began;                    // the first step that is not good, counted from 1
};

class LoopWatch {
 public:
  static constexpr int most_rewinds = 5;

  // The observer gets the warnings, and must outlive it. `remedies` of a number that explodes are part of them; may be empty.
  using Remedies = std::function<std::string(const std::string& number)>;
  LoopWatch(std::string stage, WatchConfig config, Remedies remedies, LoopObserver& observer);

  // After restore() of the checkpoint that training resumes from: a number `leap` times its earlier median is reported in the next step, with
  // `advice` at the end of the sentence. With a short history the guard would take it for the normal state.
  static constexpr double leap = 1000;
  void resumed(std::string advice) { resumed_ = std::move(advice); }

  // The numbers of one step; `complete`: all columns of metrics.csv. ExplodedError; ConfigError if a complete list lacks the name in keep_best.
  void observe(std::int64_t step, const LoopNumbers& numbers, bool complete);

  bool rewinds() const { return config_.on_explosion == "rewind"; }
  double rate_scale() const { return rate_scale_; }
  std::int64_t explosions() const { return explosions_; }
  bool calm() const { return guard_.calm(); }

  // The largest norm of the gradients since the last call of take_largest_norm(): rare large ones are seen between lines of the log too.
  void saw_norm(double norm) { largest_norm_ = std::max(largest_norm_, norm); }
  double take_largest_norm() { return std::exchange(largest_norm_, 0); }

  // At a checkpoint: whether it is the best so far. Begins the next mean.
  bool is_best();

  nlohmann::ordered_json state() const;                    // for the checkpoint, after is_best()
  void restore(const nlohmann::ordered_json& state);       // of a checkpoint; an older one without it begins anew
  std::int64_t rewound_to() const { return rewound_to_; }  // the checkpoint of the last rewind; -1: none
  // Back to the state of an earlier checkpoint, with half the learning rate. DivergedError after too many rewinds.
  void rewind(std::int64_t to, const nlohmann::ordered_json& state);

 private:
  void check_resumed(std::int64_t step, const LoopNumbers& numbers);

  std::string stage_;
  std::optional<std::string> resumed_;   // the advice, until the first step was checked
  WatchConfig config_;
  Remedies remedies_;
  LoopObserver& observer_;
  ExplosionGuard guard_;
  double largest_norm_ = 0;
  double rate_scale_ = 1, sum_ = 0, best_ = std::numeric_limits<double>::infinity();
  std::int64_t explosions_ = 0, count_ = 0, rewound_to_ = -1;
  int rewound_ = 0;
};

}  // namespace fm
