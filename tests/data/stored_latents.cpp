// Latents that other programs stored as mean and deviation, or as mean and log-variance.
#include "data/stored_latents.h"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "tensor/error.h"
#include "tensor/io/npy.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

// Two channels of mean and two of the second half, 1x2 each: the mean of image i is i + 0.25 c.
std::vector<float> latent(int i, float spread) {
  std::vector<float> out;
  for (int c = 0; c < 4; ++c)
    for (int x = 0; x < 2; ++x) out.push_back(c < 2 ? static_cast<float>(i) + 0.25f * static_cast<float>(c) : spread + 0.5f * static_cast<float>(x));
  return out;
}

void write_folder(const fs::path& folder, float spread) {
  fs::create_directories(folder / "00000");
  for (int i = 0; i < 3; ++i)
    write_npy<float>(folder / fmt::format("00000/img-mean-std-{:08d}.npy", i), {4, 1, 2}, latent(i, spread));
  std::ofstream(folder / "dataset.json") << R"({"labels": [["00000/img-mean-std-00000002.npy", 7], ["00000/img-mean-std-00000000.npy", 5], ["00000/img-mean-std-00000001.npy", 6]]})";
}

std::vector<float> read(const StoredLatents& from, std::int64_t i, SecondHalf second) {
  std::vector<float> out(static_cast<std::size_t>(from.shape().numel()));
  from.read(i, second, out.data());
  return out;
}

}  // namespace

TEST_CASE("a folder of .npy files with dataset.json gives mean, deviation and labels in the order of the names") {
  const TempFolder folder;
  write_folder(folder.path(), 0.5f);
  const auto stored = open_stored_latents(folder.path());
  CHECK(stored->shape() == Shape{4, 1, 2});
  CHECK(stored->labels() == std::vector<std::int64_t>{5, 6, 7});
  CHECK(read(*stored, 2, SecondHalf::deviation) == latent(2, 0.5f));
  const std::vector<float> from_log = read(*stored, 1, SecondHalf::log_variance);
  CHECK(from_log[0] == 1.0f);
  CHECK(near(from_log[4], std::exp(0.25), 1e-6));
  CHECK(near(from_log[5], std::exp(0.5), 1e-6));
}

TEST_CASE("log-variances are clamped as the autoencoder clamps them; given as deviations they are refused with the remedy") {
  const TempFolder folder;
  write_folder(folder.path(), -100);
  const auto stored = open_stored_latents(folder.path());
  CHECK(near(read(*stored, 0, SecondHalf::log_variance)[4], std::exp(-15.0), 1e-6));
  const std::string what = error_of<FileError>([&] { read(*stored, 0, SecondHalf::deviation); });
  CHECK_MESSAGE(has(what, "img-mean-std-00000000.npy: a deviation is -100"), what);
  CHECK_MESSAGE(has(what, "given_form = \"log_variance\""), what);
  write_folder(folder.path(), 100);
  CHECK(near(read(*open_stored_latents(folder.path()), 0, SecondHalf::log_variance)[4], std::exp(10.0), 1e-6));
  write_folder(folder.path(), std::nanf(""));
  CHECK(has(error_of<FileError>([&] { read(*open_stored_latents(folder.path()), 0, SecondHalf::log_variance); }), "nan"));
}

TEST_CASE("deviations given as log-variances are refused: a log-variance is negative somewhere in the first latents") {
  const TempFolder folder;
  for (const float least : {0.0f, 0.5f}) {
    write_folder(folder.path(), least);
    const std::string what = error_of<FileError>([&] { open_stored_latents(folder.path())->check_form(SecondHalf::log_variance); });
    CHECK_MESSAGE(has(what, "no negative number in the second half of the channels of the first 3 latents"), what);
    CHECK_MESSAGE(has(what, "given_form = \"deviation\""), what);
  }
  open_stored_latents(folder.path())->check_form(SecondHalf::deviation);
  std::vector<float> last = latent(2, 0.5f);
  last.back() = -0.01f;
  write_npy<float>(folder / "00000/img-mean-std-00000002.npy", {4, 1, 2}, last);
  open_stored_latents(folder.path())->check_form(SecondHalf::log_variance);
}

TEST_CASE("an .npz file has the latents as moments or x, and no other name is taken") {
  const TempFolder folder;
  const auto save = [&](const char* name) {
    NpzWriter npz(folder / "latents.npz");
    npz.add<float>(name, {1, 4, 1, 2}, latent(3, 0.5f));
    npz.add<std::int64_t>("y", {1}, std::vector<std::int64_t>{9});
    npz.finish();
  };
  for (const char* name : {"moments", "x"}) {
    save(name);
    CHECK(read(*open_stored_latents(folder / "latents.npz"), 0, SecondHalf::deviation) == latent(3, 0.5f));
  }
  save("latents");
  CHECK(has(error_of<FileError>([&] { open_stored_latents(folder / "latents.npz"); }), "no array moments or x for the latents"));
}

TEST_CASE("files of other forms and shapes are refused with their name") {
  const TempFolder folder;
  write_folder(folder.path(), 1);
  write_npy<float>(folder / "00000/img-mean-std-00000001.npy", {2, 1, 2}, std::vector<float>(4));
  const auto stored = open_stored_latents(folder.path());
  CHECK(has(error_of<FileError>([&] { read(*stored, 1, SecondHalf::deviation); }), "values of the shape [2, 1, 2]"));
  write_npy<float>(folder / "00000/img-mean-std-00000000.npy", {3, 1, 2}, std::vector<float>(6));
  CHECK(has(error_of<FileError>([&] { open_stored_latents(folder.path()); }), "[3, 1, 2]: give mean and deviation of latents, of the shape (2C, height, width)"));
  std::ofstream(folder / "dataset.json") << R"({"labels": null})";
  CHECK(has(error_of<FileError>([&] { open_stored_latents(folder.path()); }), "no labels"));
  CHECK(has(error_of<FileError>([&] { open_stored_latents(folder / "00000"); }), "neither a folder with dataset.json"));
}
