// The loader: a keyed order, batches as a pure function of the step, ranks that share the work.
#include "data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "data/permutation.h"
#include "tensor/error.h"

using namespace fm;

namespace {

// ImageSample i is 1x2x3 with pixels i, i+1, ..., i+5 and label i.
std::shared_ptr<const Dataset> counting(std::int64_t count) {
  Dataset d{"counting", count, 1, 2, 3, {}, {}, {}};
  for (std::int64_t i = 0; i < count; ++i) {
    for (int k = 0; k < 6; ++k) d.pixels.push_back(std::uint8_t(i + k));
    d.labels.push_back(std::int32_t(i));
  }
  return std::make_shared<const Dataset>(std::move(d));
}

LoaderOptions options(std::int64_t batch, std::uint64_t seed = 1) {
  LoaderOptions o;
  o.batch = batch, o.seed = seed;
  return o;
}

bool same(const ImageBatch& a, const ImageBatch& b) { return a.step == b.step && a.indices == b.indices && a.labels == b.labels && a.pixels == b.pixels; }

class BrokenSource : public SampleSource {
 public:
  std::int64_t count() const override { return 10; }
  int channels() const override { return 1; }
  int height() const override { return 1; }
  int width() const override { return 1; }
  std::int32_t label(std::int64_t) const override { return 0; }
  void read(std::int64_t, std::uint8_t*) const override { throw FileError("x.png: truncated"); }
};

}  // namespace

TEST_CASE("a permutation visits everything once, in another order for each key and number") {
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

TEST_CASE("a permutation is close to uniform") {
  // chi-square of where 0 and 6 go, 12 elements, 12000 epochs: 11 degrees of freedom, 99.99 % point 37
  for (int from : {0, 6}) {
    std::vector<double> hits(12, 0.0);
    for (std::uint32_t epoch = 0; epoch < 12000; ++epoch) hits[std::size_t(Permutation(12, {9, 2}, epoch)(from))] += 1;
    double chi = 0;
    for (double h : hits) chi += (h - 1000) * (h - 1000) / 1000;
    CHECK(chi < 37);
  }
}

TEST_CASE("an epoch has count / batch steps without repeats; the next has another order") {
  const Loader loader(counting(23), options(5));
  CHECK(loader.steps_per_epoch() == 4);
  std::vector<std::int64_t> first, second;
  for (std::int64_t step = 0; step < 8; ++step) {
    const ImageBatch b = loader.batch(step);
    CHECK(b.epoch == step / 4);
    CHECK(b.positions[3] == step * 5 + 3);
    auto& all = step < 4 ? first : second;
    all.insert(all.end(), b.indices.begin(), b.indices.end());
  }
  CHECK(std::set<std::int64_t>(first.begin(), first.end()).size() == 20);
  CHECK(std::set<std::int64_t>(second.begin(), second.end()).size() == 20);
  CHECK(first != second);
}

TEST_CASE("pixels and labels belong to the indices, in [0,1]") {
  const Loader loader(counting(23), options(5));
  const ImageBatch b = loader.batch(2);
  CHECK(b.size == 5);
  CHECK(b.pixels.size() == 30);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(b.labels[i] == b.indices[i]);
    for (std::size_t k = 0; k < 6; ++k) CHECK(b.pixels[i * 6 + k] == doctest::Approx(double(b.indices[i] + std::int64_t(k)) / 255));
  }
}

TEST_CASE("batches are a function of seed and step; prefetched ones are the same") {
  LoaderOptions o = options(5);
  o.flip = true;
  Loader a(counting(23), o), b(counting(23), o);
  for (std::int64_t step = 0; step < 30; ++step) CHECK(same(a.next(), b.batch(step)));
  a.seek(7);
  CHECK(same(a.next(), b.batch(7)));
  CHECK(same(a.next(), b.batch(8)));
  CHECK(!same(Loader(counting(23), options(5, 2)).batch(0), b.batch(0)));
}

TEST_CASE("two ranks together see what one sees") {
  LoaderOptions o = options(6);
  o.flip = true;
  o.augment = [](const ImageSample& s) { s.pixels[0] = uniform_from_bits(s.random.block(std::uint64_t(s.position))[0]); };
  const Loader whole(counting(23), o);
  o.world = 2;
  const Loader first(counting(23), o);
  o.rank = 1;
  const Loader second(counting(23), o);
  for (std::int64_t step : {0, 5, 100}) {
    ImageBatch joined = first.batch(step);
    const ImageBatch rest = second.batch(step);
    joined.indices.insert(joined.indices.end(), rest.indices.begin(), rest.indices.end());
    joined.labels.insert(joined.labels.end(), rest.labels.begin(), rest.labels.end());
    joined.pixels.insert(joined.pixels.end(), rest.pixels.begin(), rest.pixels.end());
    CHECK(same(joined, whole.batch(step)));
  }
}

TEST_CASE("the flip mirrors about half of the samples") {
  LoaderOptions o = options(20);
  o.shuffle = false;
  o.flip = true;
  const Loader loader(counting(20), o);
  int flipped = 0;
  for (std::int64_t step = 0; step < 50; ++step) {
    const ImageBatch b = loader.batch(step);
    for (std::size_t i = 0; i < 20; ++i) {
      CHECK(b.indices[i] == std::int64_t(i));
      const float* p = b.pixels.data() + 6 * i;
      const bool mirrored = p[0] > p[2];
      flipped += mirrored;
      CHECK(p[mirrored ? 5 : 3] == doctest::Approx(double(i + 3) / 255));
    }
  }
  CHECK(flipped > 430);
  CHECK(flipped < 570);
}

TEST_CASE("wrong options and errors of the source reach the caller") {
  LoaderOptions o = options(5);
  o.world = 2;
  CHECK_THROWS_AS(Loader(counting(23), o), ConfigError);
  CHECK_THROWS_WITH_AS(Loader(counting(4), options(5)), "loader: batch 5 is larger than the data set of 4 samples", ConfigError);
  Loader broken(std::make_shared<BrokenSource>(), options(5));
  CHECK_THROWS_WITH_AS(broken.next(), "x.png: truncated", FileError);
  CHECK_THROWS_WITH_AS(broken.next(), "x.png: truncated", FileError);
}
