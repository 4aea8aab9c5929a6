#include "nn/training/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace fm {
namespace {

double median_of(const std::deque<double>& history) {
  std::vector<double> v(history.begin(), history.end());
  const auto middle = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

// derivative_ratio, |du/dt| / |u|, is near 0 for a zero-initialized network, and a few units in a healthy training.
double floor_of(const std::string& name) { return name == "derivative_ratio" ? 10 : 0; }

bool is_watched(const std::string& name, bool has_raw) {
  return name == "raw_mse" || name == "grad_norm" || name == "derivative_ratio" || (name == "loss" && !has_raw);
}

}  // namespace

std::optional<Alarm> ExplosionGuard::observe_one(std::int64_t step, const std::string& name, double value) {
  Watched& w = watched_[name];
  const bool judged = std::ssize(w.history) >= options_.least;
  const double median = judged ? median_of(w.history) : 0;
  const bool above = judged && (!std::isfinite(value) || (value > options_.factor * median && value > floor_of(name)));
  if (!above) {
    w.above = 0;
    if (++w.below >= options_.least) w.alarmed = false;
    if (std::isfinite(value)) w.history.push_back(value);
    if (std::ssize(w.history) > options_.window) w.history.pop_front();
    return std::nullopt;
  }
  w.below = 0;
  ++w.above;
  if (w.alarmed || w.above < options_.patience) return std::nullopt;
  w.alarmed = true;
  return Alarm{name, value, median, step, step - w.above + 1};
}

std::optional<Alarm> ExplosionGuard::observe(std::int64_t step, const std::vector<std::pair<std::string, double>>& numbers) {
  const bool has_raw = std::any_of(numbers.begin(), numbers.end(), [](const auto& n) { return n.first == "raw_mse"; });
  std::optional<Alarm> first;
  for (const auto& [name, value] : numbers)
    if (is_watched(name, has_raw))
      if (auto alarm = observe_one(step, name, value); alarm && !first) first = alarm;
  return first;
}

std::optional<Alarm> ExplosionGuard::leap(std::int64_t step, const std::vector<std::pair<std::string, double>>& numbers, double factor) const {
  for (const auto& [name, value] : numbers) {
    const auto w = watched_.find(name);
    if (w == watched_.end() || w->second.history.empty()) continue;
    const double median = median_of(w->second.history);
    if (value > factor * median && value > floor_of(name)) return Alarm{name, value, median, step, step};
  }
  return std::nullopt;
}

bool ExplosionGuard::calm() const {
  return std::all_of(watched_.begin(), watched_.end(), [](const auto& w) { return w.second.above == 0; });
}

nlohmann::ordered_json ExplosionGuard::state() const {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for (const auto& [name, w] : watched_)
    out[name] = {{"history", w.history}, {"above", w.above}, {"below", w.below}, {"alarmed", w.alarmed}};
  return out;
}

void ExplosionGuard::restore(const nlohmann::ordered_json& state) {
  watched_.clear();
  try {
    for (const auto& [name, w] : state.items())
      watched_[name] = {w.at("history").get<std::deque<double>>(), w.at("above").get<std::int64_t>(), w.at("below").get<std::int64_t>(),
                        w.at("alarmed").get<bool>()};
  } catch (const nlohmann::json::exception& e) {
    throw FileError(fmt::format("state.json: the entry guard is invalid: {}", e.what()));
  }
}

std::string alarm_text(const std::string& stage, const Alarm& alarm, double factor, const std::string& remedies) {
  const std::string ratio = alarm.median > 0 ? fmt::format("{:.3g} times its running median {:.3g}", alarm.value / alarm.median, alarm.median)
                                             : fmt::format("far above its running median {:.3g}", alarm.median);
  return fmt::format("{}: step {}: {} {:.4g} is {} (more than {:g}) for {} steps in a row: training is exploding; likely remedies: {}", stage, alarm.step,
                     alarm.number, alarm.value, ratio, factor, alarm.step - alarm.began + 1, remedies);
}

}  // namespace fm
