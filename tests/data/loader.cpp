// The order of training is a keyed permutation. The loader makes batches that are a pure function of their rows.
#include "data/loader.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "data/permutation.h"
#include "tensor/error.h"
#include "tensor/io/crc32c.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"

using namespace fm;

namespace {

// Sample i is 1x2x3 with pixels i, i+1, ..., i+5 and label i.
std::shared_ptr<const SampleSource> counting(std::int64_t count) {
  Dataset d{"counting", count, 1, 2, 3, {}, {}, {}};
  for (std::int64_t i = 0; i < count; ++i) {
    for (int k = 0; k < 6; ++k) d.pixels.push_back(std::uint8_t(i + k));
    d.labels.push_back(std::int32_t(i));
  }
  return as_source(std::make_shared<const Dataset>(std::move(d)));
}

LoaderOptions options(std::uint64_t seed = 1) {
  LoaderOptions o;
  o.seed = seed;
  return o;
}

std::vector<std::int64_t> indices(const SampleBatch& b) {
  std::vector<std::int64_t> list;
  for (const EpochRow& row : b.rows) list.push_back(row.index);
  return list;
}

bool same(const SampleBatch& a, const SampleBatch& b) {
  return indices(a) == indices(b) && a.labels.to_vector<std::int64_t>() == b.labels.to_vector<std::int64_t>() &&
         a.x.to_vector<float>() == b.x.to_vector<float>();
}

// Samples that are points: sample i is (i, -i) in f32.
class PointSource : public SampleSource {
 public:
  std::string name() const override { return "points"; }
  std::int64_t count() const override { return 10; }
  Shape shape() const override { return {2}; }
  DType dtype() const override { return DType::f32; }
  std::int32_t label(std::int64_t i) const override { return std::int32_t(i % 2); }
  const std::vector<std::string>& class_names() const override { return names_; }
  void read(std::int64_t i, const PhiloxBlock&, void* out) const override {
    static_cast<float*>(out)[0] = float(i), static_cast<float*>(out)[1] = -float(i);
  }

 private:
  std::vector<std::string> names_{"even", "odd"};
};

class BrokenSource : public SampleSource {
 public:
  std::int64_t count() const override { return 10; }
  std::string name() const override { return "broken"; }
  Shape shape() const override { return {1, 1, 1}; }
  DType dtype() const override { return DType::u8; }
  std::int32_t label(std::int64_t) const override { return 0; }
  const std::vector<std::string>& class_names() const override { return names_; }
  void read(std::int64_t index, const PhiloxBlock&, void*) const override {
    if (index >= 3) throw FileError(std::to_string(index) + ".png: truncated");
  }

 private:
  std::vector<std::string> names_;
};

}  // namespace

TEST_CASE("a permutation visits every index once, in a different order for each key and epoch") {
  for (std::int64_t n : {1, 2, 3, 10, 255, 256, 257, 1000, 60000}) {
    const Permutation order(n, {3, 1}, 0);
    std::vector<bool> seen(std::size_t(n), false);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = std::size_t(order(i));
      REQUIRE(at < std::size_t(n));
      REQUIRE(!seen[at]);
      seen[at] = true;
    }
  }
  const Permutation a(1000, {3, 1}, 0), b(1000, {3, 1}, 1), c(1000, {4, 1}, 0);
  int same_b = 0, same_c = 0;
  for (int i = 0; i < 1000; ++i) same_b += a(i) == b(i), same_c += a(i) == c(i);
  CHECK(same_b < 10);
  CHECK(same_c < 10);
  CHECK(Permutation(std::int64_t{1} << 40, {1, 1}, 0)(123456789012) < std::int64_t{1} << 40);
  CHECK_THROWS_AS(a(1000), ShapeError);
}

TEST_CASE("over many epochs the permutations are close to uniform") {
  // Chi-square test of the images of 0 and 6 among 12 elements, over 12,000 epochs: 11 degrees of freedom, 99.99 % quantile 37.
  for (int from : {0, 6}) {
    std::vector<double> hits(12, 0.0);
    for (std::uint32_t epoch = 0; epoch < 12000; ++epoch) hits[std::size_t(Permutation(12, {9, 2}, epoch)(from))] += 1;
    double chi = 0;
    for (double h : hits) chi += (h - 1000) * (h - 1000) / 1000;
    CHECK(chi < 37);
  }
}

TEST_CASE("every epoch contains every sample once, in another order, for any batch size") {
  const auto rows = epoch_rows(23, 1, 0, 46);
  std::set<std::int64_t> first, second;
  for (std::size_t i = 0; i < 46; ++i) {
    CHECK(rows[i].epoch == i / 23);
    (i < 23 ? first : second).insert(rows[i].index);
  }
  CHECK(first.size() == 23);
  CHECK(second.size() == 23);
  const std::vector<std::int64_t> all = shuffled_rows(23, 1, 0, 46);
  CHECK(!std::equal(all.begin(), all.begin() + 23, all.begin() + 23));
  for (std::int64_t batch : {1, 5, 46}) {
    std::vector<std::int64_t> joined;
    for (std::int64_t i = 0; i < 46; i += batch)
      for (std::int64_t index : shuffled_rows(23, 1, i, std::min<std::int64_t>(batch, 46 - i))) joined.push_back(index);
    CHECK(joined == all);
  }
  CHECK(shuffled_rows(23, 2, 0, 46) != all);
}

TEST_CASE("the loader follows the order of shuffled_rows; pixels and labels belong to the indices") {
  const Loader loader(counting(23), options());
  const SampleBatch b = loader.batch(20, 5);
  CHECK(indices(b) == shuffled_rows(23, 1, 20, 5));
  CHECK(b.x.shape() == Shape{5, 1, 2, 3});
  const auto labels = b.labels.to_vector<std::int64_t>();
  const auto pixels = b.x.to_vector<float>();
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(b.rows[i].epoch == (i < 3 ? 0 : 1));
    CHECK(labels[i] == b.rows[i].index);
    for (std::size_t k = 0; k < 6; ++k) CHECK(pixels[i * 6 + k] == float(b.rows[i].index + std::int64_t(k)) / 255.0f);
  }
}

TEST_CASE("batches do not depend on threads, prefetching or the batch size") {
  LoaderOptions o = options();
  o.flip = true;
  const Loader plain(counting(23), o);
  o.workers = 3;
  Loader ahead(counting(23), o);
  for (std::int64_t first = 0; first < 100; first += 5) CHECK(same(ahead.take(first, 5), plain.batch(first, 5)));
  o.workers = 0;
  CHECK(same(Loader(counting(23), o).take(7, 5), plain.batch(7, 5)));
  CHECK(same(ahead.take(7, 5), plain.batch(7, 5)));    // not the prefetched rows
  CHECK(same(ahead.take(12, 4), plain.batch(12, 4)));  // another number of rows
  const SampleBatch whole = plain.batch(40, 8);
  std::vector<float> joined = plain.batch(40, 3).x.to_vector<float>();
  for (float v : plain.batch(43, 5).x.to_vector<float>()) joined.push_back(v);
  CHECK(joined == whole.x.to_vector<float>());
  CHECK(!same(Loader(counting(23), options(2)).batch(0, 5), plain.batch(0, 5)));
}

TEST_CASE("the flip mirrors about half of the samples, different ones in each epoch") {
  LoaderOptions o = options();
  o.shuffle = false;
  o.flip = true;
  const Loader loader(counting(20), o);
  int flipped = 0, changed = 0;
  std::vector<bool> before(20);
  for (std::int64_t epoch = 0; epoch < 50; ++epoch) {
    const SampleBatch b = loader.batch(epoch * 20, 20);
    const auto pixels = b.x.to_vector<float>();
    for (std::size_t i = 0; i < 20; ++i) {
      CHECK(b.rows[i].index == std::int64_t(i));
      const float* p = pixels.data() + 6 * i;
      const bool mirrored = p[0] > p[2];
      CHECK(mirrored == is_mirrored(1, b.rows[i]));
      flipped += mirrored, changed += mirrored != before[i];
      before[i] = mirrored;
      CHECK(p[mirrored ? 5 : 3] == float(i + 3) / 255.0f);
    }
  }
  CHECK(flipped > 430);
  CHECK(flipped < 570);
  CHECK(changed > 400);
}

TEST_CASE("samples other than images are loaded unchanged; options for images refuse them") {
  const auto points = std::make_shared<PointSource>();
  const SampleBatch b = Loader(points, options()).batch(7, 6);
  CHECK(b.x.shape() == Shape{6, 2});
  const auto x = b.x.to_vector<float>();
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(x[2 * i] == float(b.rows[i].index));
    CHECK(x[2 * i + 1] == -float(b.rows[i].index));
  }
  LoaderOptions o = options();
  o.flip = true;
  CHECK(test::mentions(test::error_of<ConfigError>([&] { Loader(points, o); }), {"points", "f32 [2]", "u8 [channels", "width]", "1", "3 channels", "--data"}));
  const PictureSize size = picture_size(*counting(3), "a test");
  CHECK((size.channels == 1 && size.height == 2 && size.width == 3));
}

TEST_CASE("a fingerprint is the checksum of sizes, type, names, labels and contents") {
  const auto hex = [](const std::string& text) { return fmt::format("{:08x}", crc32c(text)); };
  Dataset d{"two", 2, 1, 1, 2, {'a', 'b', 'c', 'd'}, {1, 0}, {"x", "y"}};
  CHECK(fingerprint(*as_source(std::make_shared<const Dataset>(d))) == hex("2 1 1 2 x/y/1 ab0 cd"));
  std::string points = "10 2 f32 even/odd/";
  for (int i = 0; i < 10; ++i) {
    const float x[2] = {float(i), -float(i)};
    points += std::to_string(i % 2) + " " + std::string(reinterpret_cast<const char*>(x), sizeof x);
  }
  CHECK(fingerprint(PointSource()) == hex(points));
}

TEST_CASE("the loader refuses wrong options and reports the first error of a batch") {
  LoaderOptions o = options();
  o.workers = -1;
  CHECK_THROWS_AS(Loader(counting(23), o), ConfigError);
  CHECK_THROWS_AS(Loader(counting(0), options()), ConfigError);
  o.workers = 3, o.shuffle = false;
  Loader broken(std::make_shared<BrokenSource>(), o);
  CHECK(broken.take(0, 3).rows.size() == 3);
  for (int i = 0; i < 2; ++i) CHECK_THROWS_WITH_AS(broken.take(3, 3), "3.png: truncated", FileError);
}
