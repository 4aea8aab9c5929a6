// Features for metrics: the penultimate layer and the predictions of the judge (a classifier), or the samples themselves.
#include "flowmap/training/features.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "flowmap/training/judge_features.h"
#include "nn/loaded.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("the judge's features are its penultimate layer, and its classes are the largest logits") {
  const auto judge = std::make_shared<Judge>(JudgeConfig{.channels = 1, .size = 12, .width = 4, .features = 6, .classes = 3});
  reset_parameters(*judge, 5);
  const Features by = judge_features(judge);
  const Tensor images = normal({9, 1, 12, 12}, 3, DType::f32);
  const Seen seen = by.see(images);
  CHECK(max_difference(seen.vectors, judge->features(images).value()) == 0);
  const std::vector<float> logits = (*judge)(images).value().to_vector<float>();
  REQUIRE(seen.classes.size() == 9);
  for (std::size_t i = 0; i < 9; ++i)
    CHECK(seen.classes[i] == std::max_element(logits.begin() + 3 * static_cast<std::ptrdiff_t>(i), logits.begin() + 3 * static_cast<std::ptrdiff_t>(i) + 3) -
                                 (logits.begin() + 3 * static_cast<std::ptrdiff_t>(i)));
  CHECK(by.name == "judge");
  CHECK(by.fingerprint == checksum(state_dict(*judge)));
}

TEST_CASE("plain features are the samples themselves, row by row") {
  const Tensor x = normal({4, 2, 3}, 2, DType::f32);
  const Seen seen = plain_features().see(x);
  CHECK(seen.vectors.shape() == Shape{4, 6});
  CHECK(seen.vectors.to_vector<float>() == x.to_vector<float>());
  CHECK(seen.classes.empty());
}
