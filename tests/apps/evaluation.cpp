// evaluate on images that are sorted by class, in classes of unequal sizes: names and references of scores, and cached files.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <thread>

#include "data/png.h"
#include "data/report/csv.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/training/chain/score_file.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/random/philox.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

const std::vector<std::string> class_names{"down", "left", "right", "up"};
const std::vector<int> train_sizes{60, 40, 80, 20}, test_sizes{30, 13, 50, 7};

// An image of 8x8: the class decides which half is bright, the image's number decides the noise.
Image picture(std::size_t label, int number) {
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) {
      const bool bright = label == 0 ? y >= 4 : label == 1 ? x < 4 : label == 2 ? x >= 4 : y < 4;
      const PhiloxBlock noise = RandomKey{label}.block(static_cast<std::uint64_t>(number), static_cast<std::uint32_t>(8 * y + x));
      pixels.push_back(static_cast<std::uint8_t>((bright ? 150 : 30) + noise[0] % 80));
    }
  return image_from_planes(pixels.data(), 1, 8, 8);
}

void draw_split(const fs::path& folder, const std::vector<int>& sizes, int first) {
  for (std::size_t c = 0; c < sizes.size(); ++c) {
    fs::create_directories(folder / class_names[c]);
    for (int i = 0; i < sizes[c]; ++i) write_png(folder / class_names[c] / (std::to_string(first + i) + ".png"), picture(c, first + i));
  }
}

// A finished run on a folder of such images, made once.
struct SortedRun {
  TempFolder folder;
  fs::path run = folder / "run";
  std::string data = "folder:" + (folder / "pictures").string() + "?size=8,channels=1";
  SortedRun() {
    draw_split(folder / "pictures/train", train_sizes, 0);
    draw_split(folder / "pictures/test", test_sizes, 10000);
    succeeds(train("pipeline", run, {"--data", data, "--judge.loop.steps", "150"}));  // enough steps for the judge to learn the classes
  }
};

const SortedRun& sorted_run() {
  static const SortedRun run;
  return run;
}

Result evaluate(const fs::path& run_folder, const Arguments& more) {
  return run("evaluate", run_folder, Arguments{"--data", sorted_run().data} + more);
}

// A copy of that run, whose scores a test may change.
fs::path copy_of_run(const TempFolder& folder) {
  const fs::path to = folder / "run";
  fs::copy(sorted_run().run, to, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  return to;
}

std::vector<std::int64_t> counts(const Tensor& labels) {
  std::vector<std::int64_t> n(4, 0);
  for (const std::int64_t l : labels.to_vector<std::int64_t>()) ++n.at(static_cast<std::size_t>(l));
  return n;
}

// Checks that the report's table shows the newest rows of scores.csv.
void report_says_the_same(const fs::path& run_folder) {
  const std::string report = read_file(run_folder / "report.html");
  const std::vector<Score> scores = newest_scores(read_scores(run_folder / "scores.csv"));
  const auto shown = [&](const ScoreColumn& c) {             // whether a row has a number in this column
    return *c.title != 0 && std::any_of(scores.begin(), scores.end(), [&](const Score& s) { return !score_cell(s, c).empty(); });
  };
  for (const Score& s : scores) {
    std::string row = fmt::format("<tr><td>{}</td>", s.name);
    for (const ScoreColumn& c : score_columns())
      if (shown(c)) row += fmt::format("<td[number]>{}</td>", shown_cell(s, c));
    std::string plain;  // the table row without the style of its cells
    for (std::size_t at = 0; at < report.size();) {
      const bool styled = report.compare(at, 19, "<td class=\"number\">") == 0;
      plain += styled ? "<td>" : std::string(1, report[at]);
      at += styled ? 19 : 1;
    }
    for (std::size_t at; (at = row.find("[number]")) != std::string::npos;) row.erase(at, 8);
    CHECK_MESSAGE(has(plain, row), row);
  }
}

}  // namespace

TEST_CASE("the reference is the whole test split for any number of samples") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder), csv = out / "scores.csv";
  std::vector<Score> scores;
  for (const std::int64_t n : {40, 80, 160, 400}) {
    CAPTURE(n);
    const std::string before = read_file(csv);
    const fs::path npz = folder / "features.npz";
    const Result result =
        evaluate(out, {"--stage", "mfd", "--calls", "1", "--no-teacher", "--samples", std::to_string(n), "--features-out", npz.string()});
    succeeds(result);
    CHECK(lines(result.out) == 2);
    const std::string after = read_file(csv);
    CHECK(after.substr(0, before.size()) == before);  // old rows do not change
    CHECK(lines(after) == lines(before) + 1);
    const Score s = scores.emplace_back(read_scores(csv).back());
    CHECK(s.name == "mfd");
    CHECK(s.samples == n);
    CHECK(s.reference == 100);
    CHECK(s.step == 12);
    CHECK(s.calls == 1);

    // The scores can be computed from the features, which cover the whole split and equally many samples per class.
    const NpzReader features(npz);
    const Tensor real = features.read("reference"), made = features.read("mfd_1");
    CHECK(counts(features.read("reference_labels")) == std::vector<std::int64_t>{30, 13, 50, 7});
    CHECK(counts(features.read("mfd_1_labels")) == std::vector<std::int64_t>(4, n / 4));
    CHECK(s.metric("frechet") == frechet_distance(fit_gaussian(made), fit_gaussian(real)));
    CHECK(s.metric("recall") == precision_recall(real, made, 3).recall);
    CHECK_FALSE(s.metrics.contains("energy_distance"));          // the energy distance compares values, not features of the judge
    CHECK_FALSE(has(result.out, "energy"));

    const CsvRows classes = parse_csv(read_file(by_class_file(csv)));
    std::int64_t right = 0, asked = 0;
    for (auto row = classes.end() - 4; row != classes.end(); ++row) {
      CHECK((*row)[3] == s.date);
      asked += std::stoll((*row)[6]), right += std::stoll((*row)[7]);
    }
    CHECK(asked == n);
    CHECK(near(s.accuracy, static_cast<double>(right) / static_cast<double>(n), 1e-15));
    report_says_the_same(out);
  }
  for (const Score& s : scores) {
    CHECK(s.reference_accuracy == scores[0].reference_accuracy);
    CHECK(s.reference_id == scores[0].reference_id);
    CHECK(s.checkpoint == scores[0].checkpoint);
    CHECK(s.judge == scores[0].judge);
    const double p = scores.back().accuracy, deviation = std::sqrt(p * (1 - p) / static_cast<double>(s.samples));
    CHECK(std::abs(s.accuracy - p) <= 2 * deviation);
  }
  CHECK(scores[3].metric("frechet") < scores[0].metric("frechet"));  // the scores differ only by the bias of fewer samples
  CHECK(scores[0].reference_accuracy > 0.8);
}

TEST_CASE("a smaller reference is balanced, and the same for any number of samples") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder), npz = folder / "f.npz";
  std::set<std::string> ids;
  for (const char* n : {"20", "60"}) {
    succeeds(evaluate(out, {"--stage", "mfd", "--calls", "1", "--samples", n, "--reference", "24", "--features-out", npz.string()}));
    CHECK(counts(NpzReader(npz).read("reference_labels")) == std::vector<std::int64_t>(4, 6));
    ids.insert(read_scores(out / "scores.csv").back().reference_id);
  }
  CHECK(ids.size() == 1);
  CHECK(read_scores(out / "scores.csv").back().reference == 24);
}

TEST_CASE("cached features of the reference are read if intact; damaged features, or those of other images, are recomputed") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder);
  const auto score = [&](const Arguments& more = {}) {
    const Result result = evaluate(out, Arguments{"--stage", "mfd", "--calls", "1", "--samples", "40"} + more);
    succeeds(result);
    return std::pair(read_scores(out / "scores.csv").back(), result.err);
  };
  const Score right = score().first;
  const fs::path cache = out / "evaluation" / ("reference-" + right.reference_id + ".safetensors");
  REQUIRE(fs::exists(cache));
  const auto written = fs::last_write_time(cache);
  CHECK(score().first.metric("frechet") == right.metric("frechet"));
  CHECK(fs::last_write_time(cache) == written);  // the cache was read, not written again
  // One feature is altered: the file can be read, but its checksum is wrong.
  const std::string bytes = read_file(cache);
  std::string altered = bytes;
  altered[altered.size() - 3] ^= 0x40;
  for (const std::string& damaged : {altered, bytes.substr(0, bytes.size() / 2), std::string()}) {
    write_atomically(cache, damaged);
    const auto again = score();
    CHECK(again.first.metric("frechet") == right.metric("frechet"));
    CHECK_MESSAGE(has(again.second, "the features are computed again"), again.second);
    CHECK(read_file(cache) == bytes);
  }
  // The file contains features of other images.
  score({"--reference", "24"});
  const std::string other_id = read_scores(out / "scores.csv").back().reference_id;
  CHECK(other_id != right.reference_id);
  fs::copy_file(out / "evaluation" / ("reference-" + other_id + ".safetensors"), cache, fs::copy_options::overwrite_existing);
  CHECK(score().first.metric("frechet") == right.metric("frechet"));
}

TEST_CASE("removing a class of the test split or changing an image changes the reference") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder), pictures = folder / "pictures";
  fs::copy(sorted_run().folder / "pictures", pictures, fs::copy_options::recursive);
  const auto score = [&] {
    const Result result =
        run("evaluate", out,
            {"--data", "folder:" + pictures.string() + "?size=8,channels=1", "--stage", "mfd", "--calls", "1", "--samples", "20"});
    succeeds(result);
    return std::pair(read_scores(out / "scores.csv").back(), result.err);
  };
  const Score whole = score().first;
  write_png(pictures / "test/right/10003.png", picture(2, 777));
  const Score other = score().first;
  CHECK(other.reference_id != whole.reference_id);
  CHECK(other.metric("frechet") != whole.metric("frechet"));
  fs::remove_all(pictures / "test/left");
  const auto less = score();
  CHECK(less.first.reference == 87);
  CHECK(less.first.metric("frechet") != other.metric("frechet"));
  CHECK_MESSAGE(has(less.second, "no images of left"), less.second);
}

TEST_CASE("two concurrent evaluations both keep their rows, and the report shows the same scores as the table") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder);
  const long before = lines(read_file(out / "scores.csv"));
  std::vector<std::thread> both;
  std::vector<int> codes(2, -1);
  for (std::size_t i = 0; i < 2; ++i)
    both.emplace_back([&, i] { codes[i] = evaluate(out, {"--stage", i == 0 ? "cmt" : "mfd", "--calls", "1,2", "--samples", "20"}).code; });
  for (std::thread& t : both) t.join();
  CHECK(codes == std::vector<int>{0, 0});
  CHECK(lines(read_file(out / "scores.csv")) == before + 4);
  report_says_the_same(out);
}

TEST_CASE("evaluate scores the selected stages and calls; bad options and a foreign scores.csv are refused") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder);
  const auto names = [&](const Arguments& more) {
    const std::size_t before = read_scores(out / "scores.csv").size();
    succeeds(evaluate(out, Arguments{"--samples", "12"} + more));
    std::vector<std::string> found;
    const std::vector<Score> all = read_scores(out / "scores.csv");
    for (std::size_t i = before; i < all.size(); ++i)
      found.push_back(all[i].calls < 0 ? all[i].name : fmt::format("{} {}", all[i].name, all[i].calls));
    return found;
  };
  using Names = std::vector<std::string>;
  CHECK(names({"--no-teacher"}) == Names{"reconstruction", "cmt 1", "cmt 2", "mfd 1", "mfd 2", "mft 1", "mft 2"});
  CHECK(names({"--stage", "teacher,last", "--calls", "3"}) == Names{"teacher 4", "mft 3"});
  CHECK(names({"--only", "cmt", "--evaluate.steps", "2"}) == Names{"cmt 2"});  // old names of --stage and --calls
  refused(evaluate(out, {"--stage", "mfx", "-q"}), exit_code::usage, "--stage mfx: there is no such generator: known are reconstruction");
  refused(evaluate(out, {"--k", "100", "-q"}), exit_code::usage, "evaluate.k = 100");
  refused(evaluate(out, {"--k", "12", "--samples", "12", "-q"}), exit_code::usage, "evaluate.samples");
  succeeds(evaluate(out, {"--k", "11", "--samples", "12", "--stage", "cmt", "--calls", "1"}));      // k = 11 neighbors need 12 samples
  refused(evaluate(out, {"--k", "3000000000", "-q"}), exit_code::usage, "3000000000");
  // scores.csv is another kind of table: the error comes before the evaluation.
  write_atomically(out / "scores.csv", "step,loss\n1,2\n");
  refused(evaluate(out, {"--stage", "mfd", "-q"}), exit_code::unreadable, "no table of scores");
  CHECK(read_file(out / "scores.csv") == "step,loss\n1,2\n");
}

TEST_CASE("scores during a training are those that an evaluation of the same weights gives") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder);
  for (const char* stage : {"fm", "mfd"}) {
    CAPTURE(stage);
    fs::remove_all(out / stage);
    const std::string loop = std::string("--") + stage + ".loop.";
    succeeds(train(stage, out, {"--data", sorted_run().data, loop + "score_every", "10", "--keep-best", "kid", "--evaluate.samples", "24"}));
    const std::string csv = read_file(out / stage / "metrics.csv");
    const Curve distance = csv_curve(csv, "step", "frechet"), right = csv_curve(csv, "step", "accuracy");
    CHECK(distance.x == (std::string(stage) == "fm" ? std::vector<double>{10, 20, 24} : std::vector<double>{10, 12}));
    CHECK(distance.y.front() != distance.y.back());
    CHECK(fs::exists(out / stage / "checkpoints/best"));
    succeeds(evaluate(out, {"--stage", std::string(stage) == "fm" ? "teacher" : stage, "--calls", "1", "--samples", "24"}));
    const Score score = read_scores(out / "scores.csv").back();
    CHECK(score.metric("frechet") == distance.y.back());
    CHECK(score.accuracy == right.y.back());
    const bool teacher = std::string(stage) == "fm";
    const auto resumed = [&](const Arguments& more) {
      return train(stage, out, Arguments{"--data", sorted_run().data, loop + "score_every", "10", loop + "steps", "25", "--evaluate.samples", "24", "-q"} + more);
    };
    for (const Arguments& other : {Arguments{"--evaluate.samples", "28"}, {"--evaluate.k", "2"}, {"--evaluate.reference", "8"},
                                   teacher ? Arguments{"--evaluate.teacher_points", "9"} : Arguments{"--evaluate.steps", "2"}})
      refused(resumed(other), exit_code::usage, "was made from another way of scoring (judge");
    if (!teacher) continue;
    refused(resumed({"--guidance", "3"}), exit_code::usage, "was made from another way of scoring (judge");
    succeeds(resumed({"--evaluate.steps", "2"}));                        // a teacher has points instead
    fs::remove_all(out / "decoder");
    refused(resumed({loop + "steps", "26"}), exit_code::unreadable, "there is no trained decoder");
    fs::copy(sorted_run().run / "decoder", out / "decoder", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  }
}

TEST_CASE("a finished pipeline rewrites an outdated report, and evaluates again if the settings have changed") {
  TempFolder folder;
  const fs::path out = copy_of_run(folder);
  const auto again = [&](const Arguments& more = {}) {
    const Result result = train("pipeline", out, Arguments{"--data", sorted_run().data} + more);
    succeeds(result);
    return result.err;
  };
  const long rows = lines(read_file(out / "scores.csv"));
  add_scores(out / "scores.csv", {{.name = "elsewhere", .calls = 1, .metrics = {{"frechet", 123.25}}}});  // as if a process had been killed before it wrote the report
  CHECK(has(again(), "already evaluated"));
  CHECK(has(read_file(out / "report.html"), "123.250"));
  CHECK(lines(read_file(out / "scores.csv")) == rows + 1);
  CHECK(!has(again({"--evaluate.samples", "20"}), "already evaluated"));
  CHECK(lines(read_file(out / "scores.csv")) == 2 * rows);  // after the added row, the scores once more: rows - 1 of them
  report_says_the_same(out);
}
