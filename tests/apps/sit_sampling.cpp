// Stand-ins of SiT, REPA, REG and MeanFlow files through the programs: sampled with an autoencoder, converted, and used in trainings; wrong files are
// refused in one line.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "flowmap/row_noise.h"
#include "flowmap/training/generator.h"
#include "nn/latent_stats.h"
#include "nn/models/dit_weights.h"
#include "tensor/io/npy.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/sit_stand_ins.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

const SitStandIns& files() { return sit_stand_ins(); }

const Arguments flax_side{"--latent-size", "8"};

Result sample(const fs::path& dit, const fs::path& vae, const Arguments& more) {
  return run_program_file(own_folder().parent_path() / "apps/flowmap_sample", Arguments{"--threads", "1", "--dit", dit.string(), "--vae", vae.string()} + more);
}

using Pixels = std::vector<std::uint8_t>;
constexpr std::size_t picture = 16 * 16 * 3;

Pixels pixels(const fs::path& dit, const Arguments& more, const fs::path& vae = files().vae) {
  const TempFolder folder;
  const Result result = sample(dit, vae, Arguments{"--count", "2", "--grid=", "--npz", (folder / "a.npz").string()} + more);
  REQUIRE_MESSAGE(result.code == 0, result.err);
  return NpzReader(folder / "a.npz").read("arr_0").to_vector<std::uint8_t>();
}

int largest_difference(const Pixels& a, const Pixels& b) {
  REQUIRE(a.size() == b.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(int(a[i]) - int(b[i])));
  return largest;
}

Tensor noise() { return sample_noise({0, 1}, {4, 8, 8}, 1); }
Tensor labels() { return Tensor::from<std::int64_t>({0, 1}, {2}); }
Tensor at(double t) { return Tensor::full({2}, t); }

// Pixels of latents: divided by 0.18215, decoded, and rounded to nearest (half a level is added) or truncated.
Pixels decoded(const Tensor& z, double scale = 0.18215, double added = 0.5) {
  const AutoencoderKL vae(small_vae(), 7);
  const std::vector<float> x = vae.decode(z * (1 / scale)).value().to_vector<float>();
  Pixels out(2 * picture);
  for (std::size_t row = 0; row < 2; ++row)
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t i = 0; i < 256; ++i)
        out[row * picture + 3 * i + c] = static_cast<std::uint8_t>(std::floor(std::clamp(127.5 * (static_cast<double>(x[(row * 3 + c) * 256 + i]) + 1) + added, 0.0, 255.0)));
  return out;
}

Pixels truncated(const Tensor& z, double scale = 0.18215) { return decoded(z, scale, 0); }

// Euler's method from 1 to 0 in this number of steps.
template <class V> Tensor euler(const V& v, int steps) {
  Tensor z = noise();
  for (int k = steps; k > 0; --k) z = z - v(z, at(static_cast<double>(k) / steps)) * (1.0 / steps);
  return z;
}

// Share of equal levels of two images, which tells rounding from truncation.
double equal_share(const Pixels& a, const Pixels& b) {
  double same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) same += a[i] == b[i] ? 1 : 0;
  return same / static_cast<double>(a.size());
}

void check_pixels(const Pixels& found, const Pixels& wanted) {
  CHECK(largest_difference(found, wanted) <= 1);
  CHECK(equal_share(found, wanted) > 0.99);
}

void refused_sample(const fs::path& dit, const fs::path& vae, const Arguments& more, int code, const std::string& message) {
  const TempFolder folder;
  refused(sample(dit, vae, Arguments{"-q", "--count", "1", "--grid", (folder / "g.png").string()} + more), code, message);
  CHECK_FALSE(fs::exists(folder / "g.png"));
}

}  // namespace

TEST_CASE("SiT and REPA: Euler's method on times evenly from 1 to 0, latents divided by 0.18215, pixels rounded as in their codes") {
  const Dit sit = random_sit(1, true), repa = random_sit(3);
  const auto of_sit = [&](const Tensor& z, const Tensor& t) { return sit(z, 1.0 - t, labels()).value() * -1.0; };
  check_pixels(pixels(files().sit, {"--steps", "4"}), decoded(euler(of_sit, 4)));
  check_pixels(pixels(files().repa, {"--steps", "4"}), truncated(euler([&](const Tensor& z, const Tensor& t) { return repa(z, t, labels()).value(); }, 4)));
  const Dit plain = random_sit(2);
  const auto of_plain = [&](const Tensor& z, const Tensor& t) { return plain(z, 1.0 - t, labels()).value() * -1.0; };
  check_pixels(pixels(files().sit_plain, {"--steps", "3", "--origin", "sit"}), decoded(euler(of_plain, 3)));
  CHECK(largest_difference(pixels(files().sit_plain, {"--steps", "3"}), decoded(euler(of_plain, 3))) > 8);
  CHECK(pixels(files().dit, {"--steps", "4", "--origin", "sit"}) == pixels(files().sit, {"--steps", "4"}));
  CHECK(equal_share(pixels(files().sit, {"--steps", "4", "--rounding", "truncate"}), decoded(euler(of_sit, 4))) < 0.9);
}

TEST_CASE("MeanFlow of every layout: z - u(z, 0, 1) in one step, and two steps") {
  const Dit net = random_sit(5, false, true), early = early_mean_flow(6);
  const auto jump = [&](const Dit& map, const Tensor& z, double s, double t) { return z - map(z, at(s), at(t), labels()).value() * (t - s); };
  const Tensor one = jump(net, noise(), 0, 1), two = jump(net, jump(net, noise(), 0.5, 1), 0, 0.5);
  for (const auto* file : {&files().mean_flow_z, &files().mean_flow_hz}) check_pixels(pixels(*file, {}), truncated(one));
  check_pixels(pixels(files().mean_flow_flax, flax_side), decoded(one));
  check_pixels(pixels(files().mean_flow_z, {"--rounding", "nearest"}), decoded(one));
  check_pixels(pixels(files().mean_flow_z, {"--steps", "2"}), truncated(two));
  check_pixels(pixels(files().mean_flow_early, {"--origin", "mean_flow"}), truncated(jump(early, noise(), 0, 1)));
  refused_sample(files().mean_flow_z, files().vae, {"--guidance", "2"}, exit_code::usage, "guidance is for a teacher");
  refused_sample(files().mean_flow_z, files().vae, {"--solver", "sde"}, exit_code::usage, "--solver is for a teacher");
}

TEST_CASE("REG: latent and class token move together, both guided, and the token's result is left out") {
  const Dit net = random_sit(small_reg(), 4);
  const Tensor token = RowNoise(noise()).beside({12});
  const auto run_reg = [&](int steps, double guidance, double to) {
    Tensor z = noise(), k = token;
    for (int i = steps; i > 0; --i) {
      const double t = static_cast<double>(i) / steps, scale = t <= to ? guidance : 1;
      const JointVelocity v = net.joint(z, k, at(t), labels()), none = net.joint(z, k, at(t), {});
      const auto mixed = [&](const Var& with, const Var& without) { return without.value() + (with.value() - without.value()) * scale; };
      z = z - mixed(v.latent, none.latent) * (1.0 / steps);
      k = k - mixed(v.class_token, none.class_token) * (1.0 / steps);
    }
    return truncated(z);
  };
  check_pixels(pixels(files().reg, {"--steps", "5"}), run_reg(5, 1, 1));
  check_pixels(pixels(files().reg, {"--steps", "5", "--guidance", "2.3", "--guidance-to", "0.85"}), run_reg(5, 2.3, 0.85));
  CHECK(largest_difference(run_reg(5, 2.3, 0.85), run_reg(5, 2.3, 1)) > 8);
  CHECK(largest_difference(run_reg(5, 1, 1), run_reg(5, 2.3, 1)) > 8);
  for (const char* solver : {"heun", "sde"}) CHECK(pixels(files().reg, {"--steps", "5", "--solver", solver}).size() == 2 * picture);
  CHECK(largest_difference(pixels(files().reg, {"--solver", "dopri5"}), pixels(files().reg, {"--steps", "60", "--solver", "heun"})) <= 6);
  CHECK(largest_difference(pixels(files().reg, {"--steps", "2", "--batch", "1"}), pixels(files().reg, {"--steps", "2", "--batch", "2"})) <= 1);
}

TEST_CASE("autoencoders of every layout give the same images; the scale is checked, and can be given") {
  const Pixels wanted = pixels(files().repa, {"--steps", "2"});
  for (const auto* vae : {&files().vae_old, &files().vae_ckpt, &files().stable_diffusion}) CHECK(pixels(files().repa, {"--steps", "2"}, *vae) == wanted);
  refused_sample(files().repa, files().sdxl, {}, exit_code::unreadable,
                 "its config.json has scaling_factor 0.13025, but latents of SiT, REPA, REG and MeanFlow have 0.18215: this is another autoencoder, such as SDXL's");
  const Dit repa = random_sit(3);
  const Tensor z = euler([&](const Tensor& x, const Tensor& t) { return repa(x, t, labels()).value(); }, 2);
  check_pixels(pixels(files().repa, {"--steps", "2", "--latent-scale", "0.13025"}, files().sdxl), truncated(z, 0.13025));
}

TEST_CASE("latents are decoded by tiles if asked for, and a tile of the whole latent gives equal bits") {
  const Arguments two{"--steps", "2"};
  const Pixels whole = pixels(files().repa, two);
  CHECK(pixels(files().repa, two + Arguments{"--tile", "8"}) == whole);
  CHECK(largest_difference(pixels(files().repa, two + Arguments{"--tile", "4"}), whole) > 0);
}

TEST_CASE("statistics of the autoencoder's own latents replace the scale; with --latent-scale they are those of scaled latents") {
  const TempFolder folder;
  std::vector<double> mean, variance;
  for (int i = 0; i < 4 * 64; ++i) mean.push_back(0.5 - 0.01 * (i % 64)), variance.push_back(20.0 + i / 64 + 0.05 * (i % 64));
  const LatentStats stats{Tensor::from(mean, {4, 8, 8}).to(DType::f32), Tensor::from(variance, {4, 8, 8}).to(DType::f32), 0};
  TorchWriter::write(folder / "stat.pt", {{"mean", stats.mean}, {"var", stats.variance}});
  const Dit repa = random_sit(3);
  const Tensor z = euler([&](const Tensor& x, const Tensor& t) { return repa(x, t, labels()).value(); }, 2);
  const Arguments given{"--steps", "2", "--stats", (folder / "stat.pt").string()};
  check_pixels(pixels(files().repa, given), truncated(stats.restore(z), 1));
  check_pixels(pixels(files().repa, given, files().sdxl), truncated(stats.restore(z), 1));
  check_pixels(pixels(files().repa, given + Arguments{"--latent-scale", "0.5"}), truncated(stats.restore(z), 0.5));
  refused_sample(files().repa, files().vae, {"--stats", "none"}, exit_code::usage, "leave --stats out, or, for a network of latents without a scale, give --latent-scale 1");
}

TEST_CASE("a checkpoint of a run is refused: its config has settings that tensors do not show") {
  const TempFolder net, vae;
  const auto checkpoint = [](const TempFolder& folder, const NamedTensors& tensors) {
    CheckpointFolder checkpoints(folder.path(), 1, 0);
    save_checkpoint(checkpoints, 1, {{"model", tensors}}, nlohmann::ordered_json::object());
    return checkpoints.path(1);
  };
  const fs::path own = checkpoint(net, state_dict(random_sit(3))), own_vae = checkpoint(vae, state_dict(AutoencoderKL(small_vae(), 7)));
  const char* remedy = "a checkpoint of a run, whose config sets heads, groups of norms, and the scales of times and latents, which tensors do not show: sample it with --out RUN";
  for (const fs::path& with : {files().vae, fs::path()}) refused_sample(own, with, {}, exit_code::usage, "--dit " + own.string() + ": " + remedy);
  refused_sample(files().repa, own_vae, {}, exit_code::usage, "--vae " + own_vae.string() + ": " + remedy);
  refused_sample(files().repa, files().vae, {"--weak", own.string(), "--guidance", "2"}, exit_code::usage, "--weak " + own.string() + ": " + remedy);
}

TEST_CASE("what was loaded is said with its clock; samples.txt names weights and scale") {
  const TempFolder folder;
  const Result r = sample(files().sit_plain, files().vae, {"--count", "1", "--grid=", "--pngs", (folder / "P").string()});
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK_MESSAGE(has(r.err, "read as REPA: time 0 is data, assumed"), r.err);
  CHECK_MESSAGE(has(r.err, "vae: AutoencoderKL 32 32, 4 channels of latents, scale 0.18215, 32 groups of norms assumed"), r.err);
  CHECK_MESSAGE(has(r.err, "velocity v(z, t), 1 head assumed"), r.err);
  const std::string line = read_file(folder / "P/samples.txt");
  for (const char* part : {"sit ", " decoder ", " scale 0.18215", " rounding truncate"}) CHECK_MESSAGE(has(line, part), line);
  for (const char* part : {" batch ", " origin "}) CHECK_MESSAGE(!has(line, part), line);
}

TEST_CASE("samples.txt distinguishes an early MeanFlow from a REPA with the same tensors, and the batches of dopri5") {
  const TempFolder folder;
  const auto drawn = [&](const fs::path& dit, const char* pngs, const Arguments& more) {
    return sample(dit, files().vae, Arguments{"--count", "1", "--grid=", "--pngs", (folder / pngs).string()} + more);
  };
  const auto line = [&](const char* pngs) { return read_file(folder / pngs / "samples.txt"); };
  REQUIRE(drawn(files().mean_flow_early, "early", {}).code == 0);
  CHECK_MESSAGE(!has(line("early"), "origin"), line("early"));
  refused(drawn(files().mean_flow_early, "early", {"--origin", "mean_flow", "-q"}), exit_code::usage, "early");
  REQUIRE(drawn(files().mean_flow_early, "map", {"--origin", "mean_flow"}).code == 0);
  CHECK_MESSAGE(has(line("map"), " origin mean_flow"), line("map"));
  const Result adaptive = drawn(files().repa, "adaptive", {"--solver", "dopri5", "--batch", "2"});
  REQUIRE_MESSAGE(adaptive.code == 0, adaptive.err);
  CHECK_MESSAGE(has(adaptive.err, "dopri5: "), adaptive.err);
  CHECK_MESSAGE(has(adaptive.err, " calls for a batch"), adaptive.err);
  CHECK_MESSAGE(has(line("adaptive"), " solver dopri5 batch 2"), line("adaptive"));
  refused(drawn(files().repa, "adaptive", {"--solver", "dopri5", "--batch", "1", "-q"}), exit_code::usage, "adaptive");
}

TEST_CASE("flowmap_sample names wrong files and flags for what they are") {
  const auto refuse = [](const fs::path& dit, const fs::path& vae, const Arguments& more, int code, const std::string& message) { refused_sample(dit, vae, more, code, message); };
  refuse(files().dit, files().vae, {}, exit_code::unreadable, "a DiT, which predicts noise on a diffusion path of 1000 steps and is no flow");
  refuse(files().vae, files().vae, {}, exit_code::unreadable, "no network for --dit in this file: it is an AutoencoderKL of diffusers");
  refuse(files().sit, files().repa, {}, exit_code::unreadable, "no vae in this file: it is a DiT or SiT");
  refuse("none.pt", files().vae, {}, exit_code::unreadable, "no such file: --dit none.pt");
  refuse(files().sit, "none.safetensors", {}, exit_code::unreadable, "no such file: --vae none.safetensors");
  refuse(files().sit, "", {}, exit_code::usage, "needs --vae: the AutoencoderKL that turns its latents into images");
  refuse(files().sit, files().vae, {"--decoder", files().vae.string()}, exit_code::usage, "--decoder is for the latents of a DiT^DH");
  refuse(files().sit, files().vae, {"--origin", "repa"}, exit_code::unreadable, "origin \"repa\" does not fit");
  refuse(files().reg, files().vae, {"--weak", files().reg.string(), "--guidance", "2"}, exit_code::usage, "--weak is for networks without a class token");
  refuse(files().mean_flow_flax, files().vae, {"--latent-size", "9"}, exit_code::unreadable, "do not divide a latent of side 9");
  for (const Arguments& more : {Arguments{"--pixels", "half"}, Arguments{"--decoder-heads", "4"}})
    refuse(files().sit, files().vae, more, exit_code::usage, "--pixels and --decoder-heads are for the decoder of a DiT^DH");
  refuse(files().sit, files().vae, {"--latent-size", "8"}, exit_code::usage, "--latent-size 8: only Flax files lack the side of their latents");
  refuse(files().sit, files().vae, {"--stage", "mfd"}, exit_code::usage, "--stage mfd is a generator of a run (--out), but --dit gives the weights");
  refuse(files().sit, files().vae, {"--weak", files().sit_plain.string()}, exit_code::usage, "needs --guidance above 1");
  const TempFolder folder;
  DitDhConfig dh = dit_dh("S");
  shrink(dh);
  TorchWriter::write(folder / "stage2_model.pt", state_dict(DitDh(dh, 1)));
  refuse(folder / "stage2_model.pt", files().vae, {}, exit_code::usage, "is a DiT^DH: give --decoder and --stats in its place");
  refuse(folder / "stage2_model.pt", "", {"--origin", "sit"}, exit_code::usage, "--origin, --latent-scale, --latent-size and --tile are for a SiT, REPA, REG or MeanFlow");
  DitConfig sixteen = small_sit();
  sixteen.channels = 16;
  TorchWriter::write(folder / "sixteen.pt", state_dict(Dit(sixteen, 1)));
  refuse(folder / "sixteen.pt", files().vae, {}, exit_code::unreadable, "makes latents of 16 channels, but");
}

TEST_CASE("convert --part sit writes weights on this project's clock that sample the same images") {
  const TempFolder folder;
  const Arguments nearest{"--rounding", "nearest"};                    // converted weights no longer show whose rounding was published
  const auto converted = [&](const fs::path& from, const Arguments& more) {
    const fs::path to = folder / "own.safetensors";
    const Result r = run_program_file(own_folder().parent_path() / "apps/convert", Arguments{"--from", from.string(), "--part", "sit", "--to", to.string()} + more);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    return std::pair(pixels(to, nearest + (more.empty() || more[0] != "--origin" || more[1] != "mean_flow" ? Arguments{} : more)), r.err);
  };
  CHECK(converted(files().sit, {}).first == pixels(files().sit, nearest));
  CHECK(has(converted(files().sit, {}).second, "read as SiT: its time 1 is data, reversed"));
  CHECK(converted(files().sit_plain, {"--origin", "sit"}).first == pixels(files().sit_plain, nearest + Arguments{"--origin", "sit"}));
  for (const auto* file : {&files().repa, &files().reg, &files().mean_flow_z, &files().mean_flow_hz}) CHECK(converted(*file, {}).first == pixels(*file, nearest));
  CHECK(converted(files().mean_flow_flax, flax_side).first == pixels(files().mean_flow_z, nearest));
  CHECK(converted(files().mean_flow_early, {"--origin", "mean_flow"}).first == pixels(files().mean_flow_early, nearest + Arguments{"--origin", "mean_flow"}));
  const auto refused_convert = [&](const fs::path& from, const Arguments& more, const std::string& message) {
    const Result r = run_program_file(own_folder().parent_path() / "apps/convert", Arguments{"--from", from.string(), "--to", (folder / "no.safetensors").string()} + more);
    CHECK(r.code != 0);
    CHECK_MESSAGE(has(r.err, message), r.err);
  };
  refused_convert(files().dit, {"--part", "sit"}, "is no flow");
  refused_convert(files().sit, {"--origin", "sit"}, "--origin sit needs --part sit");
  refused_convert(files().vae, {"--part", "sit"}, "no sit in this file: it is an AutoencoderKL of diffusers");
}

namespace {

// A recipe of one step for each stage on random latents (4, 8, 8).
fs::path recipe(const TempFolder& folder) {
  NpzWriter data(folder / "latents.npz");
  data.add<float>("latents", {60, 4, 8, 8}, random_normal({60, 4, 8, 8}, {1, 1}).to_vector<float>());
  std::vector<std::int64_t> y;
  for (std::int64_t i = 0; i < 60; ++i) y.push_back(i % 10);
  data.add<std::int64_t>("labels", {60}, y);
  data.finish();
  write_atomically(folder / "recipe.toml", "space = \"identity\"\nnetwork = \"sit\"\ndata = \"arrays:" + (folder / "latents.npz").string() + R"(?x=latents,y=labels"
[sit]
patch_size = 2
width = 16
depth = 2
heads = 1
[fm.loop]
steps = 1
batch = 4
[mfd.loop]
steps = 1
batch = 4
[mft.loop]
steps = 1
batch = 4
)");
  return folder / "recipe.toml";
}

Result train_sit(const TempFolder& folder, const std::string& stage, const Arguments& more) {
  static const TempFolder all;
  static const fs::path config = recipe(all);
  return run_program_file(own_folder().parent_path() / "apps/flowmap_train",
                          Arguments{stage, "--config", config.string(), "--threads", "1", "--out", (folder / "run").string()} + more);
}

}  // namespace

TEST_CASE("trainings start from published files and are taught by them") {
  const auto trained = [](const std::string& stage, const Arguments& more, const std::string& said) {
    const TempFolder folder;
    const Result r = train_sit(folder, stage, more);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    CHECK_MESSAGE(has(r.err, said), r.err);
  };
  for (const auto* file : {&files().sit, &files().repa}) trained("fm", {"--init-from", file->string()}, "fm");
  trained("fm", {"--init-from", files().reg.string()}, "reg.pt: a REG, whose class token of 12 numbers this network lacks: the other layers are a start, not yet a velocity");
  trained("fm", {"--init-from", files().sit_plain.string(), "--sit.origin", "sit"}, "fm");
  for (const auto* file : {&files().mean_flow_z, &files().mean_flow_hz, &files().mean_flow_flax})
    trained("mft", {"--init-from", file->string(), "--teacher-weights", files().repa.string()}, "mft");
  trained("mfd", {"--init-from", files().mean_flow_z.string(), "--teacher-weights", files().sit.string()}, "read as SiT: its time 1 is data, reversed");
  trained("mfd", {"--init-from", files().repa.string(), "--teacher-weights", files().repa.string()}, "read as REPA: time 0 is data, assumed");
}

TEST_CASE("trainings refuse files that cannot serve, and name them") {
  const auto refuse = [](const std::string& stage, const Arguments& more, const std::string& message) {
    const TempFolder folder;
    refused(train_sit(folder, stage, more + Arguments{"-q"}), exit_code::unreadable, message);
  };
  const std::string map = files().mean_flow_z.string();
  refuse("mfd", {"--init-from", map, "--teacher-weights", files().dit.string()}, "a DiT, which predicts noise");
  refuse("mfd", {"--init-from", map, "--teacher-weights", files().mean_flow_hz.string()}, "holds a flow map u(z, s, t)");
  refuse("mfd", {"--init-from", map, "--teacher-weights", (files().vae / "diffusion_pytorch_model.safetensors").string()}, "no sit in this file: it is an AutoencoderKL of diffusers");
  refuse("mft", {"--init-from", files().mean_flow_early.string(), "--sit.origin", "mean_flow", "--teacher-weights", files().repa.string()}, "one embedding for both times");
}
