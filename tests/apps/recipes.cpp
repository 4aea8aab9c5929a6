// The recipes in configs/ have the paper's numbers (mfrae.md 5 to 7).
#include <doctest/doctest.h>

#include <algorithm>

#include "apps/cli/toml.h"
#include "flowmap/training/chain/costs.h"
#include "flowmap/training/chain/resources.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/flops/autoencoder.h"
#include "nn/flops/count.h"
#include "tensor/memory/allocator.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::error_of;
using fm::test::near;

namespace {

Recipe recipe_of(int size, const std::function<void(Recipe&)>& change = {}) {
  Recipe r;
  load_toml_file(list_fields(r), FM_TESTS_FOLDER "/../configs/imagenet" + std::to_string(size) + "/mf_rae.toml");
  if (change) change(r);
  r.resolve();
  return r;
}

std::int64_t parameters(DitDhConfig config, bool mean_flow) {
  const ShapesOnly shapes;
  config.mean_flow = mean_flow;
  return parameter_count(DitDh(config));
}

struct Wanted {
  std::int64_t steps, batch, micro_batch;
  double ema, rate;
};

void check_loop(const LoopConfig& loop, const Wanted& w) {
  CHECK(loop.steps == w.steps);
  CHECK(loop.batch == w.batch);
  CHECK(loop.micro_batch == w.micro_batch);
  CHECK(loop.ema == w.ema);
  CHECK_FALSE(loop.ema_ramp);
  CHECK(learning_rate(loop.rate, 0) == w.rate);
  CHECK(loop.adamw.beta1 == 0.9);
  CHECK(loop.adamw.beta2 == 0.95);
  CHECK(loop.adamw.eps == 1e-8);
  CHECK(loop.adamw.weight_decay == 0);
  CHECK(loop.adamw.clip == 1);
}

void check_mean_flow(const MfStage& stage, double alpha, std::int64_t dim) {
  const MeanFlowConfig& o = stage.objective;
  CHECK(o.pairs.time.distribution == "uniform");
  CHECK(o.pairs.time.upper == 0.999);
  CHECK(near(o.pairs.time.alpha(dim), alpha, 1e-14));
  CHECK(o.pairs.diagonal_share == 0.75);
  CHECK(o.derivative.delta == 0.005);
  CHECK(o.derivative.kind == "fd");
  CHECK(o.labels.probability == 0.1);
  CHECK(o.labels.null_label == 1000);
}

}  // namespace

TEST_CASE("the recipe for 256 pixels has the paper's settings") {
  const Recipe r = recipe_of(256);
  CHECK(r.network.of<DitDh>().input_size == 16);
  CHECK(r.rae.encoder.image_size == 518);
  CHECK(r.rae.decoder.patch_size == 16);
  CHECK(r.rae.input_size == 224);
  CHECK(r.rae.image_mean == std::vector<double>{0.485, 0.456, 0.406});
  CHECK(parameters(r.network.of<DitDh>(), false) == 838675796);
  CHECK(parameters(r.network.of<DitDh>(), true) == 840595284);
  check_loop(r.fm.loop, {1000800, 1024, 8, 0.9995, 2e-4});
  CHECK(learning_rate(r.fm.loop.rate, 40 * 1251) == 2e-4);
  CHECK(learning_rate(r.fm.loop.rate, 800 * 1251) == 2e-5);
  check_loop(r.cmt.loop, {27000, 8, 1, 0.999, 1e-4});
  CHECK(r.cmt.objective.points == 16);
  CHECK(r.cmt.objective.pairs == 64);
  CHECK(r.cmt.objective.compat.cmt_time_labels == "true");
  check_loop(r.mfd.loop, {180000, 256, 8, 0.9999, 1e-4});
  check_mean_flow(r.mfd, std::sqrt(48.0), 768 * 16 * 16);
  check_mean_flow(r.mft, std::sqrt(48.0), 768 * 16 * 16);
  CHECK(teacher_share(r.mfd.velocity) == 1);
  CHECK(teacher_share(r.mft.velocity) == 0);
  CHECK(r.mfd.objective.metric.kind == "l2");
  CHECK(r.guidance == 1);
}

TEST_CASE("the recipe for 512 pixels has the paper's settings") {
  const Recipe r = recipe_of(512);
  CHECK(r.network.of<DitDh>().input_size == 32);
  CHECK(r.rae.decoder.latent_size == 32);
  CHECK(r.rae.input_size == 448);
  CHECK(parameters(r.network.of<DitDh>(), true) == 841480020);
  check_loop(r.fm.loop, {500400, 1024, 8, 0.9995, 2e-4});
  CHECK(r.cmt.objective.pairs == 8);
  check_loop(r.mfd.loop, {20000, 128, 4, 0.9995, 1e-4});
  check_loop(r.mft.loop, {10000, 128, 4, 0.9995, 1e-4});
  check_mean_flow(r.mfd, std::sqrt(192.0), 768 * 32 * 32);
}

TEST_CASE("the recipe of RAE's decoder has the published settings") {
  Recipe r;
  load_toml_file(list_fields(r), FM_TESTS_FOLDER "/../configs/imagenet256/rae_decoder.toml");
  r.resolve();
  const DecoderStage& d = r.decoder;
  constexpr std::int64_t epoch = 2502;
  CHECK(r.rae.encoder.width == 768);
  CHECK(total(cost_table(r.rae.decoder)).parameters == 415352704);
  CHECK(d.loop.steps == 16 * epoch);
  CHECK(d.loop.batch == 512);
  CHECK(d.loop.ema == 0.9978);
  CHECK_FALSE(d.loop.ema_ramp);
  CHECK(learning_rate(d.loop.rate, epoch) == 2e-4);
  CHECK(learning_rate(d.loop.rate, 16 * epoch) == 2e-5);
  CHECK(near(learning_rate(d.loop.rate, 0), 2e-4 / epoch, 1e-12));
  CHECK((d.loop.adamw.beta1 == 0.9 && d.loop.adamw.beta2 == 0.95 && d.loop.adamw.weight_decay == 0 && d.loop.adamw.clip == 0));
  CHECK((d.noise_tau == 0.8 && d.feature_weight == 0 && d.lpips_weight == 1));
  CHECK((d.gan.weight == 0.75 && d.gan.loss == "hinge" && d.gan.augment == 1));
  CHECK((d.gan.discriminator_from == 6 * epoch && d.gan.generator_from == 8 * epoch));
  CHECK((d.gan.discriminator_rate == 2e-4 && d.gan.discriminator_beta1 == 0.9 && d.gan.discriminator_beta2 == 0.95));
  CHECK(near(discriminator_rate(d.gan, d.loop.rate, 6 * epoch), 2e-4 / epoch, 1e-12));
}

TEST_CASE("the memory of the decoder's training counts encoder, LPIPS and discriminator") {
  Recipe r;
  load_toml_file(list_fields(r), FM_TESTS_FOLDER "/../configs/imagenet256/rae_decoder.toml");
  r.resolve();
  const StageSpec& decoder = stage_named(stage_name::decoder);
  constexpr std::int64_t vgg16 = 14714688 + 1472, dino = 21670272, head = 1477249;      // VGG16's convolutions and LPIPS' heads; ViT-S/8; one of five heads
  constexpr std::int64_t own_values = 3 * 256 * 256 + 8 * 256 * 1152 * 28, vgg16_values = 514 * 256 * 256, dino_values = 8 * 784 * 384 * 12;
  const Beside all = decoder.beside(r);
  CHECK(all.trained == 5 * head);
  CHECK(decoder.values_a_row(r) == own_values + vgg16_values + dino_values);
  const double parameters = 415352704, bytes = 4;
  CHECK(memory_of_training(r, decoder, 1, false) ==
        bytes * (5 * parameters + static_cast<double>(all.frozen + 4 * all.trained + 64 * decoder.values_a_row(r))));
  CHECK(checkpoint_bytes(r, decoder) == static_cast<double>(r.decoder.loop.keep + 1) * bytes * (4 * parameters + 3 * static_cast<double>(all.trained)));

  Recipe without = r;
  without.decoder.gan.weight = 0;
  CHECK(all.frozen - decoder.beside(without).frozen == dino);
  CHECK(decoder.beside(without).trained == 0);
  without.decoder.lpips_weight = 0;
  CHECK(all.frozen - decoder.beside(without).frozen == dino + vgg16);
  CHECK(decoder.beside(without).frozen == total(cost_table(r.rae.encoder, r.rae.encoder.image_size)).parameters);
  CHECK(decoder.values_a_row(without) == own_values);
  without.decoder.feature_weight = 0.1;
  CHECK(decoder.values_a_row(without) == own_values + 8 * 256 * 768 * 12);
  without.decoder.gan.weight = 1, without.decoder.gan.backbone_weights.clear();      // the discriminator reads the encoder's features
  CHECK(decoder.beside(without).frozen == total(cost_table(r.rae.encoder, r.rae.encoder.image_size)).parameters);
  CHECK(decoder.values_a_row(without) == own_values + 2 * 8 * 256 * 768 * 12);
}

namespace {

Recipe baseline(const char* name) {
  Recipe r;
  load_toml_file(list_fields(r), FM_TESTS_FOLDER "/../configs/imagenet256/" + std::string(name) + ".toml");
  r.resolve();
  CHECK(r.latent_shape() == Shape{4, 32, 32});
  CHECK(r.vae.model.scale == 0.18215);
  CHECK(r.network.of<Dit>().classes == 1000);
  return r;
}

}  // namespace

TEST_CASE("the recipes on SD-VAE latents have the published settings of SiT, MeanFlow and MF-RAE's second table") {
  const Recipe sit = baseline("sit_xl2"), xl = baseline("meanflow_xl2"), b4 = baseline("meanflow_b4"), mfd = baseline("mfd_sit");
  CHECK(sit.fm.loop.steps == 7000000);
  CHECK(sit.fm.loop.batch == 256);
  CHECK(sit.fm.loop.ema == 0.9999);
  CHECK(sit.fm.loop.adamw.beta2 == 0.999);
  CHECK(sit.fm.loop.adamw.clip == 0);
  CHECK(sit.fm.objective.time.distribution == "uniform");
  CHECK(sit.fm.objective.time.upper == 1);
  CHECK(near(sit.fm.objective.time.alpha(4096), 1, 1e-14));
  CHECK(stage_cost(sit, "fm").trained == 674834720 - 18448);            // without the channels of sigma
  for (const auto& [r, omega, kappa, high] : {std::tuple{&xl, 0.2, 0.92, 0.75}, {&b4, 1.0, 0.5, 1.0}}) {
    CHECK(r->map.objective.name == "guided_mean_flow");
    const auto& o = std::get<GuidedMeanFlowConfig>(r->map.objective.entries);
    CHECK(o.omega == omega);
    CHECK(o.kappa == kappa);
    CHECK(o.low == 0);
    CHECK(o.high == high);
    CHECK(o.labels.null_label == 1000);
    CHECK(o.pairs.time.distribution == "logit_normal");
    CHECK(o.pairs.time.mean == -0.4);
    CHECK(o.pairs.exact_share);
    CHECK(o.pairs.null_rows_diagonal);
    CHECK(o.metric.c == 0.01);
    CHECK(r->map.loop.batch == 256);
    CHECK(r->map.loop.adamw.beta2 == 0.95);
    CHECK(r->map.start == "random");
  }
  CHECK(stage_cost(xl, "map").trained == 676440592);
  CHECK(b4.network.of<Dit>().patch_size == 4);
  const auto trained = [](const Recipe& r) {
    std::vector<std::string> names;
    for (const StageSpec& s : stage_table())
      if (s.in_pipeline(r)) names.emplace_back(s.name);
    return names;
  };
  CHECK(trained(sit) == std::vector<std::string>{"fm"});
  CHECK(trained(xl) == std::vector<std::string>{"map"});
  CHECK(trained(b4) == std::vector<std::string>{"map"});
  CHECK(trained(mfd) == std::vector<std::string>{"cmt", "mfd"});
  CHECK(xl.stored_latent_shape() == Shape{8, 32, 32});
  CHECK(mfd.guidance == 2.3);
  CHECK(mfd.guidance_to == 0.85);
  CHECK(mfd.cmt.loop.steps == 27000);
  CHECK(mfd.mfd.loop.batch == 256);
  CHECK(near(mfd.mfd.objective.pairs.time.alpha(4096), 1, 1e-14));
}

TEST_CASE("compat = \"sony\" selects the released code's variants, and dit_size another network, with one value each") {
  const Recipe sony = recipe_of(256, [](Recipe& r) { r.compat = "sony"; });
  CHECK(sony.cmt.objective.compat.cmt_time_labels == "uniform");
  for (const MfStage* stage : {&sony.mfd, &sony.mft}) {
    CHECK(stage->objective.compat.squared_adaptive_metric);
    CHECK_FALSE(stage->objective.compat.fd_share_label_drop);
    CHECK_FALSE(stage->objective.compat.clamp_fd_times);
  }
  const std::pair<const char*, std::int64_t> sizes[] = {{"S", 196455764}, {"B", 294295892}, {"L", 621744436}, {"XL", 838675796}};
  for (const auto& size : sizes) {
    const Recipe r = recipe_of(256, [&](Recipe& recipe) { recipe.dit_size = size.first, recipe.network.of<DitDh>().recompute = true; });
    CHECK(parameters(r.network.of<DitDh>(), false) == size.second);
    CHECK(r.network.of<DitDh>().recompute);
  }
}

TEST_CASE("encoder_model selects a published encoder; an own encoder may resize its input") {
  for (const char* name : {"siglip2-B", "mae-B"})
    for (const int size : {256, 512}) {
      const Recipe r = recipe_of(size, [&](Recipe& recipe) { recipe.encoder_model = name; });
      CHECK(std::string(name).starts_with(r.rae.encoder.kind));
      CHECK(r.rae.input_size == size);
      CHECK(r.rae.encoder.image_size == (r.rae.encoder.kind == "mae" ? 224 : 256));
      CHECK(r.rae.decoder.patch_size == 16);
      CHECK(r.network.of<DitDh>().input_size == size / 16);
    }
  const auto own = [](std::int64_t input_size, std::int64_t image_size) {
    Recipe r;
    r.image_size = image_size, r.channels = 1, r.classes = 10, r.encoder_weights = "given";
    r.rae.encoder.kind = "siglip2", r.rae.encoder.image_size = 16, r.rae.encoder.patch_size = 4, r.rae.input_size = input_size;
    r.resolve();
    return r;
  };
  const Recipe resized = own(20, 30), as_it_is = own(0, 28);
  CHECK(resized.rae.encoder.image_size == 16);
  CHECK(resized.rae.decoder.latent_size == 5);
  CHECK(resized.rae.decoder.patch_size == 6);
  CHECK(as_it_is.rae.encoder.image_size == 28);
  CHECK(as_it_is.network.of<DitDh>().input_size == 7);
  CHECK_THROWS_WITH_AS(own(20, 28), "image_size 28 is not a multiple of the encoder's 5 tokens a side (rae.input_size / rae.encoder.patch_size): choose an rae.input_size for which it is", ConfigError);
  CHECK_THROWS_WITH_AS(own(22, 28), "rae.encoder.patch_size 4 does not divide rae.input_size 22", ConfigError);
}

TEST_CASE("the cost of a step is computed from the config alone") {
  const std::size_t before = memory_stats().live;
  reset_memory_peak();
  const Recipe r = recipe_of(256);
  const double teacher = 2 * (156.814e9 + 4.765e9), student = 2 * (156.816e9 + 4.765e9);      // mfrae.md 4.9
  const StageCost fm = stage_cost(r, "fm"), cmt = stage_cost(r, "cmt"), mfd = stage_cost(r, "mfd"), mft = stage_cost(r, "mft");
  CHECK(near(fm.forward, 1024 * teacher, 2e-5));
  CHECK(near(fm.encoder, 1024 * 2 * 23.4e9, 0.02));                      // DINOv2-B on 224 pixels; images are encoded during training
  CHECK(near(fm.flops(), 3 * fm.forward + fm.encoder, 1e-14));
  CHECK(near(cmt.forward, 512 * student, 2e-5));
  CHECK(near(cmt.targets, 8 * 15 * teacher, 2e-5));
  CHECK(near(mfd.forward, 256 * student, 2e-5));
  CHECK(near(mfd.tangent, 0.25 * 2 * mfd.forward, 1e-14));
  CHECK(near(mfd.targets, 256 * teacher, 2e-5));
  CHECK(mft.targets == 0);
  CHECK(mft.teacher == 0);
  CHECK(near(mfd.encoder, fm.encoder / 4, 1e-14));
  CHECK(cmt.encoder == 0);

  CHECK(mfd.trained == 840299860);
  CHECK(mfd.trained + mfd.frozen == 840595284);
  CHECK(mfd.teacher == 838675796);
  CHECK(mfd.optimizer == 8 * mfd.trained);
  CHECK(mfd.gradients == 2 * 4 * mfd.trained);         // two sets, because the batch of 256 is processed in parts of 8
  CHECK(mfd.rows == 8);
  CHECK(cmt.rows == 64);
  CHECK(mfd.activations == mfd.activations_kept);
  CHECK(mfd.activations_recomputed < mfd.activations_kept / 5);

  const Recipe other = recipe_of(256, [](Recipe& c) {
    c.network.of<DitDh>().recompute = true, c.guidance = 1.5, c.mfd.objective.derivative.kind = "jvp", c.mfd.loop.micro_batch = 0;
  });
  const StageCost changed = stage_cost(other, "mfd");
  CHECK(near(changed.tangent, 0.25 * mfd.forward, 1e-14));
  CHECK(near(changed.targets, 2 * mfd.targets, 1e-14));
  CHECK(near(changed.recompute, mfd.forward, 1e-14));
  CHECK(changed.gradients == mfd.gradients / 2);
  CHECK(changed.activations > 10 * mfd.activations_recomputed);
  CHECK(memory_stats().peak - before < std::size_t{32} << 20);
}

TEST_CASE("the memory of a step includes an objective's taped tangents and averaged network") {
  Recipe r;
  r.take_sizes(28, 1, 10);
  r.rae.encoder.patch_size = 7;
  r.map.loop.steps = 10;
  r.resolve();
  const auto cost = [&](const char* objective) {
    r.map.objective.name = objective;
    return stage_cost(r, "map");
  };
  const StageCost plain = cost("mean_flow"), taped = cost("lsd"), average = cost("shortcut");
  CHECK(near(static_cast<double>(taped.activations), 1.25 * static_cast<double>(plain.activations), 1e-6));    // the derivative of a quarter of the rows is taped
  CHECK(taped.average == plain.average);
  CHECK(average.average == plain.average + plain.weights);      // Shortcut keeps an averaged network for the half jumps
  CHECK(average.activations == plain.activations);
}

TEST_CASE("the stage table agrees with the config keys") {
  Recipe r = recipe_of(256);
  const std::vector<Field> fields = list_fields(r);
  const auto field = [&](const std::string& path) {
    const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.path == path; });
    REQUIRE_MESSAGE(found != fields.end(), path);
    return found->value;
  };
  std::vector<std::string> before;
  for (const StageSpec& s : stage_table()) {
    CAPTURE(s.name);
    CHECK(find_stage(s.name) == &s);
    if (s.loop != nullptr) CHECK(std::get<std::int64_t*>(field(std::string(s.name) + ".loop.steps")) == &s.loop(r).steps);
    if (s.given != nullptr) CHECK(std::get<std::string*>(field(s.given_key)) == &(r.*s.given));
    if (s.mean_flow != nullptr) CHECK(std::get<std::string*>(field(std::string(s.name) + ".velocity")) == &(r.*s.mean_flow).velocity);
    CHECK((s.loop == nullptr) == (s.parameters == nullptr));
    CHECK((s.is_generator() || s.loop == nullptr) == (s.values_a_row == nullptr));
    for (const StageSpec* source : needs(s, r)) {
      const bool earlier = std::find(before.begin(), before.end(), source->name) != before.end();
      CHECK_MESSAGE(earlier, source->name);
    }
    before.emplace_back(s.name);
  }
  CHECK(before == std::vector<std::string>{"judge", "encoder", "decoder", "vae", "encode", "stats", "fm", "cmt", "mfd", "mft", "map"});
  CHECK(generator_stages() == std::vector<std::string>{"fm", "cmt", "mfd", "mft", "map"});
  CHECK(stages_that_make(Makes::flow_map) == std::vector<std::string>{"cmt", "mfd", "mft", "map"});
  CHECK(scored_names() == std::vector<std::string>{"reconstruction", "teacher", "cmt", "mfd", "mft", "map"});
}

TEST_CASE("a variational autoencoder takes the place of encoder and decoder, and statistics are measured only if it has no scale") {
  Recipe r = baseline("sit_xl2");
  const auto used = [&] {
    std::vector<Makes> list;
    for (const Makes what : {Makes::classifier, Makes::encoder, Makes::decoder, Makes::autoencoder, Makes::latents, Makes::statistics})
      if (space_of(r).uses(r, what)) list.push_back(what);
    return list;
  };
  using List = std::vector<Makes>;
  CHECK(used() == List{Makes::classifier, Makes::autoencoder, Makes::latents});
  r.vae.model.scale = 0;
  CHECK(used() == List{Makes::classifier, Makes::autoencoder, Makes::latents, Makes::statistics});
  r.vae_weights.clear(), r.vae.feature_weight = 0.1;                       // its own autoencoder, with a loss in an encoder's features
  CHECK(used() == List{Makes::classifier, Makes::encoder, Makes::autoencoder, Makes::latents, Makes::statistics});
}

TEST_CASE("the stages that a stage needs follow from the recipe") {
  const auto sources = [](const char* name, const std::function<void(Recipe&)>& change) {
    std::vector<std::string> names;
    for (const StageSpec* s : needs(stage_named(name), recipe_of(256, change))) names.emplace_back(s->name);
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(sources("judge", {}).empty());
  CHECK(sources("decoder", {}) == Names{"encoder"});
  CHECK(sources("fm", {}) == Names{"encoder"});
  CHECK(sources("cmt", {}) == Names{"encoder", "fm"});
  CHECK(sources("mfd", {}) == Names{"encoder", "fm", "cmt"});
  CHECK(sources("mfd", [](Recipe& r) { r.mfd.velocity = "one-point"; }) == Names{"encoder", "cmt"});
  CHECK(sources("mft", [](Recipe& r) { r.mfd.loop.steps = 10; }) == Names{"encoder", "mfd"});
  CHECK(sources("mft", [](Recipe& r) { r.mfd.loop.steps = 0, r.mft.velocity = "blend=0.5"; }) == Names{"encoder", "fm", "cmt"});
  CHECK(sources("map", {}) == Names{"encoder", "fm"});
  CHECK(sources("map", [](Recipe& r) { r.map.velocity = "one-point", r.map.start = "mfd"; }) == Names{"encoder", "mfd"});
  CHECK(sources("map", [](Recipe& r) { r.map.velocity = "one-point", r.map.start = "random"; }) == Names{"encoder"});
  CHECK(sources("map", [](Recipe& r) { r.map.objective.name = "cmt", r.map.start = "random"; }) == Names{"encoder", "fm"});
}

TEST_CASE("an unknown stage is refused with a list of the known stages") {
  const Recipe r = recipe_of(256);
  const std::string wanted = "there is no stage 'mtf': known are judge, encoder, decoder, vae, encode, stats, fm, cmt, mfd, mft and map";
  CHECK_THROWS_WITH_AS(stage_named("mtf"), wanted.c_str(), ConfigError);
  CHECK_THROWS_WITH_AS(stage_cost(r, "mtf"), wanted.c_str(), ConfigError);
  CHECK_THROWS_WITH_AS(stage_loop(r, "mtf"), wanted.c_str(), ConfigError);
  CHECK_THROWS_WITH_AS(stage_loop(r, "stats"), "stage stats has no training", ConfigError);
  CHECK_THROWS_WITH_AS(stage_cost(r, "judge"), "stage judge trains no generator; the stages that do are fm, cmt, mfd, mft and map", ConfigError);
}

TEST_CASE("in the identity space the transformer's input has the shape of the samples") {
  const auto resolved = [](const Shape& sample, const std::function<void(Recipe&)>& change = {}) {
    Recipe r;
    r.space = "identity", r.data = "sines", r.sample_shape = sample, r.classes = 4;
    auto& dit = r.network.of<DitDh>();
    dit.patch_size = 4, dit.width = 64, dit.depth = 2, dit.heads = 4, dit.head_width = 64, dit.head_depth = 1, dit.head_heads = 4;
    if (change) change(r);
    r.resolve();
    return r;
  };
  const Recipe series = resolved({3, 32});
  const DitDhConfig& dit = series.network.of<DitDh>();
  CHECK(dit.axes == 1);
  CHECK(dit.input_shape() == Shape{3, 32});
  CHECK(dit.tokens() == 8);
  CHECK(series.latent_shape() == Shape{3, 32});
  CHECK(series.network.size(true) == "DiT^DH 64x2 + 64x1, sequences [3, 32] in 8 tokens, flow map u(z, s, t)");
  CHECK(stage_cost(series, stage_name::fm).trained == parameter_count(DitDh(dit), true));
  CHECK(stage_cost(series, stage_name::fm).forward == 2 * 128 * double(total(cost_table(dit)).macs()));
  const Recipe square = resolved({2, 8, 8}), wide = resolved({2, 8, 12});
  const DitDhConfig &of_square = square.network.of<DitDh>(), &of_wide = wide.network.of<DitDh>();
  CHECK(of_square.axes == 2);
  CHECK(of_square.input_width == 0);                                             // 0, as in configs for latents
  CHECK(of_square.input_shape() == Shape{2, 8, 8});
  CHECK(of_wide.input_width == 12);
  CHECK(of_wide.input_shape() == Shape{2, 8, 12});
  CHECK(of_wide.tokens() == 6);
  CHECK(error_of<ConfigError>([&] { resolved({3, 30}); }) == "dit.patch_size 4 does not divide samples [3, 30] of sines: set it to a divisor of 30");
  CHECK(error_of<ConfigError>([&] { resolved({2, 8, 10}); }) == "dit.patch_size 4 does not divide samples [2, 8, 10] of sines: set it to a divisor of 8 and 10");
  CHECK(error_of<ConfigError>([&] { resolved({14}); }) ==
        "network dit_dh models samples [channels, length] or [channels, height, width]; those of sines are [14]: set network = \"mlp\"");
  const Recipe vectors = resolved({14}, [](Recipe& r) { r.network.name = "mlp"; });
  CHECK(vectors.network.of<FlowMlp>().dim == 14);
}
