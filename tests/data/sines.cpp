// The synthetic time series: mean, variance and spectrum are known in closed form; phases are uniform. Also the table of kinds of data.
#include "data/sines.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <numbers>

#include "data/kinds.h"
#include "data/loader.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

std::vector<float> sample(const SampleSource& s, std::int64_t i) {
  std::vector<float> x(std::size_t(s.shape().numel()));
  s.read(i, {}, x.data());
  return x;
}

struct Wave {
  double power, cosine, sine;  // power of one frequency; cosine and sine of its phase
};

Wave wave(const float* x, std::int64_t length, double f) {
  double c = 0, s = 0;
  for (std::int64_t l = 0; l < length; ++l) {
    const double at = 2 * std::numbers::pi * f * double(l) / double(length);
    c += x[l] * std::cos(at), s += x[l] * std::sin(at);
  }
  c *= 2.0 / double(length), s *= 2.0 / double(length);  // x = c cos + s sin + ..., where A sin(at + p) has c = A sin p, s = A cos p
  const double size = std::hypot(c, s);
  return {size * size / 2, s / size, c / size};
}

}  // namespace

TEST_CASE("sums of sines have mean 0, variance 1, and all their power at the label's two frequencies") {
  const auto source = open_source("sines?count=40,length=48,channels=2,seed=3", Split::train);
  CHECK(source->shape() == Shape{2, 48});
  for (std::int64_t i = 0; i < 40; ++i) {
    const std::vector<float> x = sample(*source, i);
    CHECK(source->label(i) == i % 4);
    for (int c = 0; c < 2; ++c) {
      double mean = 0, square = 0;
      for (int l = 0; l < 48; ++l) mean += x[std::size_t(48 * c + l)] / 48.0, square += std::pow(x[std::size_t(48 * c + l)], 2) / 48;
      CHECK(near_zero(mean, 1e-6));
      CHECK(near(square, 1.0, 1e-6));
      const double f = double(i % 4) + 1;
      CHECK(near(wave(x.data() + 48 * c, 48, f).power, 0.64, 1e-6));
      CHECK(near(wave(x.data() + 48 * c, 48, f + 4).power, 0.36, 1e-6));
    }
  }
}

TEST_CASE("phases are uniform and independent; a sample depends only on seed, split and number") {
  const auto source = sine_source({.count = 4000}, Split::train);
  double c1 = 0, s1 = 0, c2 = 0, both = 0;
  for (std::int64_t i = 0; i < 4000; ++i) {
    const std::vector<float> x = sample(*source, i);
    const Wave a = wave(x.data(), 64, double(i % 4) + 1), b = wave(x.data(), 64, double(i % 4) + 5);
    c1 += a.cosine / 4000, s1 += a.sine / 4000, c2 += b.cosine / 4000, both += a.cosine * b.cosine / 4000;
  }
  for (const double mean : {c1, s1, c2}) CHECK(near_zero(mean, 0.045));  // the standard deviation is 1/sqrt(2 4000) = .011
  CHECK(near_zero(both, 0.032));                                       // the standard deviation is 1/(2 sqrt 4000) = .008
  CHECK(sample(*sine_source({.count = 10}, Split::train), 7) == sample(*source, 7));
  CHECK(sample(*sine_source({.count = 10}, Split::test), 7) != sample(*source, 7));
  CHECK(sample(*sine_source({.count = 10, .seed = 2}, Split::train), 7) != sample(*source, 7));
  CHECK_THROWS_AS(sine_source({.length = 31}, Split::train), ConfigError);
  CHECK(mentions(error_of<ConfigError>([&] { open_source("sines:x", Split::train); }), {"data 'sines:x'", "generated", "takes"}));
}

TEST_CASE("every data kind is documented in help and README with all its keys, and refuses unknown keys") {
  const std::string page = read_file(std::filesystem::path(FM_TESTS_FOLDER) / "../data/README.md");
  const auto line_at = [&](std::size_t at) { return page.substr(at, page.find('\n', at) - at); };
  for (const DataKind& kind : data_kinds()) {
    CAPTURE(std::string(kind.name));
    CHECK((kind.load != nullptr) != (kind.open != nullptr));
    CHECK(has(data_help(), kind.usage));
    const std::size_t row = page.find(std::string("\n| `") + kind.name, page.find("## Specifications")) + 1;
    REQUIRE(row != 0);
    std::string line = line_at(row);
    for (const char* group : {"*images*", "*labels*"})  // keys that several kinds share have rows of their own
      if (has(line, group)) line += line_at(page.find(std::string("\n| ") + group) + 1);
    for (const DataKey& key : kind.keys) CHECK_MESSAGE(has(line, std::string("`") + key.name + "`"), std::string(key.name));
    CHECK_THROWS_AS(kind_of(parse_data_spec(std::string(kind.name) + "?nonsense=1")), ConfigError);
  }
}

TEST_CASE("a data specification is parsed into name, path and options") {
  const DataSpec spec = parse_data_spec("tar:a-{0,1..2}.tar?test=b-{0,3}.tar,size=4");
  CHECK(spec.name == "tar");
  CHECK(spec.path == std::optional<std::string>("a-{0,1..2}.tar"));
  CHECK(spec.options.at("test") == "b-{0,3}.tar");
  CHECK(spec.options.at("size") == "4");
  CHECK_THROWS_AS(open_source("tar:a.tar?size=4,index=", Split::train), ConfigError);
}
