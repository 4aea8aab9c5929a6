#include "flowmap/training/picture_sets/set_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/report/statistics.h"
#include "flowmap/metrics/image_similarity.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/crc32c.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr std::int64_t pairs_at_a_time = 16;

std::string without_ending(const std::string& name) { return name.substr(0, name.rfind('.')); }

// Names that are numbers without zeros in front ("9.png", "10.png") are not in the order of their numbers, in which the rows of an array are.
void refuse_order_of_names(const PictureSet& named) {
  const auto is_number = [](const std::string& stem) { return !stem.empty() && stem.find_first_not_of("0123456789") == std::string::npos; };
  for (std::int64_t i = 1; i < named.count(); ++i) {
    const std::string before = without_ending(named.member(i - 1)), now = without_ending(named.member(i));
    if (is_number(before) && is_number(now) && before.size() > now.size())
      throw ConfigError(fmt::format("pairs of {} with the rows of an array: {} comes before {}, which is not the order of their numbers: pad the names with zeros", named.name(), named.member(i - 1),
                                    named.member(i)));
  }
}

void refuse_unpaired(const PictureSet& a, const PictureSet& b) {
  if (a.count() != b.count()) throw ConfigError(fmt::format("pairs need equally many images: {} has {}, {} has {}", a.name(), a.count(), b.name(), b.count()));
  if (!a.has_names() || !b.has_names()) {
    for (const PictureSet* set : {&a, &b})
      if (set->has_names()) refuse_order_of_names(*set);
    return;
  }
  for (std::int64_t i = 0; i < a.count(); ++i)
    if (without_ending(a.member(i)) != without_ending(b.member(i)))
      throw ConfigError(fmt::format("pairs need equal names: image {} of {} is {}, but that of {} is {}", i, a.name(), a.member(i), b.name(), b.member(i)));
}

SetNumber mean_of(const char* name, const std::vector<double>& values, const char* settings) {
  const Statistics s = statistics(values);
  const double error = values.size() > 1 ? s.deviation / std::sqrt(static_cast<double>(values.size())) : std::nan("");
  return {name, s.mean, error, settings};
}

std::uint32_t added(std::uint32_t sum, const Tensor& pixels) { return crc32c({reinterpret_cast<const char*>(pixels.data<std::uint8_t>()), static_cast<std::size_t>(pixels.numel())}, sum); }

void append(std::vector<double>& to, const std::vector<double>& more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace

PairResults measured_pairs(const PictureSet& samples, const PictureSet& reference, const PairOptions& options) {
  refuse_unpaired(samples, reference);
  std::vector<double> ratios, similarities, distances;
  std::uint32_t samples_sum = 0, reference_sum = 0;
  const std::int64_t count = samples.count_up_to(options.limit);
  for (std::int64_t i = 0; i < count; i += pairs_at_a_time) {
    check_interrupt();
    const std::int64_t n = std::min(pairs_at_a_time, count - i);
    const Tensor x = rgb_images(samples, i, n), y = rgb_images(reference, i, n);
    if (x.shape() != y.shape())
      throw FileError(fmt::format("{} of {} is {}x{} and its pair {}x{} (height x width): pairs need one size", samples.member(i), samples.name(), x.dim(2), x.dim(3), y.dim(2), y.dim(3)));
    samples_sum = added(samples_sum, x), reference_sum = added(reference_sum, y);
    append(ratios, psnr(x, y)), append(similarities, ssim(x, y));
    if (options.lpips) append(distances, options.lpips(x.to(DType::f32) / 127.5 - 1.0, y.to(DType::f32) / 127.5 - 1.0));
    if (options.progress) options.progress(i + n);
  }
  PairResults out{.numbers = {mean_of("psnr", ratios, "dB, mean over images; error: of the mean"),
                              mean_of("ssim", similarities, "11x11 Gaussian window of deviation 1.5, whole image; error: of the mean")},
                  .samples_id = fmt::format("{:08x}", samples_sum), .reference_id = fmt::format("{:08x}", reference_sum)};
  if (options.lpips) out.numbers.push_back(mean_of("lpips", distances, "mean over images; error: of the mean"));
  return out;
}

}  // namespace fm
