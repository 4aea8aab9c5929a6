// The decoder's stage with a discriminator on the run's own encoder, as a user trains it: the loss and its parts, resuming, and settings that do not fit.
#include <doctest/doctest.h>

#include <cmath>

#include "data/report/csv.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/elementwise.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/lpips_stand_in.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double weight = 0.5, feature_weight = 0.1;
const Arguments with_discriminator{"--decoder.gan.weight", "0.5", "--decoder.gan.discriminator_from", "2", "--decoder.gan.generator_from", "4", "--decoder.gan.discriminator_rate", "1e-3",
                                   "--decoder.loop.steps", "8", "--decoder.loop.log_every", "1", "--decoder.loop.ckpt_every", "3"};

// A new run with the encoder of the finished one.
fs::path new_run(const TempFolder& folder, const std::string& name) {
  copy_stages(folder / name, {"encoder"});
  return folder / name;
}

std::vector<double> column(const std::string& csv, const std::string& name) { return csv_curve(csv, "step", name).y; }

}  // namespace

TEST_CASE("the decoder's loss is that of its columns, before and after the adversarial term begins") {
  const TempFolder folder;
  const fs::path out = new_run(folder, "run");
  succeeds(train("decoder", out, with_discriminator));
  const std::string csv = read_file(out / "decoder/metrics.csv");
  const std::vector<double> loss = column(csv, "loss"), l1 = column(csv, "l1"), features = column(csv, "feature_loss");
  REQUIRE(loss.size() == 8);
  const Curve adversarial = csv_curve(csv, "step", "g_loss"), balance = csv_curve(csv, "step", "adaptive_weight"), trained = csv_curve(csv, "step", "d_loss");
  CHECK(adversarial.x == std::vector<double>{5, 6, 7, 8});             // steps 4 to 7, counted from 0
  CHECK(trained.x == std::vector<double>{3, 4, 5, 6, 7, 8});
  for (std::size_t i = 0; i < 8; ++i) {
    CAPTURE(i);
    const double term = i < 4 ? 0 : weight * balance.y[i - 4] * adversarial.y[i - 4];
    CHECK(near(loss[i], l1[i] + feature_weight * features[i] + term, 1e-5));
    if (i >= 4) CHECK(std::abs(term) > 1e-4);
  }
  for (const double w : balance.y) CHECK(w > 0);
}

TEST_CASE("the discriminator learns to tell images from reconstructions") {
  const TempFolder folder;
  const fs::path out = new_run(folder, "run");
  succeeds(train("decoder", out, with_discriminator + Arguments{"--decoder.loop.steps", "60", "--decoder.gan.generator_from", "1000", "--decoder.gan.discriminator_rate", "1e-2"}));
  const std::string csv = read_file(out / "decoder/metrics.csv");
  const std::vector<double> real = column(csv, "d_real"), fake = column(csv, "d_fake");
  const auto difference = [&](std::size_t first) {                     // mean over ten steps
    double sum = 0;
    for (std::size_t i = first; i < first + 10; ++i) sum += (real[i] - fake[i]) / 10;
    return sum;
  };
  REQUIRE(real.size() == 58);
  CHECK(difference(48) > 2 * difference(0));
  CHECK(difference(0) > 0);
}

TEST_CASE("LPIPS in the decoder's loss has its weight, and its network is part of the checkpoint's origin") {
  const TempFolder folder;
  const fs::path out = folder / "run", file = folder / "alex.safetensors";
  save_safetensors(file, state_dict(hash_filled_lpips("alex", DType::f32)));
  const Arguments color{"--data", "shapes?count=60,size=32,channels=3", "--image_size", "32", "--encoder.loop.steps", "2"};
  succeeds(train("encoder", out, color));
  const Arguments perceptual = color + Arguments{"--decoder.lpips_weight", "2", "--decoder.loop.steps", "3", "--decoder.loop.log_every", "1"};
  succeeds(train("decoder", out, perceptual + Arguments{"--decoder.lpips_weights", "alex:" + file.string()}));
  const std::string csv = read_file(out / "decoder/metrics.csv");
  const std::vector<double> loss = column(csv, "loss"), l1 = column(csv, "l1"), features = column(csv, "feature_loss"), lpips = column(csv, "lpips");
  REQUIRE(lpips.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(near(loss[i], l1[i] + feature_weight * features[i] + 2 * lpips[i], 1e-5));
    CHECK(lpips[i] > 0);
  }
  // Another network cannot resume it.
  Lpips other = hash_filled_lpips("alex", DType::f32);
  other.heads.weights[0].value = other.heads.weights[0].value * 2.0;
  save_safetensors(file, state_dict(other));
  refused(train("decoder", out, perceptual + Arguments{"-q", "--decoder.loop.steps", "4", "--decoder.lpips_weights", "alex:" + file.string()}), exit_code::usage, "lpips");
}

TEST_CASE("a decoder with a discriminator that is stopped and resumed has the same bits, and its parts are in the checkpoint") {
  const TempFolder folder;
  const fs::path whole = new_run(folder, "whole"), parts = new_run(folder, "parts");
  succeeds(train("decoder", whole, with_discriminator));
  const Result stopped = train("decoder", parts, with_discriminator + Arguments{"--decoder.loop.steps", "6"});
  succeeds(stopped);
  succeeds(train("decoder", parts, with_discriminator));
  const auto wanted = contents(whole / "decoder/checkpoints/step-00000008"), found = contents(parts / "decoder/checkpoints/step-00000008");
  for (const char* part : {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.safetensors", "discriminator_optimizer.safetensors"}) {
    REQUIRE_MESSAGE(wanted.contains(part), part);
    CHECK_MESSAGE(wanted.at(part) == found.at(part), part);
  }
  const fs::path without = new_run(folder, "without");
  succeeds(train("decoder", without, {"--decoder.loop.steps", "8"}));
  CHECK(contents(without / "decoder/checkpoints/step-00000008").at("model.safetensors") != wanted.at("model.safetensors"));
}

TEST_CASE("settings of the decoder's losses that do not fit are refused before the first step") {
  const TempFolder folder;
  const fs::path out = new_run(folder, "run");
  for (const char* name : {"a.pth", "b.pth"}) write_atomically(folder / name, "no weights");
  const std::string a = (folder / "a.pth").string(), b = (folder / "b.pth").string();
  const auto lpips = [&](const std::string& files) { return train("decoder", out, {"-q", "--decoder.lpips_weight", "1", "--decoder.lpips_weights", files}); };
  refused(lpips("vgg:" + a + "," + b), exit_code::usage, "LPIPS compares color images");
  refused(lpips("vgg:" + a + ",nothing.pth"), exit_code::unreadable, "files that do not exist: nothing.pth; put them there, or set decoder.lpips_weights");
  refused(lpips("nothing.pth,none.pth"), exit_code::usage, "must be vgg:TRUNK,HEADS");
  refused(train("decoder", out, {"-q", "--decoder.gan.weight", "1", "--decoder.gan.backbone_weights", a}), exit_code::usage, "DINO sees color images");
  refused(train("decoder", out, {"-q", "--decoder.gan.weight", "1", "--decoder.gan.discriminator_from", "5"}), exit_code::usage, "generator_from = 0");
  refused(train("decoder", out, {"-q", "--decoder.loop.score_every", "5"}), exit_code::usage, "this stage has no scores");
  CHECK_FALSE(fs::exists(out / "decoder/checkpoints"));
}
