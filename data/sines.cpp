#include "data/sines.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "tensor/error.h"

namespace fm {
namespace {

constexpr std::int64_t classes = 4;

class SineSource : public SampleSource {
 public:
  SineSource(const SinesOptions& options, Split split) : o_(options), key_{options.seed, split == Split::train ? 0x53494e30u : 0x53494e31u} {
    if (o_.count < 1 || o_.length < 32 || o_.channels < 1)
      throw ConfigError(fmt::format("sines: count {}, length {}, channels {}: needs count >= 1, length >= 32, channels >= 1", o_.count, o_.length, o_.channels));
  }
  std::string name() const override { return "sines"; }
  std::int64_t count() const override { return o_.count; }
  Shape shape() const override { return {o_.channels, o_.length}; }
  DType dtype() const override { return DType::f32; }
  std::int32_t label(std::int64_t i) const override { return static_cast<std::int32_t>(i % classes); }  // fits: below 4
  const std::vector<std::string>& class_names() const override {
    static const std::vector<std::string> names{"1 and 5", "2 and 6", "3 and 7", "4 and 8"};
    return names;
  }
  void read(std::int64_t i, const PhiloxBlock&, void* out) const override {
    float* x = static_cast<float*>(out);
    const double turn = 2 * std::numbers::pi, step = turn / static_cast<double>(o_.length);
    const double f = label(i) + 1;
    for (std::int64_t c = 0; c < o_.channels; ++c) {
      const PhiloxBlock random = key_.block(std::uint64_t(i), std::uint32_t(c));  // fits: at most 4096
      const double a = turn * uniform_from_bits(random[0], random[1]), b = turn * uniform_from_bits(random[2], random[3]);
      for (std::int64_t l = 0; l < o_.length; ++l) {
        const double at = step * static_cast<double>(l);
        *x++ = static_cast<float>(std::numbers::sqrt2 * (0.8 * std::sin(f * at + a) + 0.6 * std::sin((f + 4) * at + b)));
      }
    }
  }

 private:
  SinesOptions o_;
  RandomKey key_;
};

}  // namespace

std::shared_ptr<const SampleSource> sine_source(const SinesOptions& options, Split split) { return std::make_shared<SineSource>(options, split); }

std::shared_ptr<const SampleSource> open_sines(DataSpec& spec, Split split) {
  spec.refuse_path("sines are generated, not read");
  SinesOptions o;
  o.count = spec.number("count", split == Split::train ? 20000 : 2000, 1, std::int64_t(1) << 32);
  o.length = spec.number("length", o.length, 32, 1 << 20);
  o.channels = spec.number("channels", o.channels, 1, 4096);
  o.seed = std::uint64_t(spec.number("seed", 1, 0, std::numeric_limits<std::int64_t>::max()));
  return sine_source(o, split);
}

}  // namespace fm
