#include "nn/training/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace fm {

LoopWatch::LoopWatch(std::string stage, WatchConfig config, Remedies remedies, LoopObserver& observer)
    : stage_(std::move(stage)), config_(std::move(config)), remedies_(std::move(remedies)), observer_(observer), guard_({.factor = config_.explosion_factor}) {}

void LoopWatch::check_resumed(std::int64_t step, const LoopNumbers& numbers) {
  const std::string advice = *std::exchange(resumed_, std::nullopt);
  const auto found = guard_.leap(step, numbers, leap);
  if (!found) return;
  ++explosions_;
  const std::string text = fmt::format("{}: step {}: {} is {:.4g}, and its median before the checkpoint that training resumed from was {:.4g}: the "
                                       "checkpoint already contains the explosion: {}", stage_, step, found->number, found->value, found->median, advice);
  if (config_.on_explosion == "stop") throw ExplodedError(text, step);
  observer_.warning(text);
}

void LoopWatch::take_scores(const LoopNumbers& numbers) {
  const auto has = [&](const std::vector<std::string>& list) { return std::find(list.begin(), list.end(), config_.keep_best) != list.end(); };
  score_ = std::nan("");
  if (numbers.empty() || !has(score_names_)) return;
  for (const auto& [name, value] : numbers)
    if (name == config_.keep_best) {
      score_ = has(higher_) ? -value : value, was_scored_ = true;
      return;
    }
  if (was_scored_ || std::isfinite(best_)) return;         // undefined at this step alone, which cannot be the best
  throw ConfigError(fmt::format("--keep-best {}: stage {} has no such score for these samples", config_.keep_best, stage_));
}

void LoopWatch::observe(std::int64_t step, const LoopNumbers& numbers, bool complete) {
  const auto chosen = std::find_if(numbers.begin(), numbers.end(), [&](const auto& n) { return n.first == config_.keep_best; });
  if (chosen != numbers.end()) sum_ += chosen->second, ++count_;
  const bool rare = std::find(score_names_.begin(), score_names_.end(), config_.keep_best) != score_names_.end();
  if (complete && !config_.keep_best.empty() && chosen == numbers.end() && !rare) {
    std::vector<std::string> names = score_names_;
    for (const auto& [name, value] : numbers) names.push_back(name);
    throw ConfigError(fmt::format("--keep-best {}: stage {} has no such column, only {}", config_.keep_best, stage_, fmt::join(names, ", ")));
  }
  if (resumed_) check_resumed(step, numbers);
  const auto alarm = guard_.observe(step, numbers);
  if (!alarm) return;
  ++explosions_;
  const std::string text = alarm_text(stage_, *alarm, config_.explosion_factor,
                                      remedies_ ? remedies_(alarm->number) : "a lower rate.peak, a longer rate.warmup_steps, adamw.clip = 1");
  if (config_.on_explosion != "warn") throw ExplodedError(text, alarm->began);
  observer_.warning(text + " (--on-explosion stop or rewind acts on it)");
}

bool LoopWatch::is_best(std::int64_t step) {
  const double mean = count_ == 0 ? score_ : sum_ / static_cast<double>(count_);
  sum_ = 0, count_ = 0;
  if (!(mean < best_)) return false;
  best_ = mean, best_step_ = step;
  return true;
}

nlohmann::ordered_json LoopWatch::state() const {
  nlohmann::ordered_json out{{"guard", guard_.state()}, {"explosions", explosions_}, {"calm", calm()}};
  if (largest_norm_ > 0) out["largest_norm"] = largest_norm_;
  if (rewound_ > 0) out["rewound"] = rewound_, out["rewound_to"] = rewound_to_, out["rate_scale"] = rate_scale_;
  if (config_.keep_best.empty() && !other_best_.empty()) out["best"] = nlohmann::ordered_json::parse(other_best_);
  if (!config_.keep_best.empty() && std::isfinite(best_)) out["best"] = {{"number", config_.keep_best}, {"mean", best_}, {"step", best_step_}};
  return out;
}

void LoopWatch::restore(const nlohmann::ordered_json& state) {
  sum_ = 0, count_ = 0, largest_norm_ = 0, best_ = std::numeric_limits<double>::infinity(), explosions_ = 0, rewound_ = 0, rewound_to_ = -1, rate_scale_ = 1;
  best_step_ = -1, other_best_.clear();
  guard_ = ExplosionGuard({.factor = config_.explosion_factor});
  if (!state.is_object()) return;
  try {
    guard_.restore(state.at("guard"));
    explosions_ = state.at("explosions").get<std::int64_t>();
    largest_norm_ = state.value("largest_norm", 0.0);
    if (state.contains("rewound")) {
      rewound_ = state["rewound"].get<int>(), rate_scale_ = state.at("rate_scale").get<double>();
      rewound_to_ = state.at("rewound_to").get<std::int64_t>();
    }
    if (!state.contains("best")) return;
    const auto& best = state["best"];
    if (config_.keep_best.empty()) other_best_ = best.dump();
    if (best.at("number") == config_.keep_best) best_ = best.at("mean").get<double>(), best_step_ = best.value("step", std::int64_t{-1});
  } catch (const nlohmann::json::exception& e) {
    throw FileError(fmt::format("{}: state.json of the checkpoint: the entry watch is invalid: {}", stage_, e.what()));
  }
}

void LoopWatch::rewind(std::int64_t to, const nlohmann::ordered_json& state) {
  const int times = rewound_ + 1;
  const double scale = rate_scale_ / 2;
  const std::int64_t explosions = explosions_;
  if (times > most_rewinds)
    throw DivergedError(fmt::format("{}: explodes again after {} rewinds, each with half the learning rate: another remedy is needed", stage_, most_rewinds));
  restore(state);
  rewound_ = times, rate_scale_ = scale, rewound_to_ = to, explosions_ = explosions;
}

}  // namespace fm
