// Results of a training on points of the plane: a score for each generator, and plots of its samples, its flow and its maps.
//
// Test points, samples and scores are in the space of the data. Noise, flows and fields are in the latent space, which scales the data if it has statistics.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/report/event_file.h"
#include "data/report/html.h"
#include "flowmap/gaussian.h"
#include "flowmap/network.h"
#include "flowmap/training/latent_space.h"
#include "flowmap/trained_jumps.h"

namespace fm {

struct PlaneGenerator {
  std::string name;                      // "mfd", "teacher"
  int calls = 1;                         // network calls for one sample
  std::function<Tensor(const Tensor& noise, const Labels& y)> generate;        // (n, 2), (n) or undefined -> latents (n, 2)
  bool follows_flow = true;              // false: no map error, because the sampler adds noise, or the map was trained for another aim than the flow
};

struct PlaneMap {
  std::string name;
  FlowMapNet u;
  Jumps jumps = Jumps::any;              // the trained jumps; only these are plotted
  bool follows_flow = true;              // false: no plot of errors, because the map was trained for another aim than the flow
};

struct PlaneRun {
  LatentSpace space = identity_space({2});   // the space in which the networks work
  std::vector<PlaneGenerator> generators;
  std::vector<PlaneMap> maps;            // the networks whose one call, field and error are shown
  VelocityNet teacher;                   // velocity of the plotted trajectories; empty: the exact flow, or if that is unknown the map's own u(z, t, t)
  Tensor test;                           // (m, 2) points of the data that no training saw
  Labels labels;                         // i64 (m), one for each test point: the conditions of generators and maps. Undefined: no condition
  // The data's distribution, if known. With labels the exact flow of label k is that of component k.
  std::optional<GaussianMixture> exact;
  std::uint64_t seed = 1;
  std::int64_t samples = 4000;           // number of samples of each generator; only as many samples are made as there are test points
};

// Returns the distribution of the data with this name, "points:8gaussians". Returns nothing for other names, whose exact flow is not known.
std::optional<GaussianMixture> known_mixture(std::string_view source);

struct PlaneScore {
  std::string name;
  int calls = 0;                         // 0: no network made these samples
  // "energy_distance" (energy.h) to the test points, and "map_error" if the exact flow is known: the mean of |sample - exact sample|^2 over
  // noise. Both are NaN when a sample is not finite, and "not_finite" counts such samples.
  std::vector<Metric> values;

  double value(std::string_view name) const;       // NaN if the name is missing
};

struct PlaneReport {
  std::string about;                     // how the scores were computed, in a sentence or two
  std::vector<PlaneScore> scores;        // generators in their order, then for comparison the exact flow, other test points and noise itself
  std::vector<Figure> samples;           // one for each generator: test points and samples
  std::vector<Figure> trajectories;      // one for each map whose flow is known: the flow from some points of noise, and one call of the map from each
  std::vector<Figure> fields;            // u(z, s, t) of each map at up to four pairs (s, t) for which the map was trained
  std::vector<Figure> errors;            // if the exact flow is known, one for each map that follows the flow: squared error of one call over the noise
};

// The plots that a report shows beside its scores.
struct PlanePictures {
  bool errors = true, fields = true;
  std::int64_t points = 0;               // largest number of points of each group in plots of samples and trajectories, of which the first are shown; 0: all
};

// ShapeError if `test` or a generator's samples are not points (n, 2), or if `labels` does not have one label for each point. ConfigError for fewer than 2
// samples, and for a label without a component in `exact`. Each function takes about 3 s of
// one core for the exact flow of 8 Gaussians, besides the networks' calls.
std::vector<PlaneScore> plane_scores(const PlaneRun& run);
PlaneReport plane_report(const PlaneRun& run, const PlanePictures& shown = {});

// The report as a section of another page (HtmlReport::embed), and as a page of its own.
std::string plane_section(const PlaneReport& report);
std::string plane_page(std::string_view title, const PlaneReport& report);

}  // namespace fm
