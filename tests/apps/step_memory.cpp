// The memory of a MeanFlow step on the quickstart's model: the exact derivative needs hardly more memory than plain flow matching.
#include <doctest/doctest.h>

#include "apps/cli/toml.h"
#include "flowmap/training/chain/training_run.h"
#include "tensor/memory/allocator.h"

using namespace fm;

namespace {

constexpr std::int64_t rows = 32;

Recipe quickstart() {
  Recipe recipe;
  load_toml_file(list_fields(recipe), FM_TESTS_FOLDER "/../configs/quickstart.toml");
  recipe.image_size = 28;                                              // sizes of Fashion-MNIST, which the test does not read
  recipe.channels = 1;
  recipe.classes = 10;
  recipe.resolve();
  return recipe;
}

std::shared_ptr<DitDh> model_of(const Recipe& recipe, bool mean_flow) {
  DitDhConfig config = recipe.network.of<DitDh>();
  config.mean_flow = mean_flow;
  return std::make_shared<DitDh>(config, 1);
}

Batch batch_of(const Recipe& recipe) {
  const Samples samples = consecutive(0, rows);
  return {random_normal_rows(samples, recipe.latent_shape(), {1, 1}),
          Tensor::zeros({rows}, DType::i64), Draws{1, 0, samples}};
}

// Peak memory of a step beside the weights, in MiB.
double peak_of(const std::function<Var()>& loss) {
  const std::size_t before = memory_stats().live;
  reset_memory_peak();
  {
    Tape tape;
    backward(loss());
  }
  return static_cast<double>(memory_stats().peak - before) / (1 << 20);
}

}  // namespace

TEST_CASE("a MeanFlow step by JVP needs at most 1.15 times the memory of a flow-matching step") {
  const Recipe recipe = quickstart();
  const auto net = model_of(recipe, false), student = model_of(recipe, true), teacher_net = model_of(recipe, false);
  set_trainable(*teacher_net, false);
  const Batch batch = batch_of(recipe);

  const double plain = peak_of([&] { return loss_on(recipe.fm.objective, {.net = Network(net).u()}, batch).loss; });
  MeanFlowConfig config = recipe.mfd.objective;
  REQUIRE(config.derivative.kind == "jvp");
  const double distilled =
      peak_of([&] { return loss_on(config, {.net = student, .velocity = teacher(teacher_net)}, batch).loss; });
  const double from_data = peak_of([&] { return loss_on(config, {.net = student}, batch).loss; });
  config.pairs.diagonal_share = 0;                                     // every row has s < t and a derivative
  const double all_rows = peak_of([&] { return loss_on(config, {.net = student}, batch).loss; });
  MESSAGE("peak MiB: flow matching " << plain << ", MFD " << distilled << ", MFT " << from_data << ", MFT with s < t in all rows "
                                     << all_rows);
  CHECK(distilled <= 1.15 * plain);
  CHECK(from_data <= 1.15 * plain);
  CHECK(all_rows <= 1.15 * plain);
}
