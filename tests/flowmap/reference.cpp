// The real samples that scores compare with. Each sample is used once, in parts that are never empty. Features are kept in a file that is used only if it fits.
#include "flowmap/training/reference.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// n samples of f32: sample i is (x, 2 x, 3 x, ...) with x = first + i, and labels alternate between two classes.
class Numbered : public SampleSource {
 public:
  Numbered(std::int64_t n, Shape shape, float first = 0) : n_(n), shape_(shape), first_(first) {}
  std::int64_t count() const override { return n_; }
  std::string name() const override { return "numbers"; }
  Shape shape() const override { return shape_; }
  DType dtype() const override { return DType::f32; }
  std::int32_t label(std::int64_t i) const override { return static_cast<std::int32_t>(i % 2); }
  const std::vector<std::string>& class_names() const override { return names; }
  void read(std::int64_t i, const PhiloxBlock&, void* out) const override {
    if (i == broken) throw FileError("row " + std::to_string(i) + " is broken");
    for (std::int64_t k = 0; k < shape_.numel(); ++k) static_cast<float*>(out)[k] = (first_ + static_cast<float>(i)) * static_cast<float>(k + 1);
  }
  std::vector<std::string> names{"even", "odd"};
  std::int64_t broken = -1;

 private:
  std::int64_t n_;
  Shape shape_;
  float first_;
};

struct Heard : Messages {
  std::vector<std::string> lines;
  void message(Level, std::string_view text) override { lines.emplace_back(text); }
};

// Features that are the values themselves. The predicted class is row % 2, and wrong for every tenth row. `calls` records the sizes of the batches.
struct Watched {
  std::vector<std::int64_t> calls;
  Features features{"test", "1234", [this](const Tensor& x) {
                      calls.push_back(x.dim(0));
                      Seen seen{x.reshape({x.dim(0), x.numel() / std::max<std::int64_t>(1, x.dim(0))}), {}};
                      for (const double v : x.reshape({x.dim(0), -1}).select(1, 0).to_vector<double>()) {
                        const auto row = static_cast<std::int64_t>(v);
                        seen.classes.push_back(row % 10 == 0 ? 1 - row % 2 : row % 2);
                      }
                      return seen;
                    }};
};

}  // namespace

TEST_CASE("features are computed for 250 samples at a time, for fewer large samples, and for at least one") {
  CHECK(seen_at_a_time({2}) == 250);
  CHECK(seen_at_a_time({3, 128, 131}) == 250);
  CHECK(seen_at_a_time({3, 256, 256}) == 64);
  CHECK(seen_at_a_time({16, 256, 256}) == 64);                     // the limit depends on the positions, not on the channels
  CHECK(seen_at_a_time({4, 65536}) == 16);
  CHECK(seen_at_a_time({1, 4096, 4096}) == 1);
}

TEST_CASE("each row is read once, in parts that are never empty; mean, covariance and accuracy are right") {
  for (const std::int64_t n : {249, 250, 251, 500}) {
    CAPTURE(n);
    const TempFolder folder;
    Watched watched;
    Heard heard;
    const Reference r = load_reference(Numbered(n, {2}), 0, watched.features, folder.path(), heard);
    CHECK(watched.calls == (n <= 250 ? std::vector<std::int64_t>{n} : std::vector<std::int64_t>{250, n - 250}));
    CHECK(heard.lines.empty());
    REQUIRE(r.features.shape() == Shape{n, 2});
    for (std::int64_t i = 0; i < n; ++i) CHECK(r.features.data<float>()[2 * i + 1] == 2.0f * static_cast<float>(i));
    CHECK((std::ssize(r.rows) == n && std::ssize(r.labels) == n && std::ssize(r.classes) == n));
    CHECK((r.labels[3] == 1 && r.classes[3] == 1 && r.labels[20] == 0 && r.classes[20] == 1));
    CHECK(near(r.accuracy, 1 - std::ceil(static_cast<double>(n) / 10) / static_cast<double>(n), 1e-12));
    CHECK(near(r.fit.mean.data<double>()[0], static_cast<double>(n - 1) / 2, 1e-12));
    CHECK(near(r.fit.covariance.data<double>()[0], static_cast<double>(n) * static_cast<double>(n + 1) / 12, 1e-9));     // variance of 0 .. n - 1
    CHECK(near(r.fit.covariance.data<double>()[3], static_cast<double>(n) * static_cast<double>(n + 1) / 3, 1e-9));
  }
}

TEST_CASE("features are cached under the fingerprint of their inputs; a damaged cache is recomputed with a message") {
  const TempFolder folder;
  Watched watched;
  Heard heard;
  const auto load = [&](const SampleSource& source, std::int64_t count = 0) { return load_reference(source, count, watched.features, folder / "cache", heard); };
  const auto files = [&] { return std::distance(std::filesystem::directory_iterator(folder / "cache"), std::filesystem::directory_iterator()); };
  const Reference first = load(Numbered(30, {2})), again = load(Numbered(30, {2}));
  CHECK(watched.calls.size() == 1);
  CHECK(again.id == first.id);
  CHECK(again.features.to_vector<float>() == first.features.to_vector<float>());
  CHECK((again.classes == first.classes && again.accuracy == first.accuracy));
  CHECK(files() == 1);
  Numbered named(30, {2});
  named.names = {"odd", "even"};
  const std::string ids[] = {load(named).id, load(Numbered(30, {2}, 1)).id, load(Numbered(31, {2})).id, load(Numbered(30, {2}), 20).id, load(Numbered(30, {2, 1})).id};
  CHECK(std::set<std::string>(std::begin(ids), std::end(ids)).size() == 5);
  CHECK(watched.calls.size() == 6);
  watched.features.fingerprint = "other weights";
  CHECK(load(Numbered(30, {2})).id != first.id);
  watched.features.fingerprint = "1234";
  CHECK(watched.calls.size() == 7);
  const std::filesystem::path file = folder / "cache" / ("reference-" + first.id + ".safetensors");
  const std::string good = read_file(file);
  for (const std::size_t at : {good.size() - 1, good.size() / 2, std::size_t{60}}) {
    std::string bad = good;
    bad[at] ^= 1;
    write_atomically(file, bad);
    const std::size_t calls = watched.calls.size(), lines = heard.lines.size();
    CHECK(load(Numbered(30, {2})).features.to_vector<float>() == first.features.to_vector<float>());
    CHECK(watched.calls.size() == calls + 1);
    REQUIRE(heard.lines.size() == lines + 1);
    CHECK(has(heard.lines.back(), ": the features are computed again"));
    CHECK(read_file(file) == good);
  }
  CHECK(watched.features.see != nullptr);
  Features classless = plain_features();
  CHECK(std::isnan(load_reference(Numbered(30, {2}), 0, classless, folder / "other", heard).accuracy));
}

TEST_CASE("spatial features are kept in the cache beside the others") {
  const TempFolder folder;
  Heard heard;
  int calls = 0;
  const Features features{"test", "1234", [&](const Tensor& x) {
                            ++calls;
                            return Seen{x, {}, x * 3.0, {}};
                          }};
  const auto load = [&] { return load_reference(Numbered(30, {2}), 0, features, folder.path(), heard); };
  const Reference first = load(), again = load();
  CHECK(calls == 1);
  for (const Reference* r : {&first, &again}) {
    REQUIRE(r->spatial.defined());
    CHECK(r->spatial.to_vector<float>() == (r->features * 3.0).to_vector<float>());
    CHECK(near(r->spatial_fit.mean.data<double>()[0], 3 * 14.5, 1e-6));
  }
}

TEST_CASE("the error counts samples that cannot be read; the error for features that are not finite names the image") {
  const TempFolder folder;
  Watched watched;
  Heard heard;
  Numbered source(30, {2});
  source.broken = 7;
  CHECK(has(error_of<FileError>([&] { load_reference(source, 0, watched.features, folder.path(), heard); }), "the test split has 1 images that cannot be read: row 7 is broken"));
  source.broken = -1;
  watched.features.see = [](const Tensor& x) {
    const Tensor out = x.clone();
    out.data<float>()[2 * 11] = INFINITY;
    return Seen{out, {}};
  };
  CHECK(has(error_of([&] { load_reference(source, 0, watched.features, folder.path(), heard); }), "the test's features of test image 11 are not finite"));
}
