#include "flowmap/training/setup/setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "data/report/numbers.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/resources.h"
#include "tensor/error.h"
#include "tensor/memory/machine_memory.h"

namespace fm {
namespace {

// A stage's share of the budget. share: of the time of all steps. least: steps that a useful result needs. most: steps beyond which results do not improve.
struct Share {
  const char* stage;
  double share;
  std::int64_t least, most;
  double epochs;                           // most passes over the data; 0: the stage uses no data
};
constexpr Share shares[] = {{stage_name::judge, 0.06, 100, 3000, 100},    {stage_name::encoder, 0.14, 150, 20000, 400},
                            {stage_name::decoder, 0.15, 150, 20000, 400}, {stage_name::fm, 0.40, 1000, 100000, 3000},
                            {stage_name::cmt, 0.08, 60, 5000, 0},         {stage_name::mfd, 0.17, 250, 50000, 1000}};
constexpr std::int64_t fewest_steps = 10, rehearsed_samples = 4000, rehearsed_of_a_class = 20, preview_rows = 4;
constexpr double share_of_evaluation = 0.12, least_share_of_steps = 0.3;

const Share& share_of(const std::string& stage) {
  for (const Share& s : shares)
    if (stage == s.stage) return s;
  throw Error(fmt::format("stage {} has no share of a budget", stage));
}

std::int64_t most_steps(const Share& s, const DataFacts& f, std::int64_t batch) {
  if (s.epochs == 0) return s.most;
  return std::clamp(static_cast<std::int64_t>(s.epochs * static_cast<double>(f.train) / static_cast<double>(batch)), 2 * s.least, s.most);
}

// Rounds down to two digits: 2637 -> 2600.
std::int64_t rounded(double steps) {
  if (steps < 100) return static_cast<std::int64_t>(steps);
  const double unit = std::pow(10.0, std::floor(std::log10(steps)) - 1);
  return static_cast<std::int64_t>(std::floor(steps / unit) * unit);
}

double of_whole_data(const DataFacts& f, const Rehearsal& r) { return std::max(1.0, static_cast<double>(f.train) / static_cast<double>(r.samples)); }

// Seconds of an evaluation, with the samples of the grid of images at the end.
double evaluation_seconds(const Choice& c, const DataFacts& f, const Rehearsal& r) {
  return r.evaluation * of_whole_data(f, r) + r.sample * static_cast<double>(c.samples + preview_rows * f.classes());
}

bool is_enough(const Share& s, std::int64_t steps, std::int64_t most) { return steps >= std::min(s.least, most); }

bool is_enough(const Choice& c, const DataFacts& f, const Recipe& r) {
  return std::all_of(c.steps.begin(), c.steps.end(), [&](const auto& entry) {
    const Share& s = share_of(entry.first);
    return is_enough(s, entry.second, most_steps(s, f, stage_loop(r, entry.first).batch));
  });
}

Recipe resolved(const DataFacts& facts, const Choice& choice) {
  Recipe r = recipe_of(propose(facts, choice));
  r.resolve_with_data();
  return r;
}

class Search {
 public:
  Search(const DataFacts& facts, const SetupRequest& request, Messages& log, Ranks& ranks) : facts_(facts), request_(request), log_(log), ranks_(ranks) {
    choice_.seed = request.seed;
    choice_.teacher_points = request.budget < 300 ? 20 : 50;
    if (facts.has_limit && facts.train > rehearsed_samples) limit_ = std::max(rehearsed_of_a_class, rehearsed_samples / facts.classes());
  }

  void run() {
    const std::vector<std::int64_t> sides = wanted_sides();
    for (const std::int64_t side : sides) {
      choice_.side = side;
      choice_.from_memory = true;
      choice_.from_memory = memory_of_data(resolved(facts_, choice_), facts_.train) < machine_memory(false).bytes / 3;
      if (attempt(0, side == sides.back()) && (side == sides.back() || is_enough(filled(), facts_, recipe()))) break;
    }
    for (std::size_t rung = largest_rung(); rung > 0; --rung)
      if (attempt(rung, false)) return;
  }

  const Rehearsal& times() const { return times_; }
  Choice filled() const {
    Choice c = choice_;
    fill_budget(c, facts_, recipe(), times_, request_.budget);
    return c;
  }

 private:
  Recipe recipe() const { return resolved(facts_, choice_); }

  std::vector<std::int64_t> wanted_sides() const {
    std::vector<std::int64_t> sides = sides_for(facts_);
    if (request_.side == 0) return sides;
    if (!facts_.open_size) throw ConfigError(fmt::format("--size {}: the samples of {} have a fixed size; leave --size out", request_.side, facts_.data));
    return {request_.side};
  }

  // Rehearses networks of this size. Keeps choice and times if the budget has enough steps for them, if the networks are the smallest, or if `always`.
  // rehearse() returns nothing for networks that are far too slow. Returns whether it kept them.
  bool attempt(std::size_t rung, bool always) {
    Choice c = choice_;
    c.rung = rung;
    const Recipe whole = resolved(facts_, c);
    c.limit = limit_;
    const auto worth = [&](const StageTime& t) {
      const Share& s = share_of(t.stage);
      const double steps = s.share * request_.budget / t.step;
      return always || is_enough(s, static_cast<std::int64_t>(2 * steps), most_steps(s, facts_, stage_loop(whole, t.stage).batch));
    };
    const auto times = rehearse(recipe_of(propose(facts_, c)), request_.rehearsals, std::clamp(request_.budget / 1000, 0.1, 0.8), log_, ranks_, worth);
    const std::string what = fmt::format("{}networks of size {} of {}", facts_.pictures ? fmt::format("images of {0}x{0}, ", c.side) : "", rung + 1, rungs_for(facts_));
    if (!times) {
      log_.info("timed: {}: too slow for the budget", what);
      return false;
    }
    c.limit = 0;
    Choice candidate = c;
    fill_budget(candidate, facts_, whole, *times, request_.budget);
    const bool kept = always || rung == 0 || is_enough(candidate, facts_, whole);
    std::string steps;
    for (const StageTime& t : times->stages) steps += fmt::format("{} {} {:.0f} ms", steps.empty() ? "" : ",", t.stage, 1000 * t.step);
    log_.info("timed: {}:{} a step{}", what, steps, kept ? "" : "; too slow for the budget");
    if (kept) choice_ = c, times_ = *times;
    return kept;
  }

  // Returns the largest size of networks that may fit the budget. Estimates their times from the measured times of the smallest networks, scaled by FLOPs
  // for generators and by parameters for the decoder.
  std::size_t largest_rung() const {
    const Recipe small = recipe();
    for (std::size_t rung = rungs_for(facts_) - 1; rung > 0; --rung) {
      Choice c = choice_;
      c.rung = rung;
      const Recipe large = resolved(facts_, c);
      Rehearsal scaled = times_;
      for (StageTime& t : scaled.stages) {
        const StageSpec& stage = stage_named(t.stage);
        if (stage.is_generator()) t.step *= stage_cost(large, t.stage).flops() / stage_cost(small, t.stage).flops();
        else if (stage.makes == Makes::decoder) t.step *= static_cast<double>(stage.parameters(large).all) / static_cast<double>(stage.parameters(small).all);
      }
      fill_budget(c, facts_, large, scaled, request_.budget);
      if (is_enough(c, facts_, large)) return rung;
    }
    return 0;
  }

  const DataFacts& facts_;
  const SetupRequest& request_;
  Messages& log_;
  Ranks& ranks_;
  Choice choice_;
  Rehearsal times_;
  std::int64_t limit_ = 0;
};

double load_of_machine() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

Estimate estimate_of(const DataFacts& f, const Choice& c, const Recipe& r, const Rehearsal& times) {
  Estimate e{.data = times.data * of_whole_data(f, times), .evaluation = evaluation_seconds(c, f, times), .processor = times.processor, .load = load_of_machine()};
  e.memory = static_cast<double>(times.memory) + memory_of_data(r, f.train) - memory_of_data(r, std::min(f.train, times.samples));
  for (const StageTime& t : times.stages) {
    const LoopConfig& loop = stage_loop(r, t.stage);
    e.stages.push_back({t.stage, loop.steps, loop.batch, t.step, t.around + t.step * static_cast<double>(loop.steps)});
    e.disk += checkpoint_bytes(r, stage_named(t.stage));
  }
  return e;
}

std::vector<std::string> remarks_on(const DataFacts& f, const Choice& c, const Recipe& r, const Estimate& e, double budget) {
  std::vector<std::string> out = f.notes;
  std::string few;
  for (const auto& [stage, steps] : c.steps)
    if (!is_enough(share_of(stage), steps, most_steps(share_of(stage), f, stage_loop(r, stage).batch))) few += fmt::format("{}{} {} of {}", few.empty() ? "" : ", ", stage, steps, share_of(stage).least);
  if (!few.empty()) out.push_back(fmt::format("--budget {} leaves fewer steps than a result worth looking at takes: {}; give a longer --budget", duration_text(budget), few));
  else if (e.seconds() < 0.5 * budget)
    out.push_back(fmt::format("the budget of {} is not used up: with {} training samples more steps would learn them by heart", duration_text(budget), f.train));
  const auto [least, most] = std::minmax_element(f.class_counts.begin(), f.class_counts.end());
  if (*most >= 2 * std::max<std::int64_t>(1, *least))
    out.push_back(fmt::format("classes differ in size, {} to {} samples: training shows each sample equally often, scores and samples take each class equally often", *least, *most));
  return out;
}

}  // namespace

double Estimate::seconds() const {
  double sum = data + evaluation;
  for (const StageEstimate& s : stages) sum += s.seconds;
  return sum;
}

void fill_budget(Choice& c, const DataFacts& f, const Recipe& r, const Rehearsal& times, double budget) {
  for (const std::int64_t samples : {2000, 1000, 500, 200, 100, 50, 20}) {
    c.samples = std::max(samples, f.classes());
    if (evaluation_seconds(c, f, times) < share_of_evaluation * budget) break;
  }
  double around = times.data * of_whole_data(f, times) + evaluation_seconds(c, f, times), parts = 0;
  for (const StageTime& t : times.stages) around += t.around, parts += share_of(t.stage).share;
  const double left = std::max(least_share_of_steps * budget, budget - around);
  for (const StageTime& t : times.stages) {
    const Share& s = share_of(t.stage);
    const std::int64_t most = most_steps(s, f, stage_loop(r, t.stage).batch);
    c.steps[t.stage] = std::clamp(rounded(left * s.share / parts / t.step), fewest_steps, std::max(fewest_steps, most));
  }
}

Setup set_up(const DataFacts& facts, const SetupRequest& request, Messages& log, Ranks& ranks) {
  Search search(facts, request, log, ranks);
  search.run();
  const Choice choice = search.filled();
  Setup out{.facts = facts, .choice = choice, .recipe = resolved(facts, choice), .estimate = {}, .remarks = {}};
  out.estimate = estimate_of(facts, choice, out.recipe, search.times());
  out.remarks = remarks_on(facts, choice, out.recipe, out.estimate, request.budget);
  return out;
}

std::vector<std::string> estimate_lines(const Estimate& e) {
  std::vector<std::string> out{fmt::format("{:<12} {:>8} {:>6} {:>12} {:>10}", "stage", "steps", "batch", "a step", "time")};
  for (const StageEstimate& s : e.stages) out.push_back(fmt::format("{:<12} {:>8} {:>6} {:>9.1f} ms {:>10}", s.stage, s.steps, s.batch, 1000 * s.step, duration_text(s.seconds)));
  out.push_back(fmt::format("{:<12} {:>39}", "data", duration_text(e.data)));
  out.push_back(fmt::format("{:<12} {:>39}", "evaluation", duration_text(e.evaluation)));
  out.push_back(fmt::format("{:<12} {:>39}", "all", duration_text(e.seconds())));
  out.push_back(fmt::format("{:<12} {:>39}", "processor", duration_text(e.seconds() * e.processor)));
  out.push_back(fmt::format("memory {}, checkpoints {} on the disk", bytes_text(e.memory), bytes_text(e.disk)));
  return out;
}

}  // namespace fm
