// `evaluate pictures` as a user runs it, with FID's network at full size and weights that are a function of their names.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "apps/cli/program.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/metrics/image_similarity.h"
#include "flowmap/metrics/statistics_file.h"
#include "flowmap/training/picture_sets/seen_set.h"
#include "flowmap/training/published_features.h"
#include "nn/loaded.h"
#include "nn/models/inception_file.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/child.h"
#include "tests/support/inception_stand_in.h"
#include "tests/support/lpips_stand_in.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

constexpr int side = 24;

// Two folders of images, the second also as an array, and the weights: made once.
struct Files {
  TempFolder folder;
  fs::path samples = folder / "samples", real = folder / "real", weights = folder / "inception.safetensors", array = folder / "real.npz";
  Files() {
    draw(samples, 0, 4), draw(real, 10, 3);
    save_safetensors(weights, inception_stand_in());
    std::vector<std::uint8_t> all;
    for (int m = 10; m < 13; ++m) {
      const auto bytes = hash_image(m, side, side);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    NpzWriter npz(array);
    npz.add<std::uint8_t>("arr_0", {3, side, side, 3}, all);
    npz.finish();
  }
  static void draw(const fs::path& to, int first, int count, int edge = side) {
    fs::create_directories(to);
    for (int m = 0; m < count; ++m) write_png(to / (std::to_string(m) + ".png"), Image{edge, edge, 3, hash_image(first + m, edge, edge)});
  }
  std::string features() const { return "inception:" + weights.string(); }
};

const Files& files() {
  static const Files made;
  return made;
}

Result evaluate(const Arguments& arguments) { return run_program_file(own_folder().parent_path() / "apps/evaluate", arguments); }

// Column `column` of the row of this metric in DIR/pictures.csv.
std::string cell(const fs::path& out, const std::string& metric, const std::string& column) {
  const CsvRows rows = parse_csv(read_file(out / "pictures.csv"));
  const auto at = static_cast<std::size_t>(std::find(rows[0].begin(), rows[0].end(), column) - rows[0].begin());
  for (const auto& row : rows)
    if (row[0] == metric) return row.at(at);
  return "no row of " + metric;
}

// Fingerprint of the first images of a set.
std::string id_of(const fs::path& samples, std::int64_t count) {
  const auto set = open_picture_set(samples.string());
  return id_of_contents(*set, count, rgb_images(*set, 0, count).contents);
}

// The images as u8 (count, 3, side, side).
Tensor images_of(int first, int count) {
  std::vector<std::uint8_t> planes;
  for (int m = first; m < first + count; ++m) {
    const Image image{side, side, 3, hash_image(m, side, side)};
    std::vector<std::uint8_t> one(image.pixels.size());
    planes_from_image(image, one.data());
    planes.insert(planes.end(), one.begin(), one.end());
  }
  return Tensor::from(planes, {count, 3, side, side});
}

GaussianFit fit_of(int first, int count, InceptionInput input) {
  const auto net = std::make_shared<const Inception>(inception_from(inception_stand_in()));
  return fit_gaussian(inception_features(net, input).see(images_of(first, count).to(DType::f32) / 255.0).vectors);
}

void fails_with(const Result& result, int code, const std::string& message) {
  CHECK_MESSAGE(result.code == code, result.err);
  CHECK_MESSAGE(has(result.err, message), result.err);
}

}  // namespace

TEST_CASE("the distance of two folders is that of their features, whatever form the reference has, and says what it is of") {
  const TempFolder t;
  const Result result = evaluate({"pictures", "--samples", files().samples.string(), "--reference", files().real.string(), "--features", files().features(), "--halves", "3", "--out",
                                  (t / "out").string(), "--write-statistics", (t / "real.npz").string()});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  const double fid = std::stod(cell(t / "out", "fid", "value"));
  const GaussianFit samples = fit_of(0, 4, InceptionInput::tf1), real = fit_of(10, 3, InceptionInput::tf1);
  CHECK(near(fid, frechet_distance(samples, real), 1e-7));
  CHECK(cell(t / "out", "fid", "settings") == "standard error not estimated: half of the samples are fewer than the 2048 features");
  CHECK(cell(t / "out", "fid", "error").empty());
  CHECK(cell(t / "out", "fid", "samples_count") == "4");
  CHECK(cell(t / "out", "fid", "reference_count") == "3");
  CHECK(cell(t / "out", "fid", "samples_id") == id_of(files().samples, 4));
  CHECK(cell(t / "out", "fid", "reference_id") == id_of(files().real, 3));
  CHECK(has(cell(t / "out", "fid", "features"), "inception tf1 "));
  CHECK(has(result.err, "4 samples: Frechet distances of fewer than 2048"));
  for (const char* metric : {"sfid", "is_adm", "kid_all"}) CHECK(std::isfinite(std::stod(cell(t / "out", metric, "value"))));
  CHECK(has(read_file(t / "out/report.html"), "<table"));
  // The same reference as an array, and as statistics.
  const Result array = evaluate({"--samples", files().samples.string(), "--reference=" + files().array.string(), "--features", files().features(), "--metrics", "fid", "--halves", "0", "--out",
                                 (t / "array").string()});
  REQUIRE_MESSAGE(array.code == 0, array.err);
  CHECK(near(std::stod(cell(t / "array", "fid", "value")), fid, 1e-12));
  CHECK(read_statistics(t / "real.npz").count == 3);
  const Result statistics = evaluate({"pictures", "--samples", files().samples.string(), "--reference", (t / "real.npz").string(), "--features", files().features(), "--metrics", "fid,sfid",
                                      "--out", (t / "out").string()});
  REQUIRE_MESSAGE(statistics.code == 0, statistics.err);
  const CsvRows rows = parse_csv(read_file(t / "out/pictures.csv"));
  CHECK(rows[rows.size() - 2][0] == "fid");
  CHECK(near(std::stod(rows[rows.size() - 2][1]), fid, 1e-9));
  CHECK(near(std::stod(rows.back()[1]), std::stod(cell(t / "out", "sfid", "value")), 1e-9));
  FeatureStatistics stored = read_statistics(t / "real.npz");
  const GaussianFit &of_features = *stored.features, &of_spatial = *stored.spatial;
  CHECK(rows.back()[9] == checksum(NamedTensors{{"mu", of_features.mean}, {"sigma", of_features.covariance}, {"mu_s", of_spatial.mean}, {"sigma_s", of_spatial.covariance}}));
  // Samples as statistics need no network, and the reference may then be statistics or images.
  const auto of_statistics = [&](const Arguments& more) {
    return evaluate(Arguments{"pictures", "--samples", (t / "samples.npz").string(), "--out", (t / "out").string()} + more);
  };
  REQUIRE(evaluate({"pictures", "--reference", files().samples.string(), "--features", files().features(), "--write-statistics", (t / "samples.npz").string(), "--out", (t / "out").string()}).code == 0);
  for (const Arguments& reference : {Arguments{"--reference", (t / "real.npz").string()}, {"--reference", files().real.string(), "--features", files().features()}}) {
    const Result both = of_statistics(reference);
    REQUIRE_MESSAGE(both.code == 0, both.err);
    const CsvRows now = parse_csv(read_file(t / "out/pictures.csv"));
    const std::vector<std::string>& row = now[now.size() - 2];
    CHECK(row[0] == "fid");
    CHECK(near(std::stod(row[1]), fid, 1e-9));
    CHECK(row[3] == "of means and covariances alone");
    CHECK((row[5] == "4" && row[8] == "3"));
    CHECK(has(row[10], "inception tf1 "));
    CHECK(near(std::stod(now.back()[1]), std::stod(cell(t / "out", "sfid", "value")), 1e-9));
    CHECK(has(both.err, "4 samples: Frechet distances of fewer than 2048"));
  }
  // Files with images and statistics, as guided-diffusion's references are: without a network the statistics are compared.
  for (const char* name : {"samples", "real"}) {
    const FeatureStatistics fits = read_statistics(t / (std::string(name) + ".npz"));
    NpzWriter both(t / (std::string(name) + "-both.npz"));
    both.add<std::uint8_t>("arr_0", {1, side, side, 3}, hash_image(0, side, side));
    for (const auto& [key, value] : {std::pair{"mu", fits.features->mean}, {"sigma", fits.features->covariance}}) {
      const std::vector<double> values = value.to_vector<double>();
      both.add<double>(key, {value.shape().begin(), value.shape().end()}, values);
    }
    both.finish();
  }
  const Result both = evaluate({"pictures", "--samples", (t / "samples-both.npz").string(), "--reference", (t / "real-both.npz").string(), "--out", (t / "both").string()});
  REQUIRE_MESSAGE(both.code == 0, both.err);
  CHECK(near(std::stod(cell(t / "both", "fid", "value")), fid, 1e-9));
  CHECK(has(both.err, "samples-both.npz names no network or preparation for its statistics"));
  fails_with(of_statistics({"--reference", (t / "real.npz").string(), "--metrics", "kid"}), exit_code::usage, "--metrics kid: it needs the images of the samples");
  fails_with(of_statistics({"--reference", files().real.string()}), exit_code::usage, "--features is missing");
  fails_with(of_statistics({"--reference", (t / "real.npz").string(), "--limit", "3"}), exit_code::usage, "--limit 3: the statistics of");
  // Statistics of other weights are refused, and of another preparation by name.
  stored.fingerprint += "0";
  write_statistics(t / "other.npz", stored);
  fails_with(evaluate({"pictures", "--samples", files().samples.string(), "--reference", (t / "other.npz").string(), "--features", files().features(), "--out",
                       (t / "out").string()}),
             exit_code::unreadable, "other.npz: statistics of " + cell(t / "out", "fid", "features") + "0, but --features is inception tf1 ");
  fails_with(evaluate({"pictures", "--samples", files().samples.string(), "--reference", (t / "real.npz").string(), "--features", files().features(), "--preparation", "clean", "--out",
                    (t / "out").string()}),
          exit_code::unreadable, "the convention of these statistics is \"tf1\", not \"clean\"");
  fails_with(evaluate({"pictures", "--samples", files().samples.string(), "--reference", (t / "real.npz").string(), "--features", files().features(), "--write-statistics", (t / "b.npz").string(),
                       "--out", (t / "out").string()}),
             exit_code::usage, "already has statistics");
  CHECK(cell(t / "out", "is_adm", "reference_count").empty());
  CHECK(cell(t / "out", "is_adm", "reference").empty());
  // The page names the reference though the last number, an Inception Score, compares with nothing.
  const Result all = evaluate({"pictures", "--samples", files().samples.string(), "--reference", (t / "real.npz").string(), "--features", files().features(), "--out", (t / "out").string()});
  REQUIRE_MESSAGE(all.code == 0, all.err);
  CHECK(has(all.err, "inception tf1 "));
  const std::string page = read_file(t / "out/report.html");
  CHECK(has(page, files().samples.string() + " against " + (t / "real.npz").string()));
  CHECK(has(page, "3 images"));
}

TEST_CASE("--limit takes the first images, and --seed decides the permutation of the Inception Score") {
  const TempFolder t;
  Files::draw(t / "twelve", 0, 12);
  const auto score = [&](const std::string& seed) {
    const Result result = evaluate({"pictures", "--samples", (t / "twelve").string(), "--features", files().features(), "--metrics", "is", "--limit", "11", "--seed",
                                    seed, "--out", (t / seed).string()});
    REQUIRE_MESSAGE(result.code == 0, result.err);
    CHECK(cell(t / seed, "is", "samples_count") == "11");
    CHECK(cell(t / seed, "is", "samples_id") == id_of(t / "twelve", 11));
    return cell(t / seed, "is", "value");
  };
  CHECK(score("3") != score("4"));                         // the last of 10 splits has two images
}

TEST_CASE("a killed evaluation loses no finished features, and the repeated one gives the numbers of one without interruption") {
  const TempFolder t;
  const fs::path out = t / "killed";
  const auto arguments = [&](const fs::path& to) {
    return Arguments{"pictures", "--samples", files().samples.string(), "--reference", files().real.string(), "--features", files().features(), "--metrics", "fid,is_adm", "--out", to.string()};
  };
  const auto finished = [&] {
    std::vector<fs::path> list;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(out / "features", none))
      if (entry.path().extension() == ".safetensors") list.push_back(entry.path());
    return list;
  };
  const Result killed = run_program_file(own_folder().parent_path() / "apps/evaluate", arguments(out), [&](pid_t child) {
    CHECK(wait_until([&] { return !finished().empty(); }));
    kill(child, SIGKILL);
  });
  REQUIRE(killed.code == 1000 + SIGKILL);
  CHECK(parse_csv(read_file(out / "pictures.csv")).size() <= 1);           // no row but the names of the columns
  const std::vector<fs::path> kept = finished();
  std::vector<fs::file_time_type> written;
  for (const fs::path& file : kept) written.push_back(fs::last_write_time(file));
  const Result again = evaluate(arguments(out)), whole = evaluate(arguments(t / "whole"));
  REQUIRE_MESSAGE(again.code == 0, again.err);
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(fs::last_write_time(kept[i]) == written[i]);
  CHECK(finished().size() == 2);
  for (const char* metric : {"fid", "is_adm"}) CHECK(cell(out, metric, "value") == cell(t / "whole", metric, "value"));
}

TEST_CASE("another preparation gives another number with its name") {
  const TempFolder t;
  const Result result = evaluate({"pictures", "--samples", files().samples.string(), "--reference", files().real.string(), "--features", files().features(), "--preparation", "half-pixel",
                                  "--metrics", "fid", "--halves", "0", "--out", (t / "out").string()});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  CHECK(near(std::stod(cell(t / "out", "fid", "value")), frechet_distance(fit_of(0, 4, InceptionInput::half_pixel), fit_of(10, 3, InceptionInput::half_pixel)), 1e-7));
  CHECK(has(cell(t / "out", "fid", "features"), "inception half-pixel "));
}

TEST_CASE("pairs need no network") {
  const TempFolder t;
  Files::draw(t / "near", 11, 3);
  const Result result = evaluate({"pictures", "--samples", (t / "near").string(), "--reference", files().real.string(), "--pairs", "--out", (t / "out").string()});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  double sum = 0;
  for (int m = 0; m < 3; ++m) {
    double squares = 0;
    const auto a = hash_image(11 + m, side, side), b = hash_image(10 + m, side, side);
    for (std::size_t i = 0; i < a.size(); ++i) squares += std::pow((a[i] - b[i]) / 255.0, 2);
    sum -= 10 * std::log10(squares / static_cast<double>(a.size())) / 3;
  }
  CHECK(near(std::stod(cell(t / "out", "psnr", "value")), sum, 1e-9));
  CHECK(cell(t / "out", "ssim", "samples_id").size() == 16);
  const auto mean_ssim = [](SsimBorder border) {
    double mean = 0;
    for (const double one : ssim(images_of(11, 3), images_of(10, 3), border)) mean += one / 3;
    return mean;
  };
  CHECK(near(std::stod(cell(t / "out", "ssim", "value")), mean_ssim(SsimBorder::full), 1e-12));
  const Result cropped = evaluate({"pictures", "--samples", (t / "near").string(), "--reference", files().real.string(), "--pairs", "--ssim-border", "cropped", "--out", (t / "cropped").string()});
  REQUIRE_MESSAGE(cropped.code == 0, cropped.err);
  CHECK(near(std::stod(cell(t / "cropped", "ssim", "value")), mean_ssim(SsimBorder::cropped), 1e-12));
  CHECK(has(cell(t / "cropped", "ssim", "settings"), "without a border of 5 pixels"));
}

TEST_CASE("LPIPS of pairs is the mean of the network's distances, and its row names the network") {
  constexpr int edge = 37;
  const TempFolder t;
  Files::draw(t / "a", 0, 3, edge), Files::draw(t / "b", 5, 3, edge);
  const Lpips model = hash_filled_lpips("alex", DType::f32);
  save_safetensors(t / "alex.safetensors", state_dict(model));
  const Result result = evaluate({"pictures", "--samples", (t / "a").string(), "--reference", (t / "b").string(), "--pairs", "--lpips", "alex:" + (t / "alex.safetensors").string(), "--out",
                                  (t / "out").string()});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  double sum = 0;
  for (int m = 0; m < 3; ++m)
    sum += model(image_tensor(hash_image(m, edge, edge), edge, edge, 1 / 127.5, -1, DType::f32), image_tensor(hash_image(5 + m, edge, edge), edge, edge, 1 / 127.5, -1, DType::f32)).value().item() / 3;
  CHECK(near(std::stod(cell(t / "out", "lpips", "value")), sum, 1e-5));
  CHECK(cell(t / "out", "lpips", "features") == "lpips alex " + checksum(state_dict(model)));
  CHECK(cell(t / "out", "psnr", "features").empty());
}

TEST_CASE("bad input is one line that names it") {
  const TempFolder t;
  const std::string samples = files().samples.string(), real = files().real.string(), network = files().features(), out = (t / "out").string();
  const auto run = [&](const Arguments& more) { return evaluate(Arguments{"pictures", "--out", out} + more); };
  const auto line = [](const Result& result, int code, const std::string& message) {
    fails_with(result, code, message);
    CHECK_MESSAGE(has(result.err, "error: "), result.err);
  };
  line(run({}), exit_code::usage, "needs --samples DIR|FILE and --reference");
  line(run({"--samples", samples}), exit_code::usage, "--reference DIR|FILE is missing");
  line(run({"--samples", samples, "--reference", real}), exit_code::usage, "--features is missing");
  line(run({"--samples", samples, "--reference", real, "--features", "inception"}), exit_code::usage, "must be inception:FILE");
  line(run({"--samples", samples, "--reference", real, "--features", "inception:nothing.pth"}), exit_code::unreadable, "nothing.pth");
  line(run({"--samples", samples, "--reference", real, "--features", network, "--metrics", "fud"}), exit_code::usage, "--metrics fud: there are fid, sfid");
  line(run({"--samples", samples, "--reference", real, "--features", network, "--metrics", "kid"}), exit_code::usage, "needs 1000 images");
  line(run({"--samples", samples, "--reference", real, "--features", network, "--preparation", "tf2"}), exit_code::usage, "tf2");
  line(run({"--samples", samples, "--reference", real, "--pairs", "--metrics", "fid"}), exit_code::usage, "need --features");
  line(run({"--samples", samples, "--reference", real, "--features", network, "--halves", "1"}), exit_code::usage, "--halves 1");
  line(run({"--samples", samples, "--reference", real, "--lpips", "vgg:a,b", "--features", network}), exit_code::usage, "add --pairs");
  line(run({"--samples", samples, "--reference", real, "--ssim-border", "cropped", "--features", network}), exit_code::usage, "--ssim-border cropped is for pairs");
  line(run({"--samples", samples, "--reference", real, "--pairs", "--lpips", "squeeze:a,b"}), exit_code::usage, "vgg:TRUNK,HEADS or alex:TRUNK,HEADS");
  line(run({"--samples", samples, "--reference", real, "--pairs", "--preparation", "tf1"}), exit_code::usage, "--preparation tf1 is for images that --features sees");
  line(run({"--samples", samples, "--reference", real, "--pairs"}), exit_code::usage, "pairs need equally many images");
  fs::create_directories(t / "one"), fs::create_directories(t / "empty");
  fs::copy_file(files().samples / "0.png", t / "one/0.png");
  line(run({"--samples", (t / "empty").string(), "--reference", real, "--features", network}), exit_code::unreadable, "no images");
  line(run({"--samples", (t / "one").string(), "--reference", real, "--features", network, "--metrics", "fid"}), exit_code::usage, "needs 2 images");
  std::ofstream(t / "one/1.png") << "no image";
  line(run({"--samples", (t / "one").string(), "--reference", real, "--features", network, "--metrics", "fid"}), exit_code::unreadable, "1.png");
}
