// Scores of a run in the features of a published network (evaluate.features), beside `evaluate pictures` on the same images. FID's network is at full size, with
// weights that are a function of their names.
#include <doctest/doctest.h>

#include <cmath>

#include "data/report/csv.h"
#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/reference.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/elementwise.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/inception_stand_in.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t references = 6, samples = 10;      // the fewest that all metrics take

const std::string& features() {
  static const TempFolder folder;
  static const std::string text = [] {
    save_safetensors(folder / "inception.safetensors", inception_stand_in());
    return "inception:" + (folder / "inception.safetensors").string();
  }();
  return text;
}

const Arguments& few() {
  static const Arguments list{"--evaluate.reference", std::to_string(references), "--samples", std::to_string(samples), "--no-teacher", "--calls", "1"};
  return list;
}

// The images of the reference as an array (N, H, W, 1), which `evaluate pictures` reads.
void write_reference(const fs::path& npz) {
  const auto test = open_source("shapes?count=200,size=8,channels=1", Split::test);
  const Tensor images = (read_rows(*test, balanced_rows(*test, references)) * 255.0 + 0.5).to(DType::u8);
  NpzWriter file(npz);
  file.add<std::uint8_t>("arr_0", {references, 8, 8, 1}, images.to_vector<std::uint8_t>());
  file.finish();
}

// The samples that `evaluate` scores.
void write_samples(const fs::path& run_folder, const Tensor& labels, const fs::path& npz) {
  std::string list;
  for (const std::int64_t label : labels.to_vector<std::int64_t>()) list += (list.empty() ? "" : ",") + std::to_string(label);
  succeeds(run("flowmap_sample", run_folder, {"--first", "1000000", "--count", std::to_string(samples), "--labels", list, "--stage", "mfd", "--rounding", "nearest", "--npz", npz.string(), "--grid", ""}));
}

// Values by metric in DIR/pictures.csv.
std::map<std::string, double> measured(const fs::path& out) {
  std::map<std::string, double> values;
  const CsvRows rows = parse_csv(read_file(out / "pictures.csv"));
  for (std::size_t i = 1; i < rows.size(); ++i) values[rows[i][0]] = std::stod(rows[i][1]);
  return values;
}

}  // namespace

TEST_CASE("a run's scores in FID's features are those of evaluate pictures, after a training and while it goes on") {
  const TempFolder t;
  const fs::path out = t / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "cmt"});
  const Arguments published{"--evaluate.features", features(), "--evaluate.preparation", "half-pixel"};
  succeeds(train("mfd", out, published + Arguments{"--evaluate.reference", std::to_string(references), "--evaluate.samples", std::to_string(samples), "--mfd.loop.score_every", "100", "--keep-best", "is"}));
  const Result evaluated = run("evaluate", out, few() + published + Arguments{"--stage", "mfd", "--features-out", (t / "f.npz").string()});
  succeeds(evaluated);
  CHECK_MESSAGE(has(evaluated.err, "features inception half-pixel, "), evaluated.err);
  CHECK_MESSAGE(has(evaluated.err, fmt::format("{} samples: Frechet distances of fewer than 2048", samples)), evaluated.err);
  const Score score = read_scores(out / "scores.csv").back();
  CHECK(score.features == "inception half-pixel");
  CHECK(score.reference == references);
  CHECK(std::isnan(score.accuracy));
  CHECK(score.by_class.empty());
  const std::string csv = read_file(out / "mfd/metrics.csv");
  for (const char* name : {"frechet", "sfid", "is", "kid", "precision", "recall"}) CHECK_MESSAGE(score.metric(name) == csv_curve(csv, "step", name).y.back(), name);

  write_reference(t / "reference.npz");
  write_samples(out, NpzReader(t / "f.npz").read("mfd_1_labels"), t / "samples.npz");
  const Result pictures = run_program_file(own_folder().parent_path() / "apps/evaluate",
                                           {"pictures", "--samples", (t / "samples.npz").string(), "--reference", (t / "reference.npz").string(), "--features", features(), "--preparation",
                                            "half-pixel", "--metrics", "fid,sfid,is,kid_all,precision_recall", "--halves", "0", "--out", (t / "pictures").string()});
  succeeds(pictures);
  const auto values = measured(t / "pictures");
  const std::map<std::string, std::string> same{{"frechet", "fid"}, {"sfid", "sfid"}, {"is", "is"}, {"kid", "kid_all"}, {"precision", "precision"}, {"recall", "recall"}};
  for (const auto& pair : same) CHECK_MESSAGE(std::abs(score.metric(pair.first) - values.at(pair.second)) <= 1e-6 * values.at(pair.second), pair.first, " ", score.metric(pair.first), " ", values.at(pair.second));
}

TEST_CASE("the report has the newest scores in each kind of features, and the reference's features are read from their file the second time") {
  const TempFolder t;
  const fs::path out = t / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "mfd"});
  const Arguments stage{"--stage", "mfd"}, published{"--evaluate.features", features()};
  succeeds(run("evaluate", out, few() + stage));
  succeeds(run("evaluate", out, few() + stage + published));
  const std::string report = read_file(out / "report.html");
  CHECK(has(report, "inception tf1"));
  CHECK(has(report, ">judge<"));
  std::vector<std::string> files;
  for (const auto& file : fs::directory_iterator(out / "evaluation"))
    if (file.path().extension() == ".safetensors") files.push_back(file.path().string());
  REQUIRE(files.size() == 2);
  const Result again = run("evaluate", out, few() + stage + published);
  succeeds(again);
  CHECK_MESSAGE(!has(again.err, "reference: 6/6"), again.err);
  const std::vector<Score> scores = read_scores(out / "scores.csv");
  REQUIRE(scores.size() == 3);
  CHECK(scores[1].metrics == scores[2].metrics);
  CHECK(scores[0].reference_id != scores[1].reference_id);
}

TEST_CASE("features that cannot be opened, or are not for these images, are refused before the work") {
  const TempFolder t;
  const fs::path out = t / "run";
  copy_stages(out, {"judge", "encoder", "decoder", "fm", "mfd"});
  const auto asked = [&](const std::string& text, const Arguments& more = {}) { return run("evaluate", out, Arguments{"-q", "--evaluate.features", text} + more); };
  refused(asked("inception"), exit_code::usage, "evaluate.features 'inception' must be inception:FILE");
  refused(asked("judge:file"), exit_code::usage, "evaluate.features 'judge:file' must be judge");
  refused(asked("vgg:file"), exit_code::usage, "known are judge, values, inception:FILE and dinov2:FILE");
  refused(asked("inception:nowhere.pth"), exit_code::unreadable, "nowhere.pth");
  refused(asked("judge", {"--evaluate.preparation", "tf1"}), exit_code::usage, "evaluate.preparation tf1 is for features of a published network, not for judge");
  refused(asked(features(), {"--evaluate.preparation", "pillow"}), exit_code::usage, "pillow");
  save_safetensors(t / "other.safetensors", {{"a", Tensor::zeros({2})}});
  refused(asked("inception:" + (t / "other.safetensors").string()), exit_code::unreadable, " and 460 more; unexpected: a");
  refused(train("pipeline", t / "new", {"-q", "--evaluate.features", "inception:" + (t / "other.safetensors").string()}), exit_code::unreadable, "other.safetensors");
  CHECK(!fs::exists(t / "new/encoder"));
}
