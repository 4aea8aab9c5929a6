#include "apps/train/points_report.h"

#include "apps/train/run_report.h"
#include "apps/train/stages.h"
#include "data/report/clock.h"
#include "data/report/html.h"
#include "flowmap/training/plane.h"
#include "nn/loaded.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

struct Trained {
  PlaneRun plane;
  std::vector<Score> of;                 // of each generator, without its numbers
};

// The test split's first points: as many as are drawn, and as many again to compare them with.
void add_test_points(Trained& t, const Recipe& r, const SampleSource& test) {
  const std::int64_t n = std::min(2 * r.evaluate.samples, test.count());
  const Tensor points = Tensor::empty({n, 2}, DType::f32, Device{}), labels = Tensor::empty({n}, DType::i64, Device{});
  for (std::int64_t i = 0; i < n; ++i) {
    test.read(i, {}, points.data<float>() + 2 * i);
    labels.data<std::int64_t>()[i] = test.label(i);
  }
  t.plane.test = points;
  if (r.conditional) t.plane.labels = labels;
  if (r.guidance == 1) t.plane.exact = known_mixture(test.name());          // a guided flow is not the data's
  t.plane.samples = std::min(r.evaluate.samples, n);
  t.plane.seed = static_cast<std::uint64_t>(r.seed);
}

void add_generators(Trained& t, TrainingRun& run, const std::string& reference_id) {
  const Recipe& r = run.recipe();
  const auto add = [&](const Network& network, const StageSpec& stage, int calls, LatentGenerator generate) {
    t.plane.generators.push_back({.name = stage.scored_as, .calls = calls, .generate = std::move(generate)});
    t.of.push_back({.name = stage.scored_as, .calls = calls, .stage = stage.is_given(r) ? r.*stage.given : stage.name, .step = run.loaded_step(stage.name),
                    .checkpoint = checksum(network.state()), .dtype = network.precision(), .samples = t.plane.samples, .seed = r.seed,
                    .guidance = network.two_times() ? 1 : r.guidance, .classes = r.classes, .data = r.data, .reference = t.plane.samples,
                    .reference_id = reference_id, .date = utc_now()});
  };
  for (const StageSpec& stage : stage_table()) {
    if (!stage.is_generator() || !run.is_available(stage)) continue;
    if (stage.makes == Makes::teacher && !r.evaluate.teacher) continue;
    if (stage.makes == Makes::teacher) {
      const Network teacher = run.load_teacher();
      t.plane.teacher = run.guided(teacher.v());
      const int a_step = r.guidance == 1 ? 1 : 2;                          // guided: with the label and without
      for (const std::int64_t points : {r.evaluate.teacher_points, std::int64_t{2}})
        add(teacher, stage, a_step * narrow<int>(points - 1), run.teacher_generator(teacher.v(), points));
      continue;
    }
    const Network map = run.load_student(stage.name);
    t.plane.maps.push_back({stage.scored_as, map.u()});
    for (const int calls : parse_steps(r.evaluate.steps)) add(map, stage, calls, flow_map_generator(map.u(), calls));
  }
}

}  // namespace

bool show_points(TrainingRun& run) {
  const Recipe& r = run.recipe();
  Logger& log = run.context().log;
  if (r.sample_shape != Shape{2}) {
    log.info("samples are {}: scores and pictures are made of points in the plane alone; the stages' reports have the curves", to_string(r.sample_shape));
    return false;
  }
  const std::shared_ptr<const SampleSource> test = open_source(r.data, Split::test);
  Trained trained;
  add_test_points(trained, r, *test);
  add_generators(trained, run, fingerprint(*test));
  const PlaneReport report = plane_report(trained.plane);
  log.info("{:<12} {:>6} {:>16} {:>12}", "", "calls", "energy distance", "map error");
  for (const PlaneScore& s : report.scores)
    log.info("{:<12} {:>6} {:>16.4f} {:>12.4f}", s.name, s.calls > 0 ? fmt::format("{}", s.calls) : "", s.value("energy_distance"), s.value("map_error"));
  for (std::size_t i = 0; i < trained.of.size(); ++i)
    for (const Metric& m : report.scores.at(i).values) trained.of[i].metrics[m.name] = m.value;
  publish_scores(run, trained.of, plane_section(report));
  return true;
}

}  // namespace fm
