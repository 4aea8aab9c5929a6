// NumPy's permutations, and Inception Scores against NumPy (tests/golden/evaluation_metrics.py), torch-fidelity and closed forms.
#include "flowmap/metrics/inception_score.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "flowmap/metrics/numpy_random.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/feature_tables.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

Tensor logits(std::int64_t n, std::int64_t classes, double scale) { return table("is.logits", n, classes, 0, 0, scale); }

void check_score(const InceptionScore& score, double mean, double deviation, double tolerance) {
  CHECK(near(score.mean, mean, tolerance));
  CHECK(near(score.deviation, deviation, 10 * tolerance));
}

}  // namespace

TEST_CASE("permutations and choices are those of NumPy's RandomState") {
  for (const auto& [seed, n] : {std::pair<std::uint32_t, std::int64_t>{0, 1}, {0, 2}, {2020, 10}, {1, 33}, {4294967295u, 20}}) {
    const std::vector<double>& wanted = golden_metric("permutation_" + std::to_string(seed) + "_" + std::to_string(n));
    const std::vector<std::int64_t> found = numpy_permutation(seed, n);
    CHECK(std::equal(found.begin(), found.end(), wanted.begin(), wanted.end()));
  }
  const std::vector<std::int64_t> known = numpy_permutation(2020, 200);
  CHECK(std::vector<std::int64_t>(known.begin(), known.begin() + 8) == std::vector<std::int64_t>{199, 119, 186, 27, 57, 145, 161, 169});
  NumpyRandom random(9);
  std::vector<std::int64_t> choices;
  for (const auto& [n, m] : {std::pair<std::int64_t, std::int64_t>{30, 5}, {12, 12}, {7, 1}})
    for (const std::int64_t i : random.choice(n, m)) choices.push_back(i);
  CHECK(std::equal(choices.begin(), choices.end(), golden_metric("choices_9").begin(), golden_metric("choices_9").end()));
}

TEST_CASE("long permutations are NumPy's, over many words of the generator") {
  for (const auto& [seed, n] : {std::pair<std::uint32_t, std::int64_t>{2020, 1000}, {5, 300007}}) {
    const std::vector<double>& wanted = golden_metric("permutation_" + std::to_string(seed) + "_" + std::to_string(n));
    const std::vector<std::int64_t> found = numpy_permutation(seed, n);
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(i) * static_cast<double>(found[static_cast<std::size_t>(i)]);
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(static_cast<double>(found[i]) == wanted[i]);
      CHECK(static_cast<double>(found[found.size() - 8 + i]) == wanted[8 + i]);
    }
    CHECK(sum == wanted[16]);
  }
}

TEST_CASE("permutations of impossible sizes are refused") {
  CHECK(numpy_permutation(1, 0).empty());
  CHECK(NumpyRandom(1).choice(5, 0).empty());
  CHECK_THROWS_AS(numpy_permutation(1, -1), ShapeError);
  CHECK_THROWS_AS(numpy_permutation(1, (std::int64_t{1} << 32) + 1), ShapeError);
  CHECK(has(error_of<ShapeError>([] { NumpyRandom(1).choice(3, 4); }), "cannot choose 4 of 3 without replacement"));
  CHECK_THROWS_AS(NumpyRandom(1).choice(3, -1), ShapeError);
}

TEST_CASE("Inception Scores agree with torch-fidelity and NumPy") {
  const Tensor z = logits(200, 20, 4);
  check_score(inception_score(z, InceptionSplits::torch_fidelity()), 2.58488657978, 0.101204213493, 1e-11);
  check_score(inception_score(z, {.count = 10}), 2.61988523967, 0.135636669097, 1e-11);
  check_score(inception_score(z, {.rows = 50}), golden_metric("inception_50")[0], golden_metric("inception_50")[1], 1e-12);
  CHECK(near(inception_score(z, {.rows = 50}).mean, 2.7449593544, 1e-7));      // guided-diffusion in f32
  check_score(inception_score(z.to(DType::f64), {.count = 10, .seed = 2020}), golden_metric("inception_shuffled")[0], golden_metric("inception_shuffled")[1], 1e-12);
  check_score(inception_score(logits(73, 7, 4), {.rows = 20}), golden_metric("inception_odd")[0], golden_metric("inception_odd")[1], 1e-12);
  check_score(inception_score(logits(73, 7, 4), {.count = 11, .seed = 3}), golden_metric("inception_odd_shuffled")[0], golden_metric("inception_odd_shuffled")[1], 1e-12);
}

TEST_CASE("guided-diffusion's splits have 5,000 rows, and a smaller set is one split") {
  CHECK(InceptionSplits::adm().rows == 5000);
  CHECK(!InceptionSplits::adm().seed);
  const InceptionScore score = inception_score(logits(200, 20, 4), InceptionSplits::adm());
  CHECK(score.splits == std::vector<double>{score.mean});
  CHECK(near(score.mean, golden_metric("inception_one")[0], 1e-12));
  CHECK(near(score.mean, 2.79864954948, 1e-6));      // guided-diffusion in f32
  CHECK(score.deviation == 0);
  CHECK(inception_score(logits(5001, 2, 1), InceptionSplits::adm()).splits.size() == 2);
}

TEST_CASE("probabilities that underflow count as 0, and n certain classes score n") {
  CHECK(near(inception_score(logits(700, 11, 3000), {.count = 1}).mean, golden_metric("inception_sharp")[0], 1e-12));
  std::vector<float> one_hot(6 * 6, -1e30f);
  for (std::size_t i = 0; i < 6; ++i) one_hot[7 * i] = 1e30f;
  CHECK(near(inception_score(Tensor::from(one_hot, {6, 6}), {.count = 1}).mean, 6, 1e-14));
  CHECK(near(inception_score(Tensor::from(std::vector<double>{1e308, -1e308}, {1, 2}), {.count = 1}).mean, 1, 1e-14));
  CHECK(near(inception_score(logits(1, 9, 4), {.count = 1}).mean, 1, 1e-14));       // one row is its own mean
  CHECK(near(inception_score(logits(9, 1, 4), {.rows = 2}).mean, 1, 1e-14));
}

TEST_CASE("the score of a sorted set rises when its rows are permuted") {
  std::vector<float> sorted(200 * 10, 0.0f);
  for (std::size_t i = 0; i < 200; ++i) sorted[10 * i + i / 20] = 20;
  const Tensor z = Tensor::from(sorted, {200, 10});
  CHECK(inception_score(z, {.count = 10}).mean < 1.001);
  CHECK(inception_score(z, {.count = 10, .seed = 2020}).mean > 6);
}

TEST_CASE("Inception Scores have the same bits for any number of threads") {
  const Tensor z = logits(1500, 40, 4);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<double> one = inception_score(z, {.rows = 700}).splits;
  omp_set_num_threads(2);
  CHECK(inception_score(z, {.rows = 700}).splits == one);
  omp_set_num_threads(threads);
}

TEST_CASE("inception_score refuses splits and logits without a score") {
  const Tensor z = logits(9, 4, 1);
  CHECK(has(error_of<ConfigError>([&] { inception_score(z, {}); }), "exactly one of them must be above 0"));
  CHECK_THROWS_AS(inception_score(z, {.rows = 2, .count = 2}), ConfigError);
  CHECK_THROWS_AS(inception_score(z, {.rows = -2}), ConfigError);
  CHECK_THROWS_AS(inception_score(z, {.rows = 2, .count = -1}), ConfigError);
  CHECK(has(error_of<ShapeError>([&] { inception_score(z, InceptionSplits::torch_fidelity()); }), "9 rows are fewer than the 10 splits"));
  CHECK_THROWS_AS(inception_score(Tensor::zeros({0, 4}), {.rows = 2}), ShapeError);
  CHECK_THROWS_AS(inception_score(Tensor::zeros({4}), {.rows = 2}), ShapeError);
  CHECK(has(error_of([&] { inception_score(with_number(z, 5, NAN), {.rows = 3}); }), "inception_score: the logits of sample 5 are not finite"));
}
