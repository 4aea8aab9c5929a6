// flowmap_sample on files in the published formats, run as a user would.
#include <doctest/doctest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "apps/sample/pictures.h"
#include "data/image_file.h"
#include "data/png.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/checkpoint.h"
#include "nn/models/published_weights.h"
#include "tensor/io/npy.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/child.h"
#include "tests/support/stand_ins.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const StandIns& files() {
  static const TempFolder folder;
  static const StandIns made = write_stand_ins(folder.path(), 256, false);
  return made;
}

Result draw(const fs::path& dit, const Arguments& more, const std::function<void(pid_t)>& during = {}) {
  const Arguments common{"--threads", "1", "--dit", dit.string(), "--decoder", files().decoder.string(), "--stats", files().stats.string()};
  return run_program_file(own_folder().parent_path() / "apps" / "flowmap_sample", common + more, during);
}

std::vector<std::uint8_t> arr_0(const fs::path& npz) {
  return NpzReader(npz).read("arr_0").to_vector<std::uint8_t>();
}

// Runs the command so that it writes only an .npz, and returns the pixels.
std::vector<std::uint8_t> pixels(const fs::path& dit, const Arguments& more) {
  const TempFolder folder;
  const Result result = draw(dit, Arguments{"--grid=", "--npz", (folder / "a.npz").string()} + more);
  REQUIRE_MESSAGE(result.code == 0, result.err);
  return arr_0(folder / "a.npz");
}

constexpr std::size_t picture = 256 * 256 * 3;

int largest_difference(const std::uint8_t* a, const std::uint8_t* b, std::size_t n) {
  int largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(int(a[i]) - int(b[i])));
  return largest;
}

}  // namespace

TEST_CASE("one step computes decode(noise - u(noise, 0, 1)), rounded to 8 bits") {
  const auto found = pixels(files().flow_map, {"--count", "3"});
  REQUIRE(found.size() == 3 * picture);
  const Weights dit_weights = load_part(files().flow_map.string(), "dit", {}),
                decoder_weights = load_part(files().decoder.string(), "decoder", {});
  DitDh dit(dit_dh_config_of(dit_weights));
  RaeDecoder decoder(rae_decoder_config_of(decoder_weights));
  load_model(dit, dit_weights);
  load_model(decoder, decoder_weights);
  const Tensor z = sample_noise({2}, {16, 16, 16}, 1);
  const Tensor u = dit(z, Tensor::zeros({1}), Tensor::full({1}, 1), Tensor::from(std::vector<std::int64_t>{2}, {1})).value();
  const Tensor tokens = grid_to_tokens(load_stats(files().stats.string(), {}).restore(z - u));
  const std::vector<float> y = decoder(tokens).value().to_vector<float>();
  const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  int largest = 0;
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t i = 0; i < 256 * 256; ++i) {
      const double x = std::clamp(y[c * 256 * 256 + i] * deviation[c] + mean[c], 0.0, 1.0);
      largest = std::max(largest, std::abs(int(found[2 * picture + 3 * i + c]) - int(255 * x)));
    }
  CHECK(largest <= 1);
  const auto nearest = pixels(files().flow_map, {"--count", "3", "--rounding", "nearest"});
  CHECK(largest_difference(nearest.data(), found.data(), found.size()) == 1);
}

TEST_CASE("sample i is the same image in any batch; the number of steps and the label change it") {
  const auto all = pixels(files().flow_map, {"--count", "7", "--batch", "4", "--steps", "2"});
  const auto some = pixels(files().flow_map, {"--count", "2", "--first", "3", "--batch", "1", "--steps", "2"});
  CHECK(largest_difference(all.data() + 3 * picture, some.data(), 2 * picture) <= 1);      // products have other sizes in another batch, so last bits may differ
  CHECK(largest_difference(all.data() + 2 * picture, some.data(), 2 * picture) > 8);
  const auto once = pixels(files().flow_map, {"--count", "2", "--first", "3", "--batch", "1"});
  CHECK(largest_difference(once.data(), some.data(), 2 * picture) > 0);
  const auto other = pixels(files().flow_map, {"--count", "2", "--first", "3", "--class", "3,4", "--batch", "1", "--steps", "2"});
  CHECK(largest_difference(other.data() + picture, some.data() + picture, picture) > 0);    // the label of sample 4 has changed
}

TEST_CASE("labels are equal, listed or random, and depend only on the sample number") {
  CHECK(labels_of("equal", 2, 4, 4, 1) == std::vector<std::int64_t>{2, 3, 0, 1});
  CHECK(labels_of("7,9", 1, 3, 10, 1) == std::vector<std::int64_t>{9, 7, 9});
  const auto random = labels_of("random", 0, 2000, 10, 1);
  for (std::int64_t label = 0; label < 10; ++label) CHECK(std::count(random.begin(), random.end(), label) > 150);
  CHECK(labels_of("random", 5, 3, 10, 1) == std::vector<std::int64_t>(random.begin() + 5, random.begin() + 8));
}

TEST_CASE("a resumed PNG folder keeps intact images and generates missing or truncated ones") {
  TempFolder folder;
  const fs::path pngs = folder / "pictures", npz = folder / "all.npz";
  const Arguments wanted{"--count",     "6",     "--batch",    "1",      "--pngs",
                         pngs.string(), "--npz", npz.string(), "--grid", (folder / "grid.png").string()};
  const Result first = draw(files().flow_map, wanted);
  REQUIRE_MESSAGE(first.code == 0, first.err);
  for (const char* part : {"6/6 images", "img/s", "ETA"}) CHECK_MESSAGE(has(first.err, part), first.err);
  const std::string bytes = read_file(npz), picture_4 = read_file(pngs / "000004.png");
  const Tensor array = NpzReader(npz).read("arr_0");
  CHECK(array.shape() == Shape{6, 256, 256, 3});
  CHECK(arr_0(npz) == pixels(files().flow_map, {"--count", "6", "--batch", "1"}));
  CHECK(read_image(folder / "grid.png").width > 512);

  fs::remove(pngs / "000001.png");
  write_atomically(pngs / "000004.png", picture_4.substr(0, picture_4.size() - 5));
  CHECK_FALSE(is_intact_png(pngs / "000004.png"));
  CHECK_FALSE(is_intact_png(pngs / "000009.png"));
  const auto kept = fs::last_write_time(pngs / "000002.png");
  const Result again = draw(files().flow_map, wanted);
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK_MESSAGE(has(again.err, "4 of 6 images exist already"), again.err);
  CHECK(read_file(pngs / "000004.png") == picture_4);
  CHECK(fs::last_write_time(pngs / "000002.png") == kept);
  CHECK(read_file(npz) == bytes);
  CHECK(has(draw(files().flow_map, wanted).err, "all.npz exists already"));
  const Arguments others{"--seed", "2", "--pngs", (folder / "others").string()};
  REQUIRE(draw(files().flow_map, wanted + others).code == 0);       // writes other images into the same file, which must not pass for those of `wanted`
  CHECK(read_file(npz) != bytes);
  CHECK(has(draw(files().flow_map, wanted).err, "arr_0 of 6 images"));
  CHECK(read_file(npz) == bytes);
  const Result more = draw(files().flow_map, wanted + Arguments{"--count", "7"});
  CHECK_MESSAGE(has(more.err, "6 of 7 images exist already"), more.err);
  CHECK(NpzReader(npz).read("arr_0").dim(0) == 7);
  refused(draw(files().flow_map, wanted + Arguments{"--steps", "2", "-q"}), 2, "contains images of other settings");
  refused(draw(files().teacher, wanted + Arguments{"-q"}), 2, "take another folder");
}

TEST_CASE("a PNG folder without samples.txt is refused; damaged images are generated again and their temporary files removed") {
  TempFolder folder;
  const fs::path pngs = folder / "P", npz = folder / "all.npz";
  const Arguments wanted{"--count", "3", "--batch", "1", "--pngs", pngs.string(), "--npz", npz.string(), "--grid="};
  fs::create_directories(pngs);
  write_png(pngs / "000000.png", blank_image(256, 256, 3, 200));
  refused(draw(files().flow_map, wanted + Arguments{"-q"}), 2, "P: contains 000000.png but no samples.txt");
  CHECK_FALSE(fs::exists(pngs / "samples.txt"));
  CHECK_FALSE(fs::exists(npz));
  fs::rename(pngs / "000000.png", pngs / "cover.png");                     // a name without a number is no sample
  REQUIRE(draw(files().flow_map, wanted).code == 0);
  const std::string settings = read_file(pngs / "samples.txt"), good = read_file(pngs / "000001.png"), bytes = read_file(npz);
  for (const char* part : {"dit ", " decoder ", " stats ", " seed 1", " labels equal", " steps 1"}) CHECK_MESSAGE(has(settings, part), settings);

  std::string damaged = good;
  damaged[damaged.size() / 2] ^= 1;                                        // the file is complete, but a checksum inside is wrong
  write_atomically(pngs / "000001.png", damaged);
  for (const char* name : {"000001.png.tmp-123", "000007.png.tmp-123", "notes.tmp-123"}) write_atomically(pngs / name, "what was written of it");
  const Result again = draw(files().flow_map, wanted);
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK_MESSAGE(has(again.err, "2 of 3 images exist already"), again.err);
  CHECK(read_file(pngs / "000001.png") == good);
  CHECK(read_file(npz) == bytes);
  CHECK_FALSE(fs::exists(pngs / "000001.png.tmp-123"));
  CHECK(fs::exists(pngs / "000007.png.tmp-123"));                         // belongs to another command, which may still run
  CHECK(fs::exists(pngs / "notes.tmp-123"));

  write_png(pngs / "000002.png", blank_image(1, 1, 3, 200));
  std::string torn = read_file(pngs / "000002.png");                       // checksums are right but the pixels are missing, which decoding detects
  write_atomically(pngs / "000002.png", torn.substr(0, 33) + torn.substr(torn.size() - 12));
  const Result third = draw(files().flow_map, wanted);
  REQUIRE_MESSAGE(third.code == 0, third.err);
  CHECK_MESSAGE(has(third.err, "generated again"), third.err);
  CHECK(read_file(npz) == bytes);
}

TEST_CASE("classes by name give the same images and the same samples.txt as by number") {
  TempFolder folder;
  const auto named = pixels(files().flow_map, {"--count", "2", "--class", "golden retriever,n02444819"});
  CHECK(named == pixels(files().flow_map, {"--count", "2", "--class", "207,360"}));
  const Arguments one{"--count", "1", "--pngs", (folder / "P").string(), "--grid="};
  REQUIRE(draw(files().flow_map, one + Arguments{"--class", "otter"}).code == 0);
  CHECK(has(read_file(folder / "P/samples.txt"), " labels 360 "));
  CHECK(draw(files().flow_map, one + Arguments{"--class", "360"}).code == 0);
  refused(draw(files().flow_map, one + Arguments{"--class", "tench", "-q"}), 2, "contains images of other settings");
  const LatentStats stats = load_stats(files().stats.string(), {});
  std::string line = read_file(folder / "P/samples.txt");
  line.replace(line.find(checksum(stats)), checksum(stats).size(), checksum({{"var", stats.variance}}));       // the line of earlier builds
  write_atomically(folder / "P/samples.txt", line);
  CHECK(draw(files().flow_map, one + Arguments{"--class", "otter"}).code == 0);
}

TEST_CASE("samples.txt names the last step of an SDE; a folder of an earlier build, which did not name the usual one, is continued") {
  TempFolder folder;
  const Arguments one{"--count", "1", "--pngs", (folder / "P").string(), "--grid=", "--solver", "sde", "--steps", "2"};
  REQUIRE(draw(files().teacher, one).code == 0);
  std::string line = read_file(folder / "P/samples.txt");
  REQUIRE_MESSAGE(has(line, " solver sde last step mean"), line);
  CHECK(draw(files().teacher, one + Arguments{"--last-step", "mean", "--diffusion", "linear"}).code == 0);
  refused(draw(files().teacher, one + Arguments{"--last-step", "none", "-q"}), 2, "contains images of other settings");
  line.erase(line.find(" last step mean"), std::string(" last step mean").size());
  write_atomically(folder / "P/samples.txt", line);
  CHECK(draw(files().teacher, one).code == 0);
  refused(draw(files().teacher, one + Arguments{"--last-step", "none", "-q"}), 2, "contains images of other settings");
}

TEST_CASE("a sampling command that is killed and repeated gives the same files") {
  TempFolder folder;
  const fs::path pngs = folder / "pictures", npz = folder / "all.npz";
  const Arguments wanted{"--count", "40", "--batch", "1", "--pngs", pngs.string(), "--npz", npz.string(), "--grid="};
  const Result killed = draw(files().flow_map, wanted, [&](pid_t child) {
    CHECK(wait_until([&] { return fs::exists(pngs / "000003.png"); }));
    kill(child, SIGKILL);
  });
  REQUIRE(killed.code == 1000 + SIGKILL);
  CHECK_FALSE(fs::exists(npz));
  write_atomically(folder / "all.npz.tmp-123", "what was written of it");
  const Result rest = draw(files().flow_map, wanted);
  REQUIRE_MESSAGE(rest.code == 0, rest.err);
  CHECK(arr_0(npz) == pixels(files().flow_map, {"--count", "40", "--batch", "1"}));
  CHECK_FALSE(fs::exists(folder / "all.npz.tmp-123"));
}

TEST_CASE("solver, guidance, guidance interval and autoguidance change a teacher's samples as expected") {
  const Arguments two{"--count", "2", "--steps", "4"};
  const auto plain = pixels(files().teacher, two);
  const auto differs = [&](const Arguments& more) {
    return largest_difference(pixels(files().teacher, two + more).data(), plain.data(), plain.size());
  };
  CHECK(differs({"--solver", "heun"}) > 0);
  CHECK(differs({"--solver", "sde"}) > 0);
  const Arguments sde = two + Arguments{"--solver", "sde"};
  const auto as_sit = pixels(files().teacher, sde);
  CHECK(pixels(files().teacher, sde + Arguments{"--diffusion", "sigma", "--last-step", "mean"}) == as_sit);
  const auto constant = pixels(files().teacher, sde + Arguments{"--diffusion", "constant"});
  CHECK(constant != as_sit);
  CHECK(constant == pixels(files().teacher, sde + Arguments{"--diffusion", "constant", "--last-step", "tweedie"}));
  CHECK(constant != pixels(files().teacher, sde + Arguments{"--diffusion", "constant", "--last-step", "mean"}));
  CHECK(pixels(files().teacher, sde + Arguments{"--last-step", "none"}) != as_sit);
  const auto adaptive = pixels(files().teacher, {"--count", "2", "--solver", "dopri5"}), fine = pixels(files().teacher, {"--count", "2", "--steps", "60", "--solver", "heun"});
  CHECK(largest_difference(adaptive.data(), fine.data(), fine.size()) <= 1);
  // The scales are far above those in use, because the velocities of random networks differ by little and images are rounded to 8 bits.
  CHECK(differs({"--guidance", "100"}) > 0);
  CHECK(differs({"--guidance", "100", "--guidance-from", "0.1", "--guidance-to", "0.2"}) == 0);    // no time of the solver lies in that interval
  CHECK(differs({"--guidance", "100", "--guidance-from", "0.9"}) > 0);
  CHECK(differs({"--guidance", "20", "--weak", files().weak.string()}) > 0);
  CHECK(differs({"--guidance", "1.42", "--weak", files().teacher.string()}) <= 1);                 // a teacher guided by itself does not change
}

TEST_CASE("an image in bf16 differs from the f32 image by fewer than 12 of 255 levels") {
  const auto f32 = pixels(files().flow_map, {"--count", "1"}), bf16 = pixels(files().flow_map, {"--count", "1", "--precision", "bf16"});
  const int difference = largest_difference(f32.data(), bf16.data(), picture);
  CHECK(difference > 0);
  CHECK(difference < 12);
}

TEST_CASE("only one call is accepted for a map trained for jumps to data, and no call for a network that is followed as an ODE") {
  const Weights flow_map = load_part(files().flow_map.string(), "dit", {});
  const auto checkpoint = [&](const TempFolder& folder, const char* sampler) {
    CheckpointFolder checkpoints(folder.path(), 1, 0);
    nlohmann::ordered_json state;
    state["made_from"]["sampler"] = sampler;
    save_checkpoint(checkpoints, 1, {{"model", flow_map.tensors}}, state);
    return checkpoints.path(1);
  };
  const TempFolder renoised, ode, out;
  const fs::path to_data = checkpoint(renoised, "renoised"), followed = checkpoint(ode, "ode");
  const Arguments grid{"-q", "--grid", (out / "g.png").string(), "--count", "1"};
  refused(draw(to_data, grid + Arguments{"--steps", "2"}), 2, "its objective did not train jumps to every time (sampler: renoised)");
  refused(draw(followed, grid + Arguments{"--steps", "1"}), 2, "its objective did not train jumps to every time (sampler: ode)");
  CHECK(pixels(to_data, {"--count", "1", "--steps", "1"}) == pixels(files().flow_map, {"--count", "1", "--steps", "1"}));
}

TEST_CASE("flowmap_sample refuses unusable files, flags and labels, in one line") {
  TempFolder folder;
  const auto refuse = [&](const Arguments& more, int code, const std::string& message) {
    refused(draw(files().flow_map, Arguments{"-q", "--grid", (folder / "g.png").string()} + more), code, message);
  };
  refuse({"--stats", "none/stat.pt", "--weak", "none/weak.pt"}, 3, "no such file: --stats none/stat.pt, --weak none/weak.pt");
  refuse({"--decoder", files().flow_map.string()}, 3, "no decoder in this file: it is a DiT^DH");
  refuse({"--dit", files().decoder.string()}, 3, "no dit in this file: it is a RAE decoder");
  refuse({"--guidance", "2"}, 2, "guidance is for a teacher");
  refuse({"--solver", "heun"}, 2, "--solver is for a teacher");
  const auto refuse_teacher = [&](const Arguments& more, const std::string& message) {
    refused(draw(files().teacher, Arguments{"-q", "--grid", (folder / "g.png").string()} + more), 2, message);
  };
  refuse_teacher({"--solver", "dopri5", "--steps", "4"}, "--calls 4: dopri5 chooses");
  refuse_teacher({"--solver", "sde"}, "--calls 1: the SDE needs at least 2");
  refuse_teacher({"--solver", "heun", "--diffusion", "constant"}, "--diffusion and --last-step are for --solver sde, not heun");
  refuse_teacher({"--weak", files().weak.string()}, "needs --guidance above 1");
  refuse_teacher({"--stage", "teacher"}, "--stage teacher is a generator of a run (--out), but --dit gives the weights");
  refuse_teacher({"--latent-size", "16"}, "--origin, --latent-scale, --latent-size and --tile are for a SiT, REPA, REG or MeanFlow");
  refuse_teacher({"--last-step", "none"}, "--diffusion and --last-step are for --solver sde, not euler");
  refuse({"--class", "1000"}, 2, "label 1000: there are 1000 classes, 0 to 999");
  refuse({"--class", "cat"}, 2, "labels 'cat'");
  refuse({"--class", "crane"}, 2, "class 'crane' is the name of labels 134 and 517");
  refuse({"--out", folder.path().string()}, 2, "give one of them");
  refuse({"--grid", "g.jpg"}, 2, "--grid g.jpg: the name must end in .png");
  refuse({"--npz", "a.npy"}, 2, "--npz a.npy: the name must end in .npz");
  refuse({"--npz", (files().decoder / "a.npz").string()}, 3, "cannot create its folder");
  refuse({"--grid="}, 2, "no output is named");
  refuse({"--guidance-from", "0.9", "--guidance-to", "0.1"}, 2, "no time lies between");
  fs::create_directory(folder / "folder.npz");
  refuse({"--npz", (folder / "folder.npz").string()}, 2, "folder.npz: is a folder: give a file's name");
  save_safetensors(folder / "stat.safetensors", {{"var", Tensor::full({16, 32, 32}, 1)}});
  refuse({"--stats", (folder / "stat.safetensors").string()}, 3, "holds statistics of latents");
  CHECK_FALSE(fs::exists(folder / "g.png"));
}
