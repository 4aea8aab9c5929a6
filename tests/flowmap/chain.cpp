// The chain of stages as a user's own program uses it: nothing of apps/ is linked.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/report/csv.h"
#include "data/source.h"
#include "flowmap/sampler.h"
#include "flowmap/training/ablation/scoring.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/plane_run.h"
#include "flowmap/training/chain/scored.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/models/judge.h"
#include "nn/models/rae.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/support/difference.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

class Heard : public Messages {
 public:
  void message(Level level, std::string_view text) override {
    if (level == Level::warning) warnings.emplace_back(text);
  }
  std::vector<std::string> warnings;
};

Recipe points() {
  Recipe r;
  r.data = "points:8gaussians?count=4096", r.space = "identity", r.network.name = "mlp", r.conditional = false;
  r.fm.loop.steps = 12, r.map.loop.steps = 6;
  r.fm.loop.batch = r.map.loop.batch = 8;
  r.cmt.loop.steps = r.mfd.loop.steps = r.mft.loop.steps = 0;
  return r;
}

constexpr std::int64_t picture_count = 24;       // of each split

// Grey images of 8x8 with 4 tokens, and a decoder that is trained for one step.
Recipe picture_recipe() {
  Recipe r;
  r.data = fmt::format("shapes?count={},size=8,channels=1", picture_count);
  VitEncoderConfig& e = r.rae.encoder;
  e.patch_size = 4, e.width = 8, e.depth = 1, e.heads = 2, e.mlp_width = 12, e.registers = 1;
  RaeDecoderConfig& d = r.rae.decoder;
  d.width = 8, d.depth = 1, d.heads = 2, d.mlp_width = 12;
  r.encoder.local_size = 4, r.judge.model.width = 4, r.judge.model.features = 8;
  r.decoder.loop.steps = r.decoder.loop.log_every = 1, r.decoder.loop.batch = 8;
  return r;
}

// Trains the decoder, with an untrained encoder. An untrained judge is stored beside it.
void train_decoder(TrainingRun& run) {
  const auto store = [&](const StageSpec& stage, auto model) {
    reset_parameters(model, 5);
    std::filesystem::create_directories(run.root() / stage.name);
    save_safetensors(run.root() / stage.name / stage.file, state_dict(model));
  };
  store(stage_that_makes(Makes::encoder), VitEncoder(run.recipe().rae.encoder));
  store(stage_that_makes(Makes::classifier), Judge(run.recipe().judge.model));
  const StageSpec& decoder = stage_named(stage_name::decoder);
  CHECK(decoder.run(run, decoder) == Outcome::finished);
}

Curve curve_of(const TrainingRun& run, const char* stage, const char* column) {
  return csv_curve(read_file(run.root() / stage / "metrics.csv"), "step", column);
}

// Trains the stages that have steps, in the order of the table, and returns their number.
int trained(TrainingRun& run) {
  int count = 0;
  for (const StageSpec& stage : stage_table())
    if (stage.in_pipeline(run.recipe())) {
      CHECK(stage.run(run, stage) == Outcome::finished);
      ++count;
    }
  return count;
}

// One process with a run folder of its own.
struct Alone {
  TempFolder folder;
  RunOptions options{.config_file = "own", .out = (folder.path() / "run").string()};
  Heard log;
  Ranks ranks;
  RunContext context() { return {.launch = options, .log = log, .ranks = ranks}; }
};

double difference_of(const Tensor& a, const Tensor& b) { return test::max_difference(a.to_vector<float>(), b.to_vector<float>()); }

Tensor samples(TrainingRun& run) {
  const Network map = run.load_student(stage_name::map);
  return flow_map_generator(map.u(), 1)(sample_noise(consecutive(0, 5), run.recipe().latent_shape(), 3), {});
}

bool has_line(const std::vector<std::string>& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("the library alone runs preflight, teacher, flow map and sampling; a second process finds the results") {
  Alone alone;
  Recipe recipe = points();
  TrainingRun run(recipe, alone.context());
  run.preflight();
  CHECK(trained(run) == 2);
  for (const char* stage : {stage_name::fm, stage_name::map}) {
    CHECK(run.has(stage));
    CHECK(std::filesystem::exists(run.root() / stage / "metrics.csv"));
  }
  CHECK_FALSE(run.has(stage_name::cmt));
  CHECK(run.last_student() == stage_name::map);

  // One call of the flow map is z - u(z, 0, 1).
  const Network map = run.load_student(stage_name::map);
  const Tensor noise = sample_noise(consecutive(0, 5), {2}, 3), here = samples(run);
  CHECK(difference_of(here, noise - evaluate(map.u(), noise, Tensor::zeros({5}), Tensor::ones({5}), {})) < 1e-6);
  CHECK(difference_of(here, noise) > 1e-3);                     // the network is not zero

  Recipe again = points();
  TrainingRun second(again, alone.context());
  CHECK(trained(second) == 2);                               // both are found complete
  CHECK(difference_of(samples(second), here) == 0);
  CHECK(alone.log.warnings.empty());
}

TEST_CASE("a checkpoint copied from another stage is refused for sampling and for further training") {
  Alone alone;
  Recipe recipe = points();
  TrainingRun run(recipe, alone.context());
  CHECK(trained(run) == 2);
  std::filesystem::copy(run.root() / stage_name::map, run.root() / "mine", std::filesystem::copy_options::recursive);
  const std::string sampled = test::error_of<ConfigError>([&] { run.load_student("mine"); });
  CHECK_MESSAGE(sampled.find("a checkpoint of map, not of mine: move it back") != std::string::npos, sampled);
  const StageSpec& map = stage_named(stage_name::map);
  const std::string further = test::error_of<ConfigError>([&] { run.train_variant("mine", map, recipe, map.start(recipe), recipe.seed); });
  CHECK_MESSAGE(further.find("is a checkpoint of map, another training") != std::string::npos, further);
}

TEST_CASE("a flow map that learned only the velocity is sampled along its ODE, and its checkpoint records this") {
  Alone alone;
  Recipe recipe = points();
  recipe.fm.loop.steps = 0, recipe.map.start = "random", recipe.map.velocity = "one-point", recipe.map.objective.name = "flow_matching";
  TrainingRun run(recipe, alone.context());
  CHECK(trained(run) == 1);
  const Network map = run.load_student(stage_name::map);
  const Tensor noise = sample_noise(consecutive(0, 5), {2}, 3);
  const Tensor euler = sample_ode(diagonal(map.u()), noise, {}, plain_grid(2)), jumps = sample_flow_map(map.u(), noise, {}, plain_grid(2));
  CHECK(difference_of(run.student_generator(stage_name::map, map, 2)(noise, {}), euler) == 0);
  CHECK(difference_of(euler, jumps) > 1e-3);
  CHECK(run.aim_of(stage_name::map).jumps == Jumps::none);
}

TEST_CASE("a checkpoint records which jumps were trained and whether they aim at the flow") {
  using Calls = std::vector<std::int64_t>;
  const auto aim_of = [](const std::string& objective, double one_share, const std::string& calls, const Calls& takes) {
    Alone alone;
    Recipe recipe = points();
    recipe.fm.loop.steps = 0, recipe.map.start = "random", recipe.map.velocity = "one-point", recipe.map.objective.name = objective;
    recipe.evaluate.steps = calls;
    std::get<MeanFlowConfig>(recipe.map.objective.entries).pairs.one_share = one_share;
    TrainingRun run(recipe, alone.context());
    stage_named(stage_name::map).run(run, stage_named(stage_name::map));
    const Network map = run.load_student(stage_name::map);
    std::vector<std::int64_t> scored;
    scored_flow_map(run, objective, stage_name::map, parse_steps(calls), 1, [&](const ScoredGenerator& g) { scored.push_back(g.of.calls); });
    CHECK(scored == takes);
    const Tensor noise = sample_noise(consecutive(0, 5), {2}, 3);
    if (run.aim_of(stage_name::map).jumps == Jumps::to_data) {
      const Tensor made = run.student_generator(stage_name::map, map, 2)(noise, {});
      CHECK(difference_of(made, sample_renoised(map.u(), noise, {}, plain_grid(2))) == 0);
      CHECK(difference_of(made, sample_flow_map(map.u(), noise, {}, plain_grid(2))) > 1e-3);
    }
    CHECK(alone.log.warnings.size() == parse_steps(calls).size() - takes.size());
    if (one_share == 1)
      CHECK(test::error_of<ConfigError>([&] { run.student_generator(stage_name::map, map, 2); }) == "--calls 2: this flow map takes 1 call");
    return run.aim_of(stage_name::map);
  };
  CHECK((aim_of("mean_flow", 0, "1,3", {1, 3}).jumps == Jumps::any && aim_of("mean_flow", 0, "1", {1}).flow_map));
  CHECK(aim_of("mean_flow", 1, "2,1,4", {1}).jumps == Jumps::from_noise);
  CHECK(aim_of("shortcut", 0, "1,3,4,6", {1, 4}).jumps == Jumps::dyadic);
  CHECK(aim_of("ct", 0, "1,3", {1, 3}).jumps == Jumps::to_data);
  CHECK((aim_of("imm", 0, "1", {1}).jumps == Jumps::off_diagonal && !aim_of("imm", 0, "1", {1}).flow_map));
}

TEST_CASE("map errors are given only for samplers without added noise and for maps that aim at the data's flow") {
  Alone alone;
  const auto known = [&](const std::string& objective, double guidance, const std::string& velocity = "teacher") {
    Recipe recipe = points();
    recipe.conditional = true, recipe.guidance = guidance, recipe.map.objective.name = objective, recipe.map.velocity = velocity;
    alone.options.out = (alone.folder.path() / fmt::format("{} {} {}", objective, guidance, velocity)).string();
    TrainingRun run(recipe, alone.context());
    CHECK(trained(run) == 2);
    PlaneRun plane = plane_of(run, *open_source(recipe.data, Split::test));
    CHECK(plane.exact.has_value() == (guidance == 1));
    scored_flow_map(run, "map", stage_name::map, {2, 1}, 1, [&](const ScoredGenerator& g) { add_generator(plane, run, g); });
    CHECK(plane.maps.at(0).jumps == run.aim_of(stage_name::map).jumps);
    return std::vector<bool>{plane.generators.at(0).follows_flow, plane.generators.at(1).follows_flow, plane.maps.at(0).follows_flow};
  };
  CHECK(known("lsd", 1) == std::vector<bool>{true, true, true});
  CHECK(known("ct", 1) == std::vector<bool>{false, true, true});
  CHECK(known("guided_mean_flow", 1) == std::vector<bool>{false, false, false});
  CHECK(known("lsd", 2) == std::vector<bool>{false, false, false});              // the aim is the guided teacher's flow
  CHECK(known("lsd", 2, "one-point") == std::vector<bool>{true, true, true});    // the aim is the data's flow, whatever the teacher's guidance
}

TEST_CASE("a target is guided once, and only by networks that learn a velocity without a label") {
  const auto refusal = [](const char* stage, const std::string& objective, const auto&... changes) {
    Recipe r = points();
    r.conditional = true, r.map.objective.name = objective;
    (changes(r), ...);
    r.resolve_with_data();
    return test::error_of<ConfigError>([&] { check_settings(stage_named(stage), r, 1); });
  };
  const auto guided = [](Recipe& r) { r.guidance = 3.5; };
  const auto on_data = [](Recipe& r) { r.map.velocity = "one-point"; };
  const auto half = [](Recipe& r) { r.map.velocity = "blend=0.5"; };
  const auto improved = [](Recipe& r) { std::get<ImprovedMeanFlowConfig>(r.map.objective.entries).omega = 2; };
  CHECK(refusal(stage_name::map, "guided_mean_flow", guided) ==
        "map.objective guides its own targets, and with map.velocity = \"teacher\" and guidance = 3.5 the teacher guides them too: set guidance = 1 or "
        "map.velocity = \"one-point\"");
  CHECK(refusal(stage_name::map, "guided_mean_flow", guided, half).find("map.velocity = \"blend=0.5\"") != std::string::npos);
  CHECK(refusal(stage_name::map, "improved_mean_flow", guided, improved).find("guides its own targets") != std::string::npos);
  CHECK(refusal(stage_name::map, "improved_mean_flow", guided) == "no error");
  CHECK(refusal(stage_name::map, "guided_mean_flow", guided, on_data) == "no error");
  CHECK(refusal(stage_name::map, "guided_mean_flow") == "no error");

  const auto undropped = [](Recipe& r) { r.fm.objective.labels.probability = 0; };
  const auto given = [](Recipe& r) { r.teacher_weights = "teacher.safetensors"; };
  for (const char* stage : {stage_name::fm, stage_name::map})
    CHECK(refusal(stage, "mean_flow", guided, undropped) ==
          "guidance = 3.5 needs the teacher's velocity without a label, which fm.objective.labels.probability = 0 does not train: raise the probability (0.1), or set "
          "guidance = 1");
  CHECK(refusal(stage_name::map, "mean_flow", guided, undropped, on_data) == "no error");
  CHECK(refusal(stage_name::map, "mean_flow", guided, undropped, given) == "no error");
  CHECK(refusal(stage_name::fm, "mean_flow", undropped) == "no error");
  Alone alone;                                                             // nor are samples guided by it
  Recipe r = points();
  r.conditional = true, r.guidance = 3.5, undropped(r);
  CHECK(test::error_of<ConfigError>([&] { TrainingRun(r, alone.context()).guided({}); }).starts_with("guidance = 3.5 needs the teacher's velocity without a label"));
}

TEST_CASE("teacher scores use Euler's method on a grid of n points: n - 1 calls, and as many again where guidance acts") {
  using Calls = std::vector<std::int64_t>;
  struct Case {
    double guidance, to;
    Calls scored, compared;                                              // in 2 and 1 steps, in 1 and 3 steps
  };
  for (const Case& c : {Case{1, 1, {2, 1}, {1, 3}}, Case{2, 1, {4, 2}, {2, 6}}, Case{2, 0.6, {3, 1}, {1, 4}}}) {
    Alone alone;
    Recipe recipe = points();
    recipe.conditional = true, recipe.guidance = c.guidance, recipe.guidance_to = c.to;
    TrainingRun run(recipe, alone.context());
    CHECK(trained(run) == 2);
    const VelocityNet v = run.guided(run.load_teacher().v());
    const Tensor noise = sample_noise(consecutive(0, 5), {2}, 3), y = Tensor::from<std::int64_t>({0, 1, 2, 3, 4}, {5});
    Calls calls;
    scored_generators(run, stage_named(stage_name::fm).scored_as, {3, 2}, [&](const ScoredGenerator& g) {
      calls.push_back(g.of.calls);
      CHECK(difference_of(g.generate(noise, y), sample_ode(v, noise, y, teacher_grid(calls.size() == 1 ? 3 : 2, 1), Solver::euler)) == 0);
    });
    CHECK(calls == c.scored);

    // An ablation compares the map with the teacher in as many steps as the map takes calls.
    Findings f{.what = "objective", .subtitle = {}, .variants = {{.name = "lsd", .recipe = recipe, .part = stage_name::map}}, .trials = {}, .in_plane = true, .calls = {1, 3}, .busy = {}};
    f.trials.push_back({.variant = 0, .seed = 1, .folder = stage_name::map});
    score(run, f);
    REQUIRE(f.teacher.size() == 2);
    CHECK(Calls{f.teacher[0].calls, f.teacher[1].calls} == c.compared);
    REQUIRE(f.trials[0].scores.size() == 2);
    CHECK((f.trials[0].scores[0].calls == 1 && f.trials[0].scores[1].calls == 3));
  }
}

TEST_CASE("evaluating an untrained stage is an error") {
  Alone alone;
  Recipe recipe = points();
  TrainingRun run(recipe, alone.context());
  CHECK(test::error_of<FileError>([&] { names_to_score(run, {"map"}); }).find("there is no trained map") != std::string::npos);
  CHECK(test::error_of<FileError>([&] { names_to_score(run, {"teacher"}); }).find("there is no trained fm") != std::string::npos);
  CHECK(names_to_score(run, {}).size() > 3);
  recipe.evaluate.teacher = false;
  CHECK(test::error_of<ConfigError>([&] { names_to_score(run, {"teacher"}); }).find("exclude each other") != std::string::npos);
}

TEST_CASE("given weights are ignored if they were trained on other data, and used if they do not name their data") {
  Alone alone;
  const std::string file = (alone.folder.path() / "judge.safetensors").string();
  const auto used = [&](const Metadata& metadata) {
    save_safetensors(file, {{"w", Tensor::arange(3)}}, metadata);
    Recipe recipe;
    recipe.data = "shapes?size=8", recipe.rae.encoder.patch_size = 2, recipe.judge_weights = file;
    TrainingRun(recipe, alone.context());
    return recipe.judge_weights;
  };
  CHECK(used({{"data", "shapes?size=32"}}) == file);              // shapes of another size are the same kind of data
  CHECK(used({{"data", "fashion_mnist"}}).empty());
  CHECK(used({}) == file);
}

TEST_CASE("given noise causes a warning if its mean is not 0 or its variance is not 1") {
  for (const auto& [scale, shift] : {std::pair{1.0, 0.0}, std::pair{2.0, 0.0}, std::pair{1.0, 0.5}}) {
    const bool unlike = scale != 1 || shift != 0;
    Alone alone;
    const std::string file = (alone.folder.path() / "pairs.npz").string();
    NpzWriter pairs(file);
    pairs.add("x", {500, 2}, random_normal({500, 2}, {.seed = 1}).to_vector<float>());
    pairs.add("e", {500, 2}, (shift + scale * random_normal({500, 2}, {.seed = 2})).to_vector<float>());
    pairs.finish();
    Recipe recipe = points();
    recipe.data = "arrays:" + file + "?noise=e";
    TrainingRun run(recipe, alone.context());
    run.flow_batch({7, 2, 20, 0, 100}, 24, 5);
    CHECK(has_line(alone.log.warnings, "the noise that comes with the samples") == unlike);
  }
}

TEST_CASE("noise given with the samples is used in training batches, row by row; other latent spaces refuse it") {
  Alone alone;
  const std::string pairs_file = (alone.folder.path() / "pairs.npz").string();
  std::vector<float> x, noise;
  for (int i = 0; i < 60 * 2; ++i) x.push_back(static_cast<float>(i)), noise.push_back(-1 - static_cast<float>(i));
  NpzWriter file(pairs_file);
  file.add("x", {60, 2}, x);
  file.add("e", {60, 2}, noise);
  file.finish();
  Recipe recipe = points();
  recipe.data = "arrays:" + pairs_file + "?noise=e";
  {
    Recipe pairs = recipe;
    TrainingRun run(pairs, alone.context());
    const Batch batch = run.flow_batch({7, 2, 20, 0, 100}, 24, 5);
    REQUIRE(batch.eps.defined());
    CHECK(difference_of(batch.eps, -1.0 - batch.z0) == 0);
    CHECK(difference_of(batch.z0.slice(0, 0, 10), batch.z0.slice(0, 10, 20)) > 1);
    CHECK(trained(run) == 2);
    CHECK(has_line(alone.log.warnings, "the noise that comes with the samples has mean -59.5 and variance 1.19e+03"));
  }
  Recipe plain = recipe;
  plain.data = "arrays:" + pairs_file + "?x=x";
  alone.options.out = (alone.folder.path() / "plain").string();
  TrainingRun without(plain, alone.context());
  CHECK_FALSE(without.flow_batch({7, 2, 20, 0, 100}, 24, 5).eps.defined());

  Recipe rae = recipe;
  rae.space = "rae";
  CHECK(test::error_of<ConfigError>([&] { rae.take_sizes(*open_source(rae.data, Split::train), "a test"); })
            .find("noise that comes with the samples is for space = \"identity\", not rae: leave noise= out") != std::string::npos);
}

TEST_CASE("the decoder is trained on latents with noise of the scale noise_tau, and the discriminator sees reconstructions of latents without noise") {
  const auto first_step = [](double tau) {
    Alone alone;
    Recipe recipe = picture_recipe();
    recipe.decoder.noise_tau = tau, recipe.decoder.gan.weight = 1, recipe.decoder.gan.generator_from = 1;
    recipe.decoder.loop.rate.peak = 0;                          // the discriminator sees the updated decoder, which is that of the step's loss
    TrainingRun run(recipe, alone.context());
    train_decoder(run);
    return std::pair(curve_of(run, stage_name::decoder, "l1").y.at(0), curve_of(run, stage_name::decoder, "d_fake").y.at(0));
  };
  const auto without = first_step(0), with = first_step(0.8);
  CHECK(std::abs(with.first - without.first) > 1e-4);
  CHECK(with.second == without.second);
}

TEST_CASE("the PSNR of an evaluation is that of the mean square over all values of the test images") {
  Alone alone;
  Recipe recipe = picture_recipe();
  TrainingRun run(recipe, alone.context());
  train_decoder(run);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < picture_count; ++i) rows.push_back(i);
  const LatentSpace space = run.decoding_space();
  const Tensor x = read_rows(*open_source(recipe.data, Split::test), rows);
  double squares = 0;
  for (const double d : (space.decode(space.encode(x)) - x).to_vector<double>()) squares += d * d;
  CHECK(test::near(Evaluator(run).score_decoder().psnr, 10 * std::log10(static_cast<double>(picture_count * 8 * 8) / squares), 1e-6));
}

TEST_CASE("the best checkpoint of a training has the smallest distance, or the largest number of a metric that is better if it is higher") {
  for (const std::string metric : {"frechet", "precision"}) {
    CAPTURE(metric);
    Alone alone;
    Recipe recipe = points();
    recipe.data = "points:8gaussians?count=256", recipe.evaluate.samples = 60, recipe.watch.keep_best = metric;
    recipe.fm.loop.score_every = recipe.fm.loop.ckpt_every = 3, recipe.fm.loop.rate.peak = 1e-2, recipe.evaluate.k = 1;
    TrainingRun run(recipe, alone.context());
    const StageSpec& teacher = stage_named(stage_name::fm);
    CHECK(teacher.run(run, teacher) == Outcome::finished);
    const Curve scores = curve_of(run, teacher.name, metric.c_str());
    const auto least = std::min_element(scores.y.begin(), scores.y.end()), most = std::max_element(scores.y.begin(), scores.y.end());
    REQUIRE(*least < *most);
    const std::int64_t best = static_cast<std::int64_t>(scores.x[static_cast<std::size_t>((metric == "precision" ? most : least) - scores.y.begin())]);
    CHECK(std::filesystem::read_symlink(run.root() / teacher.name / "checkpoints/best").filename() == step_name(best));
  }
}
