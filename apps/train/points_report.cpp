#include "apps/train/points_report.h"

#include "apps/train/run_report.h"
#include "data/report/clock.h"
#include "data/report/html.h"
#include "flowmap/training/chain/plane_run.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/plane.h"

namespace fm {
namespace {

struct Trained {
  PlaneRun plane;
  std::vector<Score> of;                 // one per generator, without its numbers
};

// Adds the generators of these names. A teacher is added with all its calls and with one call, to compare flow maps with both.
void add_generators(Trained& t, TrainingRun& run, const std::vector<std::string>& names, const std::string& reference_id) {
  const Recipe& r = run.recipe();
  for (const std::string& name : names)
    scored_generators(run, name, {r.evaluate.teacher_points, 2}, [&](const ScoredGenerator& g) {
      add_generator(t.plane, run, g);
      Score& of = t.of.emplace_back(g.of);
      of.samples = of.reference = t.plane.samples;
      of.seed = r.seed, of.classes = r.classes, of.data = r.data;
      of.reference_id = reference_id, of.date = utc_now();
    });
}

}  // namespace

void show_points(TrainingRun& run, const std::vector<std::string>& names) {
  const Recipe& r = run.recipe();
  Messages& log = run.context().log;
  const std::shared_ptr<const SampleSource> test = open_source(r.data, Split::test);
  Trained trained;
  trained.plane = plane_of(run, *test);
  add_generators(trained, run, names, fingerprint(*test));
  const PlaneReport report = plane_report(trained.plane);
  log.info("{:<12} {:>6} {:>16} {:>12}", "", "calls", "energy distance", "map error");
  for (const PlaneScore& s : report.scores)
    log.info("{:<12} {:>6} {:>16.4f} {:>12.4f}", s.name, s.calls > 0 ? fmt::format("{}", s.calls) : "", s.value("energy_distance"), s.value("map_error"));
  for (std::size_t i = 0; i < trained.of.size(); ++i)
    for (const Metric& m : report.scores.at(i).values) trained.of[i].metrics[m.name] = m.value;
  publish_scores(run, trained.of, plane_section(report));
}

}  // namespace fm
