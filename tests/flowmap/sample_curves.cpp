// The curves of a report show the samples and their statistics. Samples are sequences, vectors, few numbers or arrays, some with outliers or values that
// are not finite.
#include "flowmap/training/sample_curves.h"

#include <doctest/doctest.h>

#include <cmath>

#include "flowmap/metrics/series.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tests/flowmap/sines.h"
#include "tests/support/error_of.h"
#include "tests/support/markup.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

using Groups = std::vector<PlotGroup>;

const PlotGroup& group(const Groups& groups, const std::string& heading) {
  for (const PlotGroup& g : groups)
    if (g.heading == heading) return g;
  FAIL("no group " << heading);
  return groups.front();
}

const Plot& plot(const Groups& groups, const std::string& heading, const std::string& title) {
  for (const Plot& p : group(groups, heading).plots)
    if (p.title == title) return p;
  FAIL("no plot " << title);
  return group(groups, heading).plots.front();
}

std::string page_of(const Groups& groups) {
  HtmlReport page("");
  add_curves(page, groups);
  return page.section();
}

std::vector<std::int64_t> labels(std::int64_t n) {
  std::vector<std::int64_t> y;
  for (std::int64_t i = 0; i < n; ++i) y.push_back((i + 1) % 4);        // 1, 2, 3, 0, ...
  return y;
}

}  // namespace

TEST_CASE("curves of sequences show the samples and their statistics, with named axes") {
  const Tensor made = sines(1000, 200, 2, 32);
  const std::vector<std::string> names{"1 and 5", "2 and 6"};
  const Groups groups = sample_curves({{"test data", sines(0, 200, 2, 32), labels(200)}, {"teacher, 50 calls", made, labels(200)}, {"mfd, 1 call", sines(2000, 200, 2, 32)}}, names);
  CHECK(group(groups, "Samples beside data").plots.size() == 2 * 3);    // channels x sets
  const Plot& drawn = plot(groups, "Samples beside data", "teacher, 50 calls, channel 1");
  REQUIRE(drawn.curves.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(drawn.curves[i].name == (i < 2 ? names[i] : "label 2"));
    CHECK(drawn.curves[i].y == made.select(0, std::vector<std::int64_t>{3, 0, 1}[i]).select(0, 1).to_vector<double>());   // the first samples with labels 0, 1, 2
    CHECK(drawn.curves[i].x[31] == 31);
  }
  CHECK(plot(groups, "Samples beside data", "mfd, 1 call, channel 0").curves.at(1).name == "sample 2");
  CHECK(drawn.y_low < -1.7);                                            // the largest possible value is sqrt(2) 1.4 = 1.98
  CHECK(drawn.y_high > 1.7);
  CHECK(drawn.y_low == plot(groups, "Samples beside data", "test data, channel 1").y_low);
  const SeriesStatistics s = series_statistics(made, 17, 17);
  const auto second = [](const Plot& p) { return p.curves.at(1).y; };
  CHECK(second(plot(groups, "Mean and spread", "variance, channel 0")) == s.variance.select(0, 0).to_vector<double>());
  CHECK(second(plot(groups, "Mean and spread", "mean, channel 1")) == s.mean.select(0, 1).to_vector<double>());
  CHECK(second(plot(groups, "Autocorrelation and power", "autocorrelation, channel 1")) == s.correlation.select(0, 1).to_vector<double>());
  CHECK(second(plot(groups, "Autocorrelation and power", "power, channel 0")) == s.power.select(0, 0).to_vector<double>());
  CHECK(plot(groups, "Mean and spread", "mean, channel 0").curves.at(1).name == "teacher, 50 calls");
  CHECK(plot(groups, "Mean and spread", "mean, channel 0").curves.front().dashed);
  for (const PlotGroup& g : groups)
    for (const Plot& p : g.plots) {
      CHECK_FALSE(p.x_label.empty());
      CHECK_FALSE(p.y_label.empty());
    }
  const std::string section = page_of(groups);
  CHECK(is_balanced(section));
  CHECK(count(section, "<svg class=\"plot\"") == 6 + 4 + 4);
  CHECK_FALSE(has(section, "nan"));
}

TEST_CASE("vectors get curves by element, rows of few numbers get quantiles, other arrays get no curves") {
  const Groups robots = sample_curves({{"data", random_normal({300, 14}, {1, 1})}}, {});
  CHECK(plot(robots, "Samples beside data", "data").curves.at(0).name == "sample 1");
  CHECK(plot(robots, "Samples beside data", "data").x_label == "element");
  CHECK(plot(robots, "Mean and spread", "variance").curves.at(0).y.size() == 14);
  CHECK(robots.size() == 2);

  const Groups one = sample_curves({{"data", Tensor::arange(101, DType::f32).reshape({101, 1})}}, {});
  const Curve& rising = plot(one, "Quantiles", "element 0").curves.at(0);
  for (std::size_t k = 0; k <= 100; ++k) CHECK(rising.y[k] == double(k));
  CHECK(rising.x[50] == 0.5);
  CHECK(one.size() == 1);

  const Groups flat = sample_curves({{"data", random_normal({40, 2, 3, 4}, {1, 2})}}, {});
  CHECK(flat.size() == 1);
  CHECK(plot(flat, "Mean and spread", "mean, channel 1").curves.at(0).y.size() == 12);
}

TEST_CASE("values far from the data are cut off; sets with a value that is not finite get no statistics") {
  Tensor broken = sines(1000, 100, 1, 32).clone();
  broken.data<float>()[40] = std::nanf("");
  const Groups groups = sample_curves({{"data", sines(0, 100, 1, 32)}, {"far", affine(sines(1000, 100, 1, 32), 1000, 0)}, {"broken", broken}}, {});
  CHECK(plot(groups, "Samples beside data", "far").y_high < 8);
  CHECK(plot(groups, "Mean and spread", "mean").curves.size() == 2);
  const std::string section = page_of(groups);
  CHECK(is_balanced(section));
  CHECK_FALSE(has(section, "nan"));
}

TEST_CASE("sets that cannot be compared are refused") {
  const auto refused = [](const std::vector<NamedSamples>& sets) { return error_of<ShapeError>([&] { sample_curves(sets, {}); }); };
  const NamedSamples data{"data", Tensor::zeros({20, 1, 32})};
  CHECK(refused({data, {"short", Tensor::zeros({20, 1, 16})}}) == "sample_curves: 'short': [20, 1, 16]: samples of another shape than [20, 1, 32] of 'data'");
  CHECK(refused({data, {"labeled", Tensor::zeros({20, 1, 32}), {1, 2}}}) == "sample_curves: 'labeled': 2 labels for 20 samples");
  CHECK(refused({{"one", Tensor::zeros({1, 32})}}) == "sample_curves: 'one': [1, 32]: needs 2 or more samples (n, ...) with values");
  CHECK(refused({{"none", Tensor()}}) == "sample_curves: 'none': undefined: needs 2 or more samples (n, ...) with values");
}
