#include "flowmap/training/chain/plane_run.h"

#include <algorithm>

#include "data/source.h"
#include "flowmap/training/chain/training_run.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// Takes the test split's first points: as many as are generated, and as many again, which are scored like samples for comparison.
void add_test_points(PlaneRun& plane, const Recipe& r, const SampleSource& test) {
  const std::int64_t n = std::min(2 * r.evaluate.samples, test.count());
  const Tensor points = Tensor::empty({n, 2}, DType::f32, Device{}), labels = Tensor::empty({n}, DType::i64, Device{});
  for (std::int64_t i = 0; i < n; ++i) {
    test.read(i, {}, points.data<float>() + 2 * i);
    labels.data<std::int64_t>()[i] = test.label(i);
  }
  plane.test = points;
  if (r.conditional) plane.labels = labels;
  if (r.guidance == 1) plane.exact = known_mixture(test.name());            // a guided flow is not the data's
  plane.samples = std::min(r.evaluate.samples, n);
  plane.seed = static_cast<std::uint64_t>(r.seed);
}

}  // namespace

PlaneRun plane_of(TrainingRun& run, const SampleSource& test) {
  PlaneRun plane;
  plane.space = run.space();
  add_test_points(plane, run.recipe(), test);
  return plane;
}

void add_generator(PlaneRun& plane, TrainingRun& run, const ScoredGenerator& g) {
  if (!g.map) plane.teacher = run.guided(g.network.v());
  else if (plane.maps.empty() || plane.maps.back().name != g.of.name) plane.maps.push_back({g.of.name, g.map, g.jumps, g.flow_map});
  const bool follows_flow = g.flow_map && (g.of.calls == 1 || g.jumps != Jumps::to_data);
  plane.generators.push_back({.name = g.of.name, .calls = narrow<int>(g.of.calls), .generate = g.generate, .follows_flow = follows_flow});
}

}  // namespace fm
