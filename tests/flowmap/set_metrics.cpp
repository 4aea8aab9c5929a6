// The metrics of sets and of pairs of images, of statistics alone, and their table.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "data/report/csv.h"
#include "flowmap/metrics/density_coverage.h"
#include "flowmap/metrics/inception_score.h"
#include "flowmap/metrics/kernel_distance.h"
#include "flowmap/training/picture_sets/set_pairs.h"
#include "flowmap/training/picture_sets/set_scores.h"
#include "flowmap/training/picture_sets/statistics_pair.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/ops/reduce.h"
#include "tests/flowmap/small_images.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

SeenSet made_set(const std::vector<float>& values, std::int64_t n) {
  return {.name = "made", .id = "id", .count = n, .height = 8, .width = 8, .vectors = Tensor::from(values, {n, std::ssize(values) / n}), .spatial = {}, .logits = {}};
}

std::vector<float> waves(std::int64_t n, std::int64_t d, double shift) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < n * d; ++i) out.push_back(static_cast<float>(std::sin(1.7 * static_cast<double>(i * i % 97) + shift) + shift * static_cast<double>(i % d)));
  return out;
}

const SetNumber& named(const SetResults& r, const std::string& name) {
  for (const SetNumber& n : r.numbers)
    if (n.name == name) return n;
  throw Error("no number " + name);
}

}  // namespace

TEST_CASE("a metric whose input is missing is refused with the reason, and the usual ones leave it out") {
  const SeenSet samples = made_set(waves(30, 4, 0), 30);
  SetReference images{.name = "r", .id = "1", .images = made_set(waves(24, 4, 0.3), 24), .statistics = {}};
  SetReference statistics{.name = "s", .id = "2", .images = {}, .statistics = {}};
  statistics.statistics.features = fit_gaussian(images.images->vectors);
  CHECK(usual_set_metrics(samples, images) == std::vector<std::string>{"fid", "kid_all", "precision_recall", "density_coverage"});
  CHECK(usual_set_metrics(samples, statistics) == std::vector<std::string>{"fid"});
  const auto refusal = [&](const SetReference& r, const std::string& name) { return error_of<ConfigError>([&] { measured_set("corner", samples, r, {name}, {}); }); };
  CHECK(has(refusal(images, "kid"), "needs 1000 images in each set, but one has 24"));
  CHECK(has(refusal(images, "is"), "needs the logits"));
  CHECK(has(refusal(images, "sfid"), "needs the spatial features"));
  CHECK(has(refusal(statistics, "precision_recall"), "means and covariances do not suffice"));
  CHECK(has(refusal(images, "fidd"), "there are fid, sfid"));
}

TEST_CASE("numbers of a set equal those of the metrics' own functions") {
  const SeenSet samples = made_set(waves(60, 4, 0), 60);
  const SetReference reference{.name = "r", .id = "1", .images = made_set(waves(50, 4, 0.3), 50), .statistics = {}};
  const Tensor &x = samples.vectors, &y = reference.images->vectors;
  const SetResults r = measured_set("corner", samples, reference, {"fid", "kid_all", "precision_recall", "density_coverage", "fid_infinity"}, {.seed = 7, .halves = 5});
  CHECK(near(named(r, "fd_corner").value, frechet_distance(fit_gaussian(x), fit_gaussian(y)), 1e-9));
  CHECK(named(r, "fd_corner").error == frechet_error(x, FrechetReference(fit_gaussian(y)), 5, 7).deviation);
  CHECK(named(r, "fd_corner").settings == "error: 5 random halves, seed 7");
  CHECK(named(r, "kid_all_corner").value == kernel_distance(x, y));
  const PrecisionRecall pr = precision_recall(y, x, 5, Ball::open), of_inception = precision_recall(y, x, 3);
  CHECK(pr.precision != pr.recall);
  const DensityCoverage dc = density_coverage(y, x, 5);
  CHECK(dc.density != dc.coverage);
  CHECK(named(r, "density_corner").value == dc.density);
  CHECK(named(r, "coverage_corner").value == dc.coverage);
  for (const SetNumber& number : r.numbers) CHECK(number.reference_count == 50);
  CHECK(named(r, "precision_corner").value == pr.precision);
  CHECK(named(r, "recall_corner").value == pr.recall);
  REQUIRE(r.limit.has_value());
  const FrechetReference fitted(fit_gaussian(y));
  CHECK(r.limit->value == frechet_infinity(x, fitted, 7).value);
  CHECK(r.limit->value != frechet_infinity(x, fitted, 2020).value);
  CHECK(named(r, "fd_corner_infinity").value == r.limit->value);
  std::vector<std::string> begun;
  const SetResults i = measured_set("inception", samples, reference, {"fid", "precision_recall"}, {.seed = 1, .halves = 0, .begins = [&](const std::string& name) { begun.push_back(name); }});
  CHECK(named(i, "fid").settings.empty());
  CHECK(begun == std::vector<std::string>{"fid", "precision_recall"});
  CHECK(of_inception.precision != pr.precision);
  CHECK(named(i, "precision").value == of_inception.precision);
  CHECK(named(i, "precision").settings == "k 3, closed balls");
}

TEST_CASE("precision and recall have closed balls in Inception's features, and open ones in others") {
  const auto numbers = [](int first, int last) {             // generated numbers lie on the borders of the balls of real ones
    std::vector<float> out;
    for (int i = first; i <= last; ++i) out.push_back(static_cast<float>(i));
    return made_set(out, std::ssize(out));
  };
  const SeenSet samples = numbers(-6, 15);
  const SetReference reference{.name = "r", .id = "1", .images = numbers(0, 9), .statistics = {}};
  const auto precision = [&](const std::string& network, const std::string& name) {
    return named(measured_set(network, samples, reference, {"precision_recall"}, {}), name).value;
  };
  CHECK(precision("corner", "precision_corner") == 18 / 22.0);           // -4 to 13: the balls of 0 and 9 have radius 5
  CHECK(precision("inception", "precision") == 16 / 22.0);               // -3 to 12: radius 3
}

TEST_CASE("kid of a set is that of subsets of the samples and of the reference, drawn with the seed of the settings") {
  const SeenSet samples = made_set(waves(1100, 2, 0), 1100);
  const SetReference reference{.name = "r", .id = "1", .images = made_set(waves(1050, 2, 0.3), 1050), .statistics = {}};
  const SetNumber kid = named(measured_set("inception", samples, reference, {"kid"}, {.seed = 7}), "kid");
  const Spread wanted = kernel_distance_of_subsets(samples.vectors, reference.images->vectors, {.seed = 7});
  CHECK(kid.value == wanted.mean);
  CHECK(kid.error == wanted.deviation);
  CHECK(kid.settings == "100 subsets of 1000, seed 7; error: deviation over subsets");
  CHECK(kid.reference_count == 1050);
}

TEST_CASE("numbers that few samples give no meaning are left out or refused, and the number of splits is never lowered") {
  const SetReference reference{.name = "r", .id = "1", .images = made_set(waves(50, 4, 0.3), 50), .statistics = {}};
  const auto few = [&](std::int64_t n) { return made_set(waves(n, 4, 0), n); };
  const auto halves = [&](std::int64_t n) { return named(measured_set("corner", few(n), reference, {"fid"}, {.seed = 1, .halves = 5}), "fd_corner"); };
  CHECK(std::isnan(halves(7).error));
  CHECK(halves(7).settings == "standard error not estimated: half of the samples are fewer than the 4 features");
  CHECK(halves(8).error > 0);
  const auto limit = [&](std::int64_t n) { measured_set("corner", few(n), reference, {"fid_infinity"}, {}); };
  CHECK(has(error_of<ConfigError>([&] { limit(49); }), "needs 50 samples or more, so that its smallest subset has more samples than the 4 features, but there are 49"));
  limit(50);
  SeenSet scored = few(9);
  scored.logits = Tensor::from(waves(9, 12, 0), {9, 12});
  CHECK(has(error_of<ConfigError>([&] { measured_set("inception", scored, reference, {"is"}, {}); }), "needs 10 images or more for its 10 splits"));
  scored = few(20), scored.logits = Tensor::from(waves(20, 12, 0), {20, 12});
  const SetNumber is = named(measured_set("inception", scored, reference, {"is"}, {.seed = 3}), "is");
  CHECK(is.settings == "10 splits of 2, permuted with seed 3; error: deviation over 10 splits");
  InceptionSplits splits = InceptionSplits::torch_fidelity();
  CHECK(is.value != inception_score(scored.logits, splits).mean);
  splits.seed = 3;
  CHECK(is.value == inception_score(scored.logits, splits).mean);
  CHECK(named(measured_set("inception", scored, reference, {"is_adm"}, {}), "is_adm").settings == "one split of 20 in the order of the images");
  CHECK(has(limits_of({"is"}, scored, reference).at(0), "Inception Score of 20 samples: published ones are of 50000"));
  CHECK(limits_of({"kid_all"}, scored, reference).empty());
}

TEST_CASE("metrics that need more images are refused by the numbers alone, before features exist") {
  const auto counted = [](std::int64_t n) { return SeenSet{.name = "made", .id = {}, .count = n, .height = 0, .width = 0, .vectors = {}, .spatial = {}, .logits = {}}; };
  const auto refusal = [&](const char* name, std::int64_t n) {
    const SetReference reference{.name = "r", .id = {}, .images = counted(5000), .statistics = {}};
    return error_of<ConfigError>([&] { refuse_too_few({name}, counted(n), reference); });
  };
  CHECK(refusal("kid", 900) == "--metrics kid: it needs 1000 images in each set, but one has 900: use kid_all");
  CHECK(has(refusal("precision_recall", 5), "needs more than 5 images"));
  CHECK(has(refusal("fid", 1), "needs 2 images or more"));
  for (const char* name : {"kid", "sfid", "is", "fid_infinity"}) CHECK_MESSAGE(refusal(name, 1000) == "no error", name);      // the last three depend on the features
}

TEST_CASE("the reference's images are read only for metrics that need them") {
  FeatureStatistics none, stored;
  stored.features = fit_gaussian(Tensor::from(waves(30, 4, 0), {30, 4}));
  CHECK_FALSE(reference_inputs({"is", "is_adm"}, none).images);
  CHECK_FALSE(reference_inputs({"fid", "sfid", "fid_infinity"}, stored).images);
  CHECK(reference_inputs({"fid"}, none).images);
  CHECK_FALSE(reference_inputs({"fid"}, none).spatial);
  CHECK(reference_inputs({"sfid"}, none).spatial);
  CHECK(reference_inputs({"kid_all"}, stored).images);
  CHECK(reference_inputs({}, stored).images);
  CHECK(reference_inputs({}, none).spatial);
}

TEST_CASE("statistics of a file win over its images for Frechet distances") {
  const SeenSet samples = made_set(waves(60, 4, 0), 60);
  SetReference reference{.name = "r", .id = "1", .images = made_set(waves(50, 4, 0.3), 50), .statistics = {}};
  reference.statistics.features = fit_gaussian(samples.vectors);
  const SetResults r = measured_set("inception", samples, reference, {"fid", "kid_all"}, {.seed = 1, .halves = 0});
  CHECK(std::abs(named(r, "fid").value) < 1e-9);
  CHECK(named(r, "kid_all").value == kernel_distance(samples.vectors, reference.images->vectors));
}

TEST_CASE("what keeps numbers from being compared is said") {
  const SeenSet samples = made_set(waves(3, 4, 0), 3);
  SetReference reference{.name = "r", .id = "1", .images = made_set(waves(2, 4, 0.3), 2), .statistics = {}};
  reference.images->height = 9;
  const std::vector<std::string> of_images = limits_of({"fid"}, samples, reference);
  REQUIRE(of_images.size() == 3);
  CHECK(has(of_images[0], "3 samples: Frechet distances of fewer than 4"));
  CHECK(has(of_images[1], "2 images of the reference"));
  CHECK(has(of_images[2], "samples are 8x8 and the reference's images 9x8"));
  CHECK(limits_of({"kid_all"}, samples, reference) == std::vector<std::string>{of_images[2]});     // unbiased for few images
  SetReference statistics{.name = "s.npz", .id = "2", .images = {}, .statistics = {}};
  statistics.statistics.features = fit_gaussian(reference.images->vectors);
  const std::vector<std::string> of_statistics = limits_of({"fid"}, made_set(waves(30, 4, 0), 30), statistics);
  REQUIRE(of_statistics.size() == 2);
  CHECK(has(of_statistics[0], "s.npz names no network or preparation"));
  CHECK(has(of_statistics[1], "has no number of images"));
  statistics.statistics.network = "corner", statistics.statistics.convention = "plain", statistics.statistics.count = 2000;
  CHECK(limits_of({"fid"}, made_set(waves(30, 4, 0), 30), statistics).empty());
  const auto many = [](std::int64_t count) {
    SeenSet set = made_set(waves(5, 4, 0), 5);
    set.count = count;
    return set;
  };
  SetReference published{.name = "r", .id = "1", .images = many(10000), .statistics = {}};
  CHECK(limits_of({"kid_all"}, many(30), published).empty());
  for (const std::int64_t as_published : {10000, 50000}) CHECK(limits_of({"precision_recall"}, many(as_published), published).empty());
  CHECK(limits_of({"density_coverage"}, many(9999), published).size() == 1);
  published.images->count = 50000;
  const auto other_reference = limits_of({"precision_recall"}, many(50000), published);
  REQUIRE(other_reference.size() == 1);
  CHECK(has(other_reference[0], "50000 samples and 50000 images of the reference: precision, recall, density and coverage depend on both numbers"));
}

TEST_CASE("statistics name their weights, and others are refused") {
  const SeenSet set = made_set(waves(30, 4, 0), 30);
  const Features one = Corner().features("corner plain 1"), two = Corner().features("corner plain 2");
  const FeatureStatistics statistics = statistics_of(set, one);
  CHECK(statistics.network == "corner");
  CHECK(statistics.count == 30);
  refuse_other_weights(statistics, one, "a.npz");
  CHECK(has(error_of<FileError>([&] { refuse_other_weights(statistics, two, "a.npz"); }), "a.npz: statistics of corner plain 1, but --features is corner plain 2"));
  refuse_other_weights({}, two, "published.npz");
}

TEST_CASE("two files of statistics give the Frechet distance of their fits, and other features are refused") {
  const SeenSet samples = made_set(waves(30, 4, 0), 30), real = made_set(waves(24, 4, 0.3), 24);
  const Features one = Corner().features("corner plain 1"), two = Corner().features("corner plain 2");
  const FeatureStatistics a = statistics_of(samples, one), b = statistics_of(real, one);
  const double distance = frechet_distance(*a.features, *b.features);
  SetReference reference{.name = "b.npz", .id = "1", .images = {}, .statistics = b};
  const std::vector<SetNumber> numbers = distances_of_statistics("corner", a, "a.npz", reference, {});
  REQUIRE(numbers.size() == 1);
  CHECK(numbers[0].name == "fd_corner");
  CHECK(numbers[0].value == distance);
  CHECK(numbers[0].reference_count == 24);
  const SetReference images{.name = "b", .id = "1", .images = real, .statistics = {}};
  CHECK(near(distances_of_statistics("corner", a, "a.npz", images, {"fid"})[0].value, distance, 1e-12));
  CHECK(has(error_of<ConfigError>([&] { distances_of_statistics("corner", a, "a.npz", reference, {"sfid"}); }), "--metrics sfid: it needs mu_s and sigma_s, which a.npz lacks"));
  CHECK(features_of_statistics(a) == "corner plain 1");
  const auto refusal = [&](const FeatureStatistics& other) { return error_of<FileError>([&] { refuse_unlike_statistics(a, "a.npz", other, "b.npz"); }); };
  CHECK_NOTHROW(refuse_unlike_statistics(a, "a.npz", b, "b.npz"));
  CHECK(refusal(statistics_of(real, two)) == "a.npz has statistics of the features \"corner plain 1\", but b.npz of \"corner plain 2\": compute both with the same features");
  FeatureStatistics foreign = b;
  foreign.fingerprint.clear(), foreign.network = "inception";
  CHECK(has(refusal(foreign), "of the network \"corner\", but b.npz of \"inception\""));
  foreign.network.clear(), foreign.convention.clear();
  CHECK_NOTHROW(refuse_unlike_statistics(a, "a.npz", foreign, "b.npz"));
  foreign.features = fit_gaussian(Tensor::from(waves(24, 3, 0), {24, 3}));
  CHECK(has(refusal(foreign), "of 4 features, but b.npz of 3"));
}

TEST_CASE("pairs are compared by position, and their names must agree") {
  const TempFolder t;
  draw_set(t / "a", 20), draw_set(t / "b", 20);
  Image one = blank_image(small_width, small_height, 3);
  for (std::size_t i = 0; i < one.pixels.size(); ++i) one.pixels[i] = static_cast<std::uint8_t>(level(17, static_cast<std::int64_t>(i)) ^ 1);
  write_png(t / "b/00017.png", one);
  const auto a = open_picture_set((t / "a").string()), b = open_picture_set((t / "b").string());
  const PairResults r = measured_pairs(*a, *b, {});
  const double off_by_one = 20 * std::log10(255.0);                       // every pixel of one pair differs by 1 level; the others are equal: 100 dB
  CHECK(r.numbers.at(0).name == "psnr");
  CHECK(near(r.numbers.at(0).value, (19 * 100 + off_by_one) / 20, 1e-12));
  CHECK(near(r.numbers.at(0).error, (100 - off_by_one) / 20, 1e-9));      // one of n differs by d: d / n
  CHECK(r.numbers.at(1).value < 1);
  CHECK(r.numbers.at(1).value > 0.99);
  CHECK(r.samples_id != r.reference_id);
  CHECK(measured_pairs(*a, *b, {.limit = 17}).numbers.at(0).value == 100);
  std::int64_t pair = 0;
  const auto broken = [&](const Tensor& x, const Tensor&) {
    std::vector<double> out;
    for (std::int64_t i = 0; i < x.dim(0); ++i) out.push_back(pair++ == 3 ? std::nan("") : 0.5);
    return out;
  };
  CHECK(has(error_of<Error>([&] { measured_pairs(*a, *b, {.lpips = broken}); }), "lpips of pair 3 is nan"));
  fs::rename(t / "b/00003.png", t / "b/00003x.png");
  CHECK(has(error_of<ConfigError>([&] { measured_pairs(*a, *open_picture_set((t / "b").string()), {}); }), "00003.png, but that of"));
  fs::create_directories(t / "c");
  for (const char* name : {"9.png", "10.png"}) fs::copy_file(t / "a/00000.png", t / "c" / name);
  write_npy<std::uint8_t>(t / "c.npy", {2, small_height, small_width, 3}, std::vector<std::uint8_t>(2 * small_height * small_width * 3));
  const auto with_rows = [&] { measured_pairs(*open_picture_set((t / "c").string()), *open_picture_set((t / "c.npy").string()), {}); };
  CHECK(has(error_of<ConfigError>(with_rows), "10.png comes before 9.png"));
  fs::rename(t / "c/9.png", t / "c/img_9.png"), fs::rename(t / "c/10.png", t / "c/img_10.png");
  CHECK(has(error_of<ConfigError>(with_rows), "img_10.png comes before img_9.png"));
  fs::rename(t / "c/img_9.png", t / "c/img_09.png");
  CHECK_NOTHROW(with_rows());
  fs::rename(t / "c/img_10.png", t / "c/b10.png"), fs::rename(t / "c/img_09.png", t / "c/c9.png");      // numbers of other names have no order
  CHECK_NOTHROW(with_rows());
  fs::remove(t / "b/00019.png");
  CHECK(has(error_of<ConfigError>([&] { measured_pairs(*a, *open_picture_set((t / "b").string()), {}); }), "equally many images"));
  CHECK(measured_pairs(*a, *open_picture_set((t / "b").string()), {.limit = 3}).numbers.at(0).value == 100);      // only the first ones are compared
}

TEST_CASE("rows are added to the table, and another table is refused") {
  const TempFolder t;
  const SetScore score{.date = "today", .number = {"fid", 1.25, 0.5, "error: 20, \"halves\""}, .samples = "a,b", .samples_id = "1", .samples_count = 5, .reference = "r", .reference_id = "2",
                       .reference_count = 0, .features = "f"};
  add_set_scores(t.path(), {score});
  add_set_scores(t.path(), {score, score});
  const std::string text = read_file(t / "pictures.csv");
  CHECK(std::count(text.begin(), text.end(), '\n') == 4);
  CHECK(has(text, "fid,1.25,0.5,\"error: 20, \"\"halves\"\"\",\"a,b\",5,1,r,,2,f,today"));
  std::ofstream(t / "pictures.csv") << text.substr(0, text.size() - 1);    // the last line of a file may lack its end
  add_set_scores(t.path(), {score});
  CHECK(parse_csv(read_file(t / "pictures.csv")).size() == 5);
  std::ofstream(t / "pictures.csv") << "name,other\n1,2\n";
  CHECK(has(error_of<FileError>([&] { add_set_scores(t.path(), {score}); }), "not a table of this program's columns"));
}
