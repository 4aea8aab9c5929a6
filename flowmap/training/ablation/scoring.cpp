#include "flowmap/training/ablation/scoring.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "data/png.h"
#include "data/source.h"
#include "flowmap/training/chain/comparison_grid.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/plane_run.h"
#include "flowmap/training/chain/samples_page.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// Passes on the teacher with Euler's method, once for each number of steps. With guidance a step takes two calls.
void scored_teacher(TrainingRun& run, const std::vector<int>& steps, const TakeGenerator& take) {
  if (!run.recipe().evaluate.teacher || !run.has_teacher()) return;
  std::vector<std::int64_t> points;
  for (const int n : steps) points.push_back(n + 1);
  const StageSpec& stage = stage_that_makes(Makes::teacher);
  scored_generators(run, stage.scored_as, points, take);
}

constexpr std::int64_t shown_points = 1000;

// The generators of one seed. `to` has, for each of them, the list that its score is appended to, and the score so far.
struct InPlane {
  PlaneRun plane;
  std::vector<std::pair<std::vector<Score>*, Score>> to;

  void add(TrainingRun& run, const ScoredGenerator& g, std::vector<Score>& scores) {
    add_generator(plane, run, g);
    to.emplace_back(&scores, g.of);
  }
  // `shown` receives the plots; null: no plots.
  void finish(const Recipe& r, const std::string& reference_id, Shown* shown) {
    const PlaneReport report = shown == nullptr ? PlaneReport() : plane_report(plane, {.errors = false, .fields = false, .points = shown_points});
    const std::vector<PlaneScore> scores = shown == nullptr ? plane_scores(plane) : report.scores;
    if (shown != nullptr) take_pictures(report, *shown);
    for (std::size_t i = 0; i < to.size(); ++i) {
      Score& of = to[i].second;
      of.samples = of.reference = plane.samples;
      of.seed = static_cast<std::int64_t>(plane.seed), of.classes = r.classes, of.data = r.data, of.reference_id = reference_id;
      for (const Metric& m : scores.at(i).values) of.metrics[m.name] = m.value;
      to[i].first->push_back(of);
    }
  }

 private:
  void take_pictures(const PlaneReport& report, Shown& shown) const {
    shown.trajectories = report.trajectories;
    std::map<std::string, bool> seen;
    for (std::size_t i = 0; i < to.size(); ++i)
      if (!std::exchange(seen[to[i].second.name], true)) shown.samples.push_back(report.samples.at(i));
  }
};

// Scores all generators of one seed together, so that the exact flow of their noise is computed once.
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
  for (auto& [seed, in_plane] : by_seed) in_plane.finish(run.recipe(), fingerprint(*test), seed == f.trials.front().seed ? &f.shown : nullptr);
}

// Collects the first seed's samples in the first number of calls. finish() plots them in groups of a few variants, each beside the test data.
class Curves {
 public:
  Curves(TrainingRun& run, Findings& findings, Evaluator& evaluator) : run_(run), f_(findings), evaluator_(evaluator) {
    if (!evaluator.scores_values() || space_of(run.recipe()).pictures) return;
    evaluator.on_features = [this](const Score& s, const Tensor& x, const std::vector<std::int64_t>& labels) {
      if (s.calls == f_.calls.front() && s.seed == f_.trials.front().seed && s.name != stage_that_makes(Makes::teacher).scored_as)
        sets_.push_back(named_samples(run_.recipe(), s.name, x, labels));
    };
  }
  void finish() {
    const Reference& reference = evaluator_.reference();
    for (std::size_t i = 0; i < sets_.size(); i += together) {
      std::vector<NamedSamples> some{named_samples(run_.recipe(), "test data", reference.features, reference.labels)};
      some.insert(some.end(), sets_.begin() + static_cast<std::ptrdiff_t>(i), sets_.begin() + static_cast<std::ptrdiff_t>(std::min(sets_.size(), i + together)));
      for (PlotGroup& group : sample_curves(some, run_.class_names())) f_.shown.curves.push_back(std::move(group));
    }
  }

 private:
  static constexpr std::size_t together = 4;
  TrainingRun& run_;
  Findings& f_;
  Evaluator& evaluator_;
  std::vector<NamedSamples> sets_;
};

// The grid of images: test images, the teacher's samples, and a block for each variant of the first seed, in the first number of calls.
class ImageGrid {
 public:
  ImageGrid(TrainingRun& run, Findings& f) : f_(f), wanted_(space_of(run.recipe()).pictures) {
    if (!wanted_) return;
    const Recipe& r = run.recipe();
    const std::int64_t points = r.evaluate.teacher_points, blocks = std::ssize(f.variants);
    const std::string teacher = fmt::format("teacher {}", points);
    std::vector<std::string> names{ComparisonGrid::real_name, ComparisonGrid::rebuilt_name, teacher};
    for (const Variant& v : f.variants) names.push_back(v.name);
    const std::int64_t rows = blocks > 8 ? 1 : 3;
    grid_.emplace(run, names, rows);
    grid_->add_real(rows);
    if (run.has_teacher()) grid_->add(teacher, run.teacher_generator(run.load_teacher(), points), seed());
  }
  // Adds the block of this generator if it belongs to the grid.
  void take(const ScoredGenerator& g) {
    if (wanted_ && g.of.seed == f_.trials.front().seed && g.of.calls == f_.calls.front()) grid_->add(g.of.name, g.generate, seed());
  }
  void finish() {
    if (!wanted_) return;
    const std::vector<std::uint8_t> png = encode_png(grid_->image());
    f_.shown.grid.assign(png.begin(), png.end());
  }

 private:
  std::uint64_t seed() const { return static_cast<std::uint64_t>(f_.trials.front().seed); }

  Findings& f_;
  bool wanted_;
  std::optional<ComparisonGrid> grid_ = {};
};

}  // namespace

void score(TrainingRun& run, Findings& f) {
  if (run.recipe().in_plane()) return score_in_plane(run, f);
  Evaluator evaluator(run);
  Curves curves(run, f, evaluator);
  ImageGrid grid(run, f);
  if (f.what == "objective") scored_teacher(run, f.calls, [&](const ScoredGenerator& g) { f.teacher.push_back(evaluator.score(g)); });
  for (Trial& t : f.trials)
    if (!t.diverged)
      scored_flow_map(run, f.variants[t.variant].name, t.folder, f.calls, t.seed, [&](const ScoredGenerator& g) {
        t.scores.push_back(evaluator.score(g));
        grid.take(g);
      });
  curves.finish();
  grid.finish();
}

}  // namespace fm
