// Exact moments against naive sums. The cache of latents: resumed, damaged, made from other inputs.
#include "data/latent_cache.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/random/fill.h"
#include "tests/support/temp_folder.h"

using namespace fm;
namespace fs = std::filesystem;

namespace {

Tensor values(std::int64_t n, const Shape& row, std::uint32_t stream, double scale = 1, double shift = 0) {
  Tensor x = random_normal_rows(consecutive(0, n), row, {1, stream});
  float* p = x.data<float>();
  for (std::int64_t i = 0; i < x.numel(); ++i) p[i] = static_cast<float>(shift + scale * p[i]);
  return x;
}

struct Made {
  LatentCacheInfo info;
  Tensor latents, mirrored;
};

Made made(std::int64_t count = 11) {
  Made m;
  m.info = {.encoder = "1a2b3c4d",
            .preprocessing = "none",
            .data = "shapes",
            .image_size = 8,
            .channels = 1,
            .class_names = {"a", "b", "c"},
            .labels = {},
            .latent = {3, 2, 2},
            .dtype = DType::f32,
            .mirrored = true,
            .shard_size = 4};
  for (std::int64_t i = 0; i < count; ++i) m.info.labels.push_back(i % 3);
  m.latents = values(count, m.info.latent, 1), m.mirrored = values(count, m.info.latent, 2);
  return m;
}

void write_shard(LatentCacheWriter& writer, const Made& m, const LatentShard& s) {
  const Tensor z = m.latents.slice(0, s.first, s.first + s.count), w = m.mirrored.slice(0, s.first, s.first + s.count);
  Moments moments(m.info.latent);
  moments.add(z);
  if (m.info.mirrored) moments.add(w);
  writer.write(s, z, w, moments);
}

// Makes at most `shards` shards and returns the warnings.
std::string make(const fs::path& folder, const Made& m, int shards = 100) {
  std::string warnings;
  LatentCacheWriter writer(folder, m.info, [&](const std::string& line) { warnings += line + "\n"; });
  for (const LatentShard& s : writer.missing())
    if (shards-- > 0) write_shard(writer, m, s);
  if (writer.missing().empty()) writer.finish();
  return warnings;
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& e : fs::directory_iterator(folder)) files[e.path().filename().string()] = read_file(e.path());
  return files;
}

template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "no error";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("moments agree with a two-pass computation in long double, even far from zero") {
  for (const auto& [scale, shift] : {std::pair{1.0, 0.0}, {0.01, 300.0}, {1e-4, -20.0}, {3000.0, 0.0}}) {
    const std::int64_t n = 999;
    const Shape row{3, 5};
    const Tensor x = values(n, row, 7, scale, shift);
    Moments m(row);
    m.add(x);
    for (std::int64_t i = 0; i < 15; ++i) {
      long double mean = 0, square = 0;
      for (std::int64_t r = 0; r < n; ++r) mean += x.data<float>()[r * 15 + i];
      mean /= n;
      for (std::int64_t r = 0; r < n; ++r) square += (x.data<float>()[r * 15 + i] - mean) * (x.data<float>()[r * 15 + i] - mean);
      CHECK(std::fabs(m.mean().data<double>()[i] - double(mean)) <= 1.2e-10 + 1e-15 * std::fabs(shift));
      CHECK(std::fabs(m.variance().data<double>()[i] - double(square / n)) <= 1e-9 * scale + 1e-14 * scale * scale);
    }
  }
}

TEST_CASE("moments have the same bits for any order, batches and partial sums, even after saving and loading") {
  const Shape row{2, 2000};
  const Tensor x = values(50, row, 3);
  Moments whole(row), back(row), half(row), rest(row);
  whole.add(x);
  for (std::int64_t i = 49; i >= 0; --i) back.add(x.slice(0, i, i + 1));
  half.add(x.slice(0, 0, 17));
  rest.add(x.slice(0, 17, 50));
  const NamedTensors state = rest.state();
  half.add(Moments::from_state(state[0].second, state[1].second, state[2].second));
  for (const Moments* m : {&back, &half}) {
    CHECK(m->count() == 50);
    CHECK(m->mean().to_vector<double>() == whole.mean().to_vector<double>());
    CHECK(m->variance().to_vector<double>() == whole.variance().to_vector<double>());
  }
}

TEST_CASE("moments refuse an empty set, wrong shapes and values that are not finite or too large") {
  Moments m({2});
  CHECK_THROWS_AS(m.mean(), ShapeError);
  CHECK_THROWS_AS(m.add(Tensor::zeros({3, 3})), ShapeError);
  CHECK_THROWS_AS(m.add(Moments({3})), ShapeError);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 32768.0f})
    CHECK(has(error_of([&] { m.add(Tensor::from(std::vector<float>{0, bad}, {1, 2})); }), "not finite, or its absolute value is 32768 or more"));
}

TEST_CASE("a cache returns latents, labels, and statistics over images and mirrored images") {
  for (DType dtype : {DType::f32, DType::bf16}) {
    TempFolder folder;
    Made m = made();
    m.info.dtype = dtype;
    CHECK(make(folder / "z", m).empty());
    const LatentCache cache(folder / "z");
    CHECK(cache.count() == 11);
    CHECK(cache.info().labels == m.info.labels);
    CHECK(cache.info().class_names == m.info.class_names);
    std::vector<float> z(12);
    for (std::int64_t i = 0; i < 11; ++i)
      for (bool mirrored : {false, true}) {
        cache.read(i, mirrored, z.data());
        CHECK(z == (mirrored ? m.mirrored : m.latents).select(0, i).to(dtype).to_vector<float>());
      }
    Moments both({3, 2, 2});
    both.add(m.latents), both.add(m.mirrored);
    CHECK(cache.mean().to_vector<float>() == both.mean().to_vector<float>());
    CHECK(cache.variance().to_vector<float>() == both.variance().to_vector<float>());
  }
}

TEST_CASE("a cache without mirrored latents returns the unmirrored ones and refuses mirrored ones") {
  TempFolder folder;
  Made m = made();
  m.info.mirrored = false;
  make(folder / "z", m);
  std::vector<float> z(12);
  const LatentCache cache(folder / "z");
  cache.read(10, false, z.data());
  CHECK(has(error_of([&] { cache.read(0, true, z.data()); }), "unmirrored images only"));
}

TEST_CASE("a cache that is stopped and resumed has the same bytes; damaged shards are written again") {
  TempFolder folder;
  const Made m = made();
  make(folder / "whole", m);
  const auto want = contents(folder / "whole");
  CHECK(want.size() == 3 + 2);
  make(folder / "z", m, 1);
  CHECK(has(error_of([&] { LatentCache cache(folder / "z"); }), "1 of 3 shards are made: finish them"));
  CHECK(LatentCache::read_info(folder / "z")->encoder == "1a2b3c4d");
  CHECK(!LatentCache::is_finished(folder / "z"));
  CHECK(LatentCache::is_finished(folder / "whole"));
  write_atomically(folder / "z" / "latents-00001.safetensors.tmp-12345", "left over");
  make(folder / "z", m, 1);
  CHECK(make(folder / "z", m).empty());
  CHECK(contents(folder / "z") == want);

  std::string bytes = want.at("latents-00001.safetensors");
  bytes[bytes.size() - 5] ^= 1;
  write_atomically(folder / "z" / "latents-00001.safetensors", bytes);
  fs::remove(folder / "z" / "latents-00002.safetensors");
  CHECK(has(error_of([&] { LatentCache cache(folder / "z"); }), "latents-00002.safetensors"));
  CHECK(LatentCache::is_finished(folder / "z"));
  const std::string warnings = make(folder / "z", m, 0);  // stopped right after the check: the index must no longer list the damaged shards
  CHECK(!LatentCache::is_finished(folder / "z"));
  CHECK(make(folder / "z", m).empty());
  CHECK(has(warnings, "latents-00001.safetensors: missing or damaged"));
  CHECK(has(warnings, "latents-00002.safetensors: missing or damaged"));
  CHECK(contents(folder / "z") == want);
}

TEST_CASE("latents of another encoder, other images or another type are refused, as are folders without a valid index") {
  TempFolder folder;
  const Made m = made();
  make(folder / "z", m);
  const auto refused = [&](const auto& change) {
    Made other = m;
    change(other.info);
    return error_of([&] { make(folder / "z", other); });
  };
  CHECK(has(refused([](LatentCacheInfo& i) { i.encoder = "00000000"; }),
            "z: holds latents with encoder \"1a2b3c4d\" instead of \"00000000\": choose another folder"));
  CHECK(has(refused([](LatentCacheInfo& i) { i.preprocessing = "mean 0"; }), "preprocessing \"none\""));
  CHECK(has(refused([](LatentCacheInfo& i) { i.dtype = DType::bf16; }), "dtype \"f32\" instead of \"bf16\""));
  CHECK(has(refused([](LatentCacheInfo& i) { i.labels[2] = 0; }), "labels"));
  CHECK(has(refused([](LatentCacheInfo& i) { i.class_names[0] = "z"; }), "other class_names"));
  CHECK(has(error_of([&] { LatentCache cache(folder / "none"); }), "index.json is missing"));
  CHECK(!LatentCache::read_info(folder / "none"));
  write_atomically(folder / "z" / "index.json", "{}");
  CHECK(has(error_of([&] { LatentCache cache(folder / "z"); }), "index.json: not an index of latents"));
  write_atomically(folder / "z" / "index.json", "not json");
  CHECK(has(error_of([&] { make(folder / "z", m); }), "index.json: not an index of latents"));
}
