// Time series of synthetic sines with random phases. An MLP learns a MeanFlow in seconds and makes them in one call, with the mean, variance,
// autocorrelation and power that the sines have in closed form. Noise and the untrained network fail the same checks.
#include <doctest/doctest.h>

#include <cmath>

#include "flowmap/metrics/energy.h"
#include "flowmap/metrics/series.h"
#include "flowmap/objective/mean_flow.h"
#include "flowmap/sampler.h"
#include "nn/models/flow_mlp.h"
#include "nn/optim/adamw.h"
#include "tests/flowmap/sines.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t length = 32, classes = 4, made_samples = 2000;

Labels labels(std::int64_t first, std::int64_t n) {
  std::vector<std::int64_t> y;
  for (std::int64_t i = first; i < first + n; ++i) y.push_back(i % classes);
  return Tensor::from(y, {n});
}

void train(const std::shared_ptr<FlowMlp>& model, FlowMlp& average) {
  constexpr std::int64_t steps = 3000, batch = 64, count = 20000;
  const Tensor data = sines(0, count, 1, length, Split::train).reshape({count, length});
  AdamW optimizer(named_parameters(*model), {.clip = 1});
  optimizer.add_average(named_parameters(average), 0.99);
  MeanFlowConfig objective;
  objective.pairs.diagonal_share = 0.5, objective.pairs.time.upper = 1, objective.derivative.kind = "jvp", objective.labels = {0, classes};
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int64_t first = step * batch % (count - batch);
    const double rate = 4e-3 * std::min(1.0, static_cast<double>(step + 1) / 50) * (1 - static_cast<double>(step) / steps);
    Tape tape;
    const Draws draws{1, static_cast<std::uint32_t>(step), consecutive(first, batch)};
    optimizer.step(backward(loss_on(objective, {.net = model}, {data.slice(0, first, first + batch), labels(first, batch), draws}).loss), {.lr = rate});
  }
}

// Root mean square of values[i] - wanted(i) from i = first on.
template <class F> double error(const Tensor& values, std::int64_t first, const F& wanted) {
  const std::vector<double> x = values.to_vector<double>();
  double sum = 0;
  for (auto i = static_cast<std::size_t>(first); i < x.size(); ++i) sum += std::pow(x[i] - wanted(static_cast<std::int64_t>(i)), 2);
  return std::sqrt(sum / static_cast<double>(x.size() - static_cast<std::size_t>(first)));
}

// The largest error of the power of one label at one frequency. Sample i has label i mod 4. Label k has power 0.64 at k + 1 and 0.36 at k + 5.
double power_error(const Tensor& samples) {
  double largest = 0;
  for (std::int64_t k = 0; k < classes; ++k) {
    std::vector<Tensor> of_label;
    for (std::int64_t i = k; i < samples.dim(0); i += classes) of_label.push_back(samples.slice(0, i, i + 1));
    const std::vector<double> power = series_statistics(concat(of_label, 0), 1, 12).power.to_vector<double>();
    for (std::int64_t f = 0; f < 12; ++f)
      largest = std::max(largest, std::abs(power[static_cast<std::size_t>(f)] - (f == k + 1 ? 0.64 : f == k + 5 ? 0.36 : 0)));
  }
  return largest;
}

// Returns the names of the statistics in which samples (n, 1, length) differ from the data. The bounds are about three times the errors of a trained network.
std::string wrong(const Tensor& samples) {
  const SeriesStatistics s = series_statistics(samples, length / 2 + 1, 1);
  const double mean = error(s.mean, 0, [](std::int64_t) { return 0; }), variance = error(s.variance, 0, [](std::int64_t) { return 1; });
  const double correlation = error(s.correlation, 1, [](std::int64_t k) { return correlation_of_sines(k, length); }), power = power_error(samples);
  CAPTURE(mean);
  CAPTURE(variance);
  CAPTURE(correlation);
  CAPTURE(power);
  CHECK(std::isfinite(mean + variance + correlation + power));
  std::string out;
  if (mean > 0.15) out += "mean ";                       // trained network: 0.047; real samples: 0.022
  if (variance > 0.12) out += "variance ";               // trained network: 0.041; real samples: 0.028
  if (correlation > 0.04) out += "correlation ";         // trained network: 0.013; real samples: 0.002
  if (power > 0.2) out += "power ";                      // trained network: 0.068; real samples: 5e-10
  return out;
}

}  // namespace

TEST_CASE("a flow map's one-call time series have the data's statistics; noise and an untrained network do not") {
  FlowMlpConfig config;
  config.dim = length, config.mean_flow = true, config.classes = classes, config.width = 256;
  const auto model = std::make_shared<FlowMlp>(config, 1), average = std::make_shared<FlowMlp>(config, 1);
  const Tensor noise = random_normal_rows(consecutive(0, made_samples), {length}, {5, 5}), test = sines(0, made_samples, 1, length);
  const auto made = [&](const std::shared_ptr<FlowMlp>& net) {
    return sample_flow_map(net, noise, labels(0, made_samples), plain_grid(1)).reshape({made_samples, 1, length});
  };
  const Tensor before = made(average);
  train(model, *average);
  const Tensor after = made(average);
  CHECK(wrong(test) == "");
  CHECK(wrong(after) == "");
  CHECK(wrong(noise.reshape(test.shape())) == "correlation power ");           // noise has the right mean, 0, and variance, 1
  CHECK(has(wrong(before), "correlation power "));
  CHECK(energy_distance(after, test) < 0.03);                                   // measured: 0.014
  CHECK(energy_distance(noise.reshape(test.shape()), test) > 0.05);             // measured: 0.057
}
