// Files of feature statistics: those of other programs (tests/golden/evaluation_metrics.py made tests/golden/statistics), our own, and damaged ones.
#include "flowmap/metrics/statistics_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tests/support/error_of.h"
#include "tests/support/feature_tables.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

std::filesystem::path foreign(const std::string& name) { return std::filesystem::path(FM_TESTS_FOLDER) / "golden/statistics" / name; }

void check_fit(const std::optional<GaussianFit>& found, const GaussianFit& wanted, double tolerance) {
  REQUIRE(found);
  CHECK(std::sqrt(sum_squares(found->mean - wanted.mean)) <= tolerance);
  CHECK(std::sqrt(sum_squares(found->covariance - wanted.covariance)) <= tolerance);
  CHECK(found->covariance.dtype() == DType::f64);
}

GaussianFit x_fit() { return fit_gaussian(x_table(40, 5)); }
GaussianFit y_fit() { return fit_gaussian(y_table(30, 3)); }

struct Arrays {
  std::vector<double> mu{1, 2}, sigma{2, 0.5, 0.5, 1};
  std::vector<std::int64_t> mu_shape{2}, sigma_shape{2, 2};
};

// The error of reading a file with these arrays.
std::string error_of_arrays(const Arrays& arrays, const std::function<void(NpzWriter&)>& more = {}) {
  const TempFolder folder;
  NpzWriter npz(folder / "a.npz");
  npz.add("mu", arrays.mu_shape, arrays.mu);
  npz.add("sigma", arrays.sigma_shape, arrays.sigma);
  if (more) more(npz);
  npz.finish();
  const std::string message = error_of<FileError>([&] { read_statistics(folder / "a.npz"); });
  CHECK(!has(message, "\n"));
  if (message != "no error") CHECK(has(message, (folder / "a.npz").string()));
  return message;
}

}  // namespace

TEST_CASE("files of guided-diffusion, pytorch-fid and MeanFlow are read, and a missing count is unknown") {
  const FeatureStatistics adm = read_statistics(foreign("guided_diffusion.npz"));
  check_fit(adm.features, x_fit(), 1e-6);
  check_fit(adm.spatial, y_fit(), 1e-6);
  CHECK(adm.has_images);
  CHECK(!adm.count);
  CHECK((adm.network.empty() && adm.convention.empty() && adm.fingerprint.empty()));
  const FeatureStatistics fid = read_statistics(foreign("pytorch_fid.npz"));
  check_fit(fid.features, x_fit(), 1e-14);
  CHECK((!fid.spatial && !fid.has_images && !fid.count));
  CHECK(fid.features->count == 0);
  check_fit(read_statistics(foreign("mean_flow.npz")).features, x_fit(), 1e-6);
  const FeatureStatistics counted = read_statistics(foreign("counted.npz"));
  CHECK(counted.count == 40);
  CHECK(counted.features->count == 40);
  CHECK(counted.network == "inception");
}

TEST_CASE("statistics are written in f64 and read again with the same bits, without leftovers") {
  const TempFolder folder;
  const std::filesystem::path file = folder / "own.npz";
  FeatureStatistics all{.features = x_fit(), .spatial = y_fit(), .count = 40, .network = "inception-2015-12-05", .convention = "tf1", .fingerprint = "5a:\xc3\xa9"};
  all.spatial->count = 40;
  write_statistics(file, all);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  const FeatureStatistics found = read_statistics(file);
  check_fit(found.features, x_fit(), 0);
  check_fit(found.spatial, y_fit(), 0);
  CHECK(found.count == 40);
  CHECK(found.network == all.network);
  CHECK(found.convention == "tf1");
  CHECK(found.fingerprint == all.fingerprint);
  CHECK(!found.has_images);
  const NpzReader npz(file);      // as other programs see it
  CHECK(npz.names() == std::vector<std::string>{"mu", "sigma", "mu_s", "sigma_s", "count", "network", "convention", "fingerprint"});
  CHECK(npz.read("mu").shape() == Shape{5});
  CHECK(npz.read("sigma").dtype() == DType::f64);
  CHECK(npz.read("count").shape() == Shape{});
  CHECK(npz.read("mu_s").shape() == Shape{3});
}

TEST_CASE("the count of the fit is written if there is no other; an unknown count stays unknown") {
  const TempFolder folder;
  write_statistics(folder / "a.npz", {.features = x_fit()});
  CHECK(read_statistics(folder / "a.npz").count == 40);
  GaussianFit unknown = x_fit();
  unknown.count = 0;
  write_statistics(folder / "a.npz", {.features = unknown});       // replaces the file
  CHECK(!read_statistics(folder / "a.npz").count);
  CHECK(!NpzReader(folder / "a.npz").has("count"));
  CHECK(!NpzReader(folder / "a.npz").has("network"));
  write_statistics(folder / "a.npz", {.features = unknown, .count = 7});
  CHECK(read_statistics(folder / "a.npz").count == 7);
  CHECK(has(error_of([&] { write_statistics(folder / "b.npz", {.features = x_fit(), .count = 41}); }), "the count is 41, but the fit is of 40 samples"));
  CHECK(has(error_of([&] { write_statistics(folder / "b.npz", {}); }), "no mean and covariance were given"));
  GaussianFit bad = x_fit();
  bad.covariance = x_fit().covariance * -1.0;
  CHECK(has(error_of([&] { write_statistics(folder / "b.npz", {.features = bad}); }), "write_statistics: mu, sigma: the variance of feature 0 is negative"));
  CHECK(!std::filesystem::exists(folder / "b.npz"));
}

TEST_CASE("statistics of another network or convention are refused by name, unknown ones are accepted") {
  const TempFolder folder;
  write_statistics(folder / "a.npz", {.features = x_fit(), .network = "inception", .convention = "half-pixel"});
  CHECK(read_statistics_of(folder / "a.npz", "inception", "half-pixel").count == 40);
  CHECK(has(error_of<FileError>([&] { read_statistics_of(folder / "a.npz", "inception", "tf1"); }), "the convention of these statistics is \"half-pixel\", not \"tf1\""));
  CHECK(has(error_of<FileError>([&] { read_statistics_of(folder / "a.npz", "dinov2", "half-pixel"); }), "the network of these statistics is \"inception\", not \"dinov2\""));
  CHECK(read_statistics_of(foreign("guided_diffusion.npz"), "inception", "tf1").features);
  CHECK(read_statistics(foreign("images.npz")).has_images);
  CHECK(!read_statistics(foreign("images.npz")).features);
  CHECK(has(error_of<FileError>([] { read_statistics_of(foreign("images.npz"), "inception", "tf1"); }), "it has images (arr_0), but no statistics mu and sigma"));
}

TEST_CASE("impossible statistics are refused with the fault") {
  CHECK(error_of_arrays({}) == "no error");
  CHECK(has(error_of_arrays({.mu = {1, NAN}}), "mu, sigma: the mean is not finite at feature 1"));
  CHECK(has(error_of_arrays({.sigma = {2, 0, 0, INFINITY}}), "the covariance is not finite in row 1"));
  CHECK(has(error_of_arrays({.sigma = {2, 0, 0, -1e-9}}), "the variance of feature 1 is negative"));
  CHECK(has(error_of_arrays({.sigma = {2, 0.5, 0.50003, 1}}), "the covariance is not symmetric at row 1, column 0"));
  CHECK(error_of_arrays({.sigma = {2, 0.5, 0.50001, 1}}) == "no error");
  CHECK(has(error_of_arrays({.mu = {1, 2, 3}, .mu_shape = {3}}), "mean [3] and covariance [2, 2] are not (D) and (D, D)"));
  CHECK(has(error_of_arrays({.mu_shape = {2, 1}}), "are not (D) and (D, D)"));
  CHECK(has(error_of_arrays({.sigma_shape = {4}}), "are not (D) and (D, D)"));
  CHECK(has(error_of_arrays({.mu = {}, .sigma = {}, .mu_shape = {0}, .sigma_shape = {0, 0}}), "are not (D) and (D, D)"));
  CHECK(has(error_of_arrays({}, [](NpzWriter& npz) { npz.add<double>("mu_s", {1}, std::vector<double>{1}); }), "no array \"sigma_s\""));
  for (const std::int64_t count : {-3, 0, 1})
    CHECK(has(error_of_arrays({}, [&](NpzWriter& npz) { npz.add<std::int64_t>("count", {}, std::vector<std::int64_t>{count}); }), "but a covariance needs 2 samples or more"));
  CHECK(has(error_of_arrays({}, [](NpzWriter& npz) { npz.add<double>("count", {}, std::vector<double>{50}); }), "count is not one integer"));
  CHECK(has(error_of_arrays({}, [](NpzWriter& npz) { npz.add<std::int64_t>("count", {2}, std::vector<std::int64_t>{50, 50}); }), "count is not one integer"));
  CHECK(has(error_of_arrays({}, [](NpzWriter& npz) { npz.add<double>("network", {1}, std::vector<double>{50}); }), "network is not a text of u8"));
}

TEST_CASE("small differences of the two halves of a covariance are averaged") {
  const TempFolder folder;
  NpzWriter npz(folder / "a.npz");
  npz.add<float>("mu", {2}, std::vector<float>{1, 2});
  npz.add<double>("sigma", {2, 2}, std::vector<double>{2, 0.5, 0.500002, 1});
  npz.finish();
  const std::vector<double> s = read_statistics(folder / "a.npz").features->covariance.to_vector<double>();
  CHECK(s[1] == s[2]);
  CHECK(near(s[1], 0.500001, 1e-12));
}

TEST_CASE("files of other kinds and damaged files are refused") {
  const TempFolder folder;
  const auto error_of_bytes = [&](const std::string& bytes) {
    write_atomically(folder / "a.npz", bytes);
    return error_of<FileError>([&] { read_statistics(folder / "a.npz"); });
  };
  CHECK(has(error_of_bytes(std::string("\x80\x04\x95", 3) + "}."), "a pickle, which is not executed here: convert it in Python"));
  CHECK(error_of_bytes("") != "no error");
  CHECK(error_of_bytes("no statistics at all") != "no error");
  CHECK_THROWS_AS(read_statistics(folder / "missing.npz"), FileError);
  const std::string whole_file = read_file(foreign("pytorch_fid.npz"));
  CHECK(error_of_bytes(whole_file) == "no error");
  for (const std::size_t length : {whole_file.size() - 1, whole_file.size() / 2, std::size_t{40}}) CHECK(error_of_bytes(whole_file.substr(0, length)) != "no error");
  std::string flipped = read_file(foreign("counted.npz"));
  const std::size_t values = flipped.find("sigma.npy") + 200;
  flipped[values] = static_cast<char>(flipped[values] ^ 1);
  CHECK(error_of_bytes(flipped) != "no error");
  NpzWriter npz(folder / "b.npz");
  npz.add<double>("other", {1}, std::vector<double>{1});
  npz.finish();
  CHECK(has(error_of<FileError>([&] { read_statistics(folder / "b.npz"); }), "no array \"mu\"; it has other"));
  NpzWriter whole_numbers(folder / "c.npz");
  whole_numbers.add<std::int64_t>("mu", {1}, std::vector<std::int64_t>{1});
  whole_numbers.add<double>("sigma", {1, 1}, std::vector<double>{1});
  whole_numbers.finish();
  CHECK(has(error_of<FileError>([&] { read_statistics(folder / "c.npz"); }), "mu has elements of i64, not f32 or f64"));
}
