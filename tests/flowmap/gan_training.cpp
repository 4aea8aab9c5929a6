// The discriminator beside a decoder in the training loop: its phases, resuming with the same bits, micro-batches and ranks, metrics, learning rate, and
// errors for configs and checkpoints that do not fit. The backbone is a small encoder of the project, and images are grey.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "flowmap/training/gan.h"
#include "flowmap/training/stage.h"
#include "nn/models/rae.h"
#include "nn/training/adversarial.h"
#include "nn/training/loop.h"
#include "tensor/collectives/threads.h"
#include "tensor/io/atomic_file.h"
#include "tensor/random/fill.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

RaeConfig tiny() {
  RaeConfig c;
  c.encoder.image_size = 12, c.encoder.patch_size = 4, c.encoder.channels = 1, c.encoder.width = 8, c.encoder.depth = 2, c.encoder.heads = 2;
  c.encoder.mlp_width = 12, c.encoder.registers = 1;
  c.decoder.latent_channels = 8, c.decoder.latent_size = 3, c.decoder.width = 8, c.decoder.depth = 1, c.decoder.heads = 2, c.decoder.mlp_width = 12;
  c.decoder.patch_size = 4, c.decoder.image_channels = 1;
  return c;
}

struct Rows : LoopObserver {
  std::map<std::int64_t, std::map<std::string, double>> numbers;
  std::int64_t stop_at = -1, now = 0;
  void step_done(std::int64_t step, const StepReport&) override { now = step; }
  void row(std::int64_t step, const LoopNumbers& row) override { numbers[step] = {row.begin(), row.end()}; }
  std::string stop_reason() override { return now == stop_at ? "a test" : ""; }
};

// Trains a decoder of random images from the latents of an untrained encoder.
struct Training {
  Rae rae{tiny(), 3};
  RaeDecoder average{clone(rae.decoder)};
  LoopConfig loop{.steps = 6, .batch = 6, .rate = {.peak = 2e-3}, .log_every = 1, .ckpt_every = 2, .keep = 9};
  GanConfig config{.weight = 0.75, .discriminator_from = 1, .generator_from = 3};
  std::int64_t explodes_at = -1;                                         // the first run of this step has a loss that is not a number; -1: none has
  fs::path out;
  Stage stage;
  std::optional<GanTraining> gan;

  explicit Training(fs::path folder) : out(std::move(folder)) { set_trainable(rae.encoder, false); }

  TokenMaps backbone() const {
    return [this](const Var& images) {
      return maps_of(rae.encoder.patches_after(rae.encoder_input((images + 1.0) * 0.5), blocks_of_maps(rae.config.encoder.depth)));
    };
  }
  StepLoss loss(const StepPart& part) {
    const Tensor x = random_uniform_rows(samples_of(part, loop.batch), {1, 12, 12}, {5, 1});
    const Tensor tokens = [&] {
      const PauseTape pause;
      return rae.tokens(x).value();
    }();
    if (gan) gan->keep({x, tokens, part});
    if (!gan || !gan->has_term(part.step)) return {mean(abs(rae.pixels(tokens) - x)), {}};
    const auto image = [&](const Var& rows) { return restored(rae.decoder.image_of(rows), rae.config); };
    const BalancedLoss out_ = balanced_loss(
        rae.decoder.rows(tokens), {&rae.decoder.predict.weight, &rae.decoder.predict.bias}, [&](const Var& rows) { return mean(abs(image(rows) - x)); },
        [&](const Var& rows) { return gan->term(image(rows), part); }, config.weight);
    return {out_.loss, {{"g_loss", out_.second}}};
  }
  Outcome run_on(Communicator& ranks, LoopObserver& observer) {
    stage = make_stage("decoder", rae.decoder, &average);
    if (config.weight > 0) {
      gan.emplace(GanTraining::Setup{config, loop.rate, loop.batch, backbone(), {1, 12, 12}, 9}, ranks);
      gan->add_to(stage, [this](const GanTraining::Rows& rows) {
        const PauseTape pause;
        return rae.pixels(rows.latents).value();
      });
    }
    if (explodes_at >= 0) stage.watch.on_explosion = "rewind";
    stage.loss = [this](const StepPart& part) {
      StepLoss now = loss(part);
      if (part.step == explodes_at && std::exchange(explodes_at, -1) >= 0) now.loss = now.loss * std::nan("");
      return now;
    };
    return train(stage, loop, 7, {.out = out}, ranks, observer);
  }
  Outcome run(LoopObserver& observer) {
    SingleRank alone;
    return run_on(alone, observer);
  }
  std::string file(std::int64_t step, const std::string& part) const { return read_file(out / "decoder" / "checkpoints" / step_name(step) / (part + ".safetensors")); }
};

double difference(const StateDict& a, const StateDict& b) {
  double most = 0;
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    for (const double d : abs(a[i].second - b[i].second).to_vector<double>()) most = std::max(most, d);
  return most;
}

// The heads without biases before a normalization, which have no effect and whose gradients are rounding alone.
StateDict with_effect(const GanTraining& gan) {
  StateDict out;
  for (const auto& [name, t] : state_dict(gan.discriminator()))
    if (!name.ends_with("0.0.bias") && !name.ends_with("fn.0.bias")) out.emplace_back(name, t);
  return out;
}

constexpr const char* parts_of_checkpoint[] = {"model", "ema", "optimizer", "state", "discriminator_optimizer"};

}  // namespace

TEST_CASE("gan training: a stopped and resumed training has the bits of one without interruption, before and after each phase begins") {
  const TempFolder folder;
  Training whole(folder / "whole");
  Rows all;
  CHECK(whole.run(all) == Outcome::finished);
  for (const std::int64_t at : {1, 2, 5}) {
    const fs::path out = folder / ("stopped" + std::to_string(at));
    Rows first, second;
    first.stop_at = at;
    CHECK(Training(out).run(first) == Outcome::stopped);
    Training resumed(out);
    reset_parameters(resumed.rae.decoder, 99);                           // the checkpoint overwrites them
    CHECK(resumed.run(second) == Outcome::finished);
    for (const char* part : parts_of_checkpoint) CHECK_MESSAGE(resumed.file(6, part) == whole.file(6, part), at << " " << part);
    for (const auto& numbers : second.numbers) CHECK_MESSAGE(numbers.second == all.numbers.at(numbers.first), at << " step " << numbers.first);
  }
}

TEST_CASE("gan training: a rewind halves the learning rates of both optimizers") {
  const TempFolder folder;
  Training rewound(folder / "rewound");
  rewound.explodes_at = 4;
  Rows rows, first, second;
  CHECK(rewound.run(rows) == Outcome::finished);
  first.stop_at = 4;
  CHECK(Training(folder / "halved").run(first) == Outcome::stopped);
  Training halved(folder / "halved");
  halved.loop.rate.peak /= 2, halved.config.discriminator_rate /= 2;
  CHECK(halved.run(second) == Outcome::finished);
  for (const char* part : parts_of_checkpoint) CHECK_MESSAGE(rewound.file(6, part) == halved.file(6, part), part);
}

TEST_CASE("gan training: without a term the decoder has the bits of a training without discriminator; phases begin at their steps") {
  const TempFolder folder;
  Training plain(folder / "plain"), with(folder / "with");
  plain.config.weight = 0;
  Rows of_plain, of_with;
  CHECK(plain.run(of_plain) == Outcome::finished);
  CHECK(with.run(of_with) == Outcome::finished);
  CHECK(plain.file(2, "model") == with.file(2, "model"));
  CHECK(plain.file(6, "model") != with.file(6, "model"));
  CHECK_FALSE(fs::exists(folder / "plain" / "decoder" / "checkpoints" / step_name(6) / "discriminator_optimizer.safetensors"));

  // Steps are counted from 0 in configs and from 1 in rows.
  for (std::int64_t step = 1; step <= 6; ++step) {
    const auto& row = of_with.numbers.at(step);
    for (const char* name : {"d_loss", "d_real", "d_fake"}) CHECK(row.contains(name) == (step > 1));
    CHECK(row.contains("g_loss") == (step > 3));
    if (step > 1 && step <= 3) CHECK(row.at("loss") == of_plain.numbers.at(step).at("loss"));
  }
  const DinoDiscriminator fresh(8, 3, 9);
  CHECK(difference(state_dict(with.gan->discriminator()), state_dict(fresh)) > 1e-4);

  // relu(a) >= a: the hinge loss is at least the same loss without relu, and for untrained heads little more.
  const auto& row = of_with.numbers.at(2);
  const double linear = 1 - row.at("d_real") / 2 + row.at("d_fake") / 2;
  CHECK((row.at("d_loss") >= linear && row.at("d_loss") < linear + 0.2));
}

TEST_CASE("gan training: the discriminator's update is that of a plain loop: power iteration, augmentation, both halves, Adam") {
  for (const double augment : {0.0, 1.0}) {
    CAPTURE(augment);
    const TempFolder folder;
    Training t(folder.path());
    t.loop.steps = 1, t.config.discriminator_from = 0, t.config.generator_from = 0, t.config.augment = augment, t.config.discriminator_rate = 1e-3;
    Rows rows;
    CHECK(t.run(rows) == Outcome::finished);
    DinoDiscriminator d(8, 3, 9);
    const Tensor x = random_uniform_rows(consecutive(0, 6), {1, 12, 12}, {5, 1});
    const Tensor fake = rounded_to_bytes(t.rae.pixels(t.rae.tokens(x).value()).value() * 2.0 - 1.0);      // by the updated decoder
    AdamW optimizer(named_parameters(d), {.beta1 = 0.9, .beta2 = 0.95, .clip = 0});
    const Draws draws{9, 0, consecutive(0, 6)};
    const auto shown = [&](const Tensor& images, Augmented kind) { return t.backbone()(augmented(images, draw_augmentations(draws, kind, augment, 12, 12))); };
    const auto real_maps = shown(x * 2.0 - 1.0, Augmented::real), fake_maps = shown(fake, Augmented::fake);
    Tape tape;
    d.iterate();
    const Var real = d(real_maps);
    d.iterate();
    const Var loss = mean(relu(1.0 - real)) * 0.5 + mean(relu(1.0 + d(fake_maps))) * 0.5;
    optimizer.step(backward(loss), {.lr = 1e-3});
    CHECK(difference(state_dict(t.gan->discriminator()), state_dict(d)) == 0);
    CHECK(near(rows.numbers.at(1).at("d_loss"), loss.value().item(), 1e-6));
  }
}

TEST_CASE("gan training: the decoder's term is the generator's loss of augmented reconstructions in [-1, 1]") {
  const TempFolder folder;
  const Training t(folder.path());
  for (const double augment : {0.0, 1.0}) {
    CAPTURE(augment);
    SingleRank alone;
    const GanTraining gan({{.augment = augment}, t.loop.rate, 6, t.backbone(), {1, 12, 12}, 9}, alone);
    const Var y = random_uniform_rows(consecutive(40, 4), {1, 12, 12}, {5, 1});
    const Draws draws{9, 3, consecutive(3 * 6 + 2, 4)};                  // rows 2 to 5 of step 3
    const Var images = augmented(y * 2.0 - 1.0, draw_augmentations(draws, Augmented::generated, augment, 12, 12));
    const double wanted = loss_of_generator("hinge", DinoDiscriminator(8, 3, 9)(t.backbone()(images))).value().item();
    CHECK(gan.term(y, {.step = 3, .first = 2, .count = 4}).value().item() == wanted);
  }
}

TEST_CASE("gan training: micro-batches and ranks give the updates of the whole batch") {
  const TempFolder folder;
  const auto trained = [&](const std::string& name, std::int64_t micro, std::int64_t generator_from) {
    auto t = std::make_unique<Training>(folder / name);
    t->loop.micro_batch = micro, t->config.generator_from = generator_from;
    return t;
  };
  // Without a term, parts change only the order of sums: the adaptive weight is the only number that belongs to a part.
  Rows a, b;
  const auto whole = trained("whole", 0, 100), parts = trained("parts", 4, 100);
  CHECK(whole->run(a) == Outcome::finished);
  CHECK(parts->run(b) == Outcome::finished);
  CHECK(difference(with_effect(*whole->gan), with_effect(*parts->gan)) < 1e-4);
  CHECK(near(a.numbers.at(6).at("d_loss"), b.numbers.at(6).at("d_loss"), 1e-4));

  // With the same parts, two ranks make the steps of one.
  Rows alone;
  const auto one = trained("one", 3, 3);
  CHECK(one->run(alone) == Outcome::finished);
  std::vector<std::unique_ptr<Training>> two(2);
  std::vector<Rows> heard(2);
  run_ranks(2, [&](Communicator& ranks) {
    const auto r = static_cast<std::size_t>(ranks.rank());
    two[r] = trained("two", 3, 3);
    CHECK(two[r]->run_on(ranks, heard[r]) == Outcome::finished);
    two[r]->stage = {};
  });
  CHECK(difference(state_dict(two[0]->gan->discriminator()), state_dict(two[1]->gan->discriminator())) == 0);
  CHECK(difference(state_dict(two[0]->rae.decoder), state_dict(two[1]->rae.decoder)) == 0);
  CHECK(difference(with_effect(*two[0]->gan), with_effect(*one->gan)) < 1e-4);
  CHECK(difference(state_dict(two[0]->rae.decoder), state_dict(one->rae.decoder)) < 1e-4);
  for (const char* name : {"d_loss", "d_real", "d_fake", "g_loss"}) CHECK(near(heard[0].numbers.at(6).at(name), alone.numbers.at(6).at(name), 1e-3));
}

TEST_CASE("gan training: the learning rate is the decoder's curve, scaled, from the first update on") {
  GanConfig c;
  c.discriminator_rate = 1e-3, c.discriminator_from = 10;
  const LearningRate decoder{.peak = 2e-3, .decay = "cosine", .end = 2e-4, .warmup_steps = 4, .decay_end = 104};
  CHECK(near(discriminator_rate(c, decoder, 10), 0.25e-3, 1e-12));
  CHECK(near(discriminator_rate(c, decoder, 64), (1e-3 + 1e-4) / 2, 1e-12));
  CHECK(near(discriminator_rate(c, decoder, 200), 1e-4, 1e-12));
}

TEST_CASE("gan training: configs and checkpoints that do not fit are errors") {
  const TempFolder folder;
  Rows rows;
  Training early(folder / "early");
  early.config.generator_from = 0;
  CHECK(has(error_of<ConfigError>([&] { early.run(rows); }), "gan.generator_from = 0 is before gan.discriminator_from = 1"));
  Training coarse(folder / "coarse");
  coarse.rae.config.encoder.patch_size = 12;
  RaeConfig c = tiny();
  c.encoder.patch_size = 12;
  coarse.rae = Rae(c, 1);
  CHECK(has(error_of<ConfigError>([&] { coarse.run(rows); }), "1 tokens for an image, but the discriminator needs at least 4"));
  Training plain(folder / "resumed");
  plain.config.weight = 0, plain.loop.steps = 2;
  CHECK(plain.run(rows) == Outcome::finished);
  Training with(folder / "resumed");
  CHECK(has(error_of<ConfigError>([&] { with.run(rows); }), "no state of this training"));
}
