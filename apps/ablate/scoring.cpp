#include "apps/ablate/scoring.h"

#include <map>

#include "apps/train/points_report.h"
#include "data/source.h"
#include "flowmap/training/chain/evaluation.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// The teacher by Euler's method in so many steps. With guidance a step is two calls.
void scored_teacher(TrainingRun& run, const std::vector<int>& steps, const TakeGenerator& take) {
  if (!run.recipe().evaluate.teacher || !run.has_teacher()) return;
  std::vector<std::int64_t> points;
  for (const int n : steps) points.push_back(n + 1);
  const StageSpec& stage = stage_that_makes(Makes::teacher);
  scored_generators(run, stage.scored_as, points, take);
}

// Generators in the order of their scores: `to` is where each goes.
struct InPlane {
  PlaneRun plane;
  std::vector<std::pair<std::vector<Score>*, Score>> to;

  void add(TrainingRun& run, const ScoredGenerator& g, std::vector<Score>& scores) {
    add_generator(plane, run, g);
    to.emplace_back(&scores, g.of);
  }
  void finish(const Recipe& r, const std::string& reference_id) {
    const std::vector<PlaneScore> scores = plane_scores(plane);
    for (std::size_t i = 0; i < to.size(); ++i) {
      Score& of = to[i].second;
      of.samples = of.reference = plane.samples;
      of.seed = static_cast<std::int64_t>(plane.seed), of.classes = r.classes, of.data = r.data, of.reference_id = reference_id;
      for (const Metric& m : scores.at(i).values) of.metrics[m.name] = m.value;
      to[i].first->push_back(of);
    }
  }
};

// All generators of one seed together: the exact flow of their noise is computed once.
void score_in_plane(TrainingRun& run, Findings& f) {
  const std::shared_ptr<const SampleSource> test = open_source(run.recipe().data, Split::test);
  std::map<std::int64_t, InPlane> by_seed;
  const auto of = [&](std::int64_t seed) -> InPlane& {
    const auto [found, is_new] = by_seed.try_emplace(seed);
    if (is_new) found->second.plane = plane_of(run, *test), found->second.plane.seed = static_cast<std::uint64_t>(seed);
    return found->second;
  };
  if (f.what == "objective") scored_teacher(run, f.calls, [&](const ScoredGenerator& g) { of(f.trials.front().seed).add(run, g, f.teacher); });
  for (Trial& t : f.trials)
    if (!t.diverged)
      scored_flow_map(run, f.variants[t.variant].name, t.folder, f.calls, t.seed, [&](const ScoredGenerator& g) { of(t.seed).add(run, g, t.scores); });
  for (auto& [seed, in_plane] : by_seed) in_plane.finish(run.recipe(), fingerprint(*test));
}

}  // namespace

void score(TrainingRun& run, Findings& f) {
  if (run.recipe().in_plane()) return score_in_plane(run, f);
  Evaluator evaluator(run);
  if (f.what == "objective") scored_teacher(run, f.calls, [&](const ScoredGenerator& g) { f.teacher.push_back(evaluator.score(g)); });
  for (Trial& t : f.trials)
    if (!t.diverged)
      scored_flow_map(run, f.variants[t.variant].name, t.folder, f.calls, t.seed, [&](const ScoredGenerator& g) { t.scores.push_back(evaluator.score(g)); });
}

}  // namespace fm
