// The judge takes images of several sizes. Means over blocks of larger maps keep at most 8x8 positions for its hidden layer.
#include "nn/models/judge.h"

#include <doctest/doctest.h>

#include "autodiff/check.h"
#include "autodiff/tape.h"

using namespace fm;

namespace {

Judge made(std::int64_t size) {
  Judge judge(JudgeConfig{.channels = 1, .size = size, .width = 2, .features = 5, .classes = 3});
  reset_parameters(judge, 1);
  return judge;
}

}  // namespace

TEST_CASE("judge: images of any size are reduced to at most 8x8 positions") {
  const PauseTape pause;
  struct Case {
    int size, block, side;
  };
  for (const Case& c : {Case{8, 1, 2}, {28, 1, 7}, {32, 1, 8}, {33, 2, 4}, {75, 4, 4}}) {
    const int size = c.size, block = c.block, side = c.side;
    CAPTURE(size);
    const Judge judge = made(size);
    CHECK(judge.block == block);
    CHECK(judge.hidden.weight.value.shape() == Shape{5, 8 * side * side});
    const Var logits = judge(sample_uniform({2, 1, size, size}, 0, 1, 2, DType::f32));
    CHECK(logits.value().shape() == Shape{2, 3});
  }
}

TEST_CASE("judge: an image shifted by four pixels has other features") {
  const PauseTape pause;
  const Judge judge = made(28);
  Tensor image = Tensor::zeros({2, 1, 28, 28});
  image.slice(0, 0, 1).slice(2, 8, 12).slice(3, 8, 12).copy_from(Tensor::full({1, 1, 4, 4}, 1.0));
  image.slice(0, 1, 2).slice(2, 8, 12).slice(3, 12, 16).copy_from(Tensor::full({1, 1, 4, 4}, 1.0));
  const auto h = judge.features(image).value().to_vector<float>();
  bool differ = false;
  for (std::size_t i = 0; i < 5; ++i) differ = differ || std::abs(h[i] - h[5 + i]) > 1e-4f;
  CHECK(differ);
}
