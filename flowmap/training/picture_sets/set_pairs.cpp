#include "flowmap/training/picture_sets/set_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/report/statistics.h"
#include "flowmap/metrics/image_similarity.h"
#include "flowmap/training/picture_sets/seen_set.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

// Sixteen images of 256x256: LPIPS keeps maps of 64 channels of each position.
constexpr std::int64_t positions_at_a_time = 1 << 20, most_pairs = 16;

std::string without_ending(const std::string& name) { return name.substr(0, name.rfind('.')); }

// The last run of digits of a name, and the name without it: "a/10" -> {"a/", 10}.
struct NumberedName {
  std::string text;
  std::string digits;                        // without zeros in front
  explicit NumberedName(const std::string& member) : text(without_ending(member)) {
    const std::size_t end = text.find_last_of("0123456789");
    if (end == std::string::npos) return;
    const std::size_t before = text.find_last_not_of("0123456789", end), begin = before == std::string::npos ? 0 : before + 1;
    digits = text.substr(begin, end + 1 - begin);
    text = text.substr(0, begin) + "#" + text.substr(end + 1);
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  }
};

// Names of a folder come in the order of their bytes. Those whose numbers have no zeros in front ("img_9.png", "img_10.png") are then not in the order of
// their numbers, in which the rows of an array usually are.
void refuse_order_of_names(const PictureSet& named) {
  for (std::int64_t i = 1; i < named.count(); ++i) {
    const NumberedName before(named.member(i - 1)), now(named.member(i));
    if (before.text == now.text && before.digits.size() > now.digits.size())
      throw ConfigError(fmt::format("pairs of {} with the rows of an array: {} comes before {}, which is not the order of their numbers: pad the names with zeros, or give both sets as folders",
                                    named.name(), named.member(i - 1), named.member(i)));
  }
}

void refuse_unpaired(const PictureSet& a, const PictureSet& b, std::int64_t limit) {
  const std::int64_t count = a.count_up_to(limit);
  if (count != b.count_up_to(limit)) throw ConfigError(fmt::format("pairs need equally many images: {} has {}, {} has {}", a.name(), count, b.name(), b.count_up_to(limit)));
  if (!a.has_names() || !b.has_names()) {
    for (const PictureSet* set : {&a, &b})
      if (set->has_names()) refuse_order_of_names(*set);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i)
    if (without_ending(a.member(i)) != without_ending(b.member(i)))
      throw ConfigError(fmt::format("pairs need equal names: image {} of {} is {}, but that of {} is {}", i, a.name(), a.member(i), b.name(), b.member(i)));
}

SetNumber mean_of(const char* name, const std::vector<double>& values, const char* settings) {
  const Statistics s = statistics(values);
  const auto bad = std::find_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); });
  if (bad != values.end()) throw Error(fmt::format("{} of pair {} is {}: its network is damaged", name, bad - values.begin(), *bad));
  const double error = values.size() > 1 ? s.deviation / std::sqrt(static_cast<double>(values.size())) : std::nan("");
  return {name, s.mean, error, settings};
}

std::int64_t pairs_at_a_time(const Image& one) {
  return std::clamp<std::int64_t>(positions_at_a_time / std::max<std::int64_t>(1, std::int64_t{one.width} * one.height), 1, most_pairs);
}

void append(std::vector<double>& to, const std::vector<double>& more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace

PairResults measured_pairs(const PictureSet& samples, const PictureSet& reference, const PairOptions& options) {
  refuse_unpaired(samples, reference, options.limit);
  std::vector<double> ratios, similarities, distances;
  std::string of_samples, of_reference;                  // contents
  const std::int64_t count = samples.count_up_to(options.limit), at_a_time = pairs_at_a_time(samples.image(0));
  for (std::int64_t i = 0; i < count; i += at_a_time) {
    check_interrupt();
    const std::int64_t n = std::min(at_a_time, count - i);
    const RgbImages a = rgb_images(samples, i, n), b = rgb_images(reference, i, n);
    const Tensor &x = a.pixels, &y = b.pixels;
    of_samples += a.contents, of_reference += b.contents;
    if (x.shape() != y.shape())
      throw FileError(fmt::format("{} of {} is {}x{} and its pair {}x{} (height x width): pairs need one size", samples.member(i), samples.name(), x.dim(2), x.dim(3), y.dim(2), y.dim(3)));
    append(ratios, psnr(x, y)), append(similarities, ssim(x, y, options.border));
    if (options.lpips) append(distances, options.lpips(x.to(DType::f32) / 127.5 - 1.0, y.to(DType::f32) / 127.5 - 1.0));
    if (options.progress) options.progress(i + n);
  }
  PairResults out{.numbers = {mean_of("psnr", ratios, "dB, mean over images; error: of the mean"),
                              mean_of("ssim", similarities, options.border == SsimBorder::full ? "11x11 Gaussian window of deviation 1.5, whole image; error: of the mean"
                                                                                               : "11x11 Gaussian window of deviation 1.5, without a border of 5 pixels; error: of the mean")},
                  .samples_id = id_of_contents(samples, count, of_samples), .reference_id = id_of_contents(reference, count, of_reference)};
  if (options.lpips) out.numbers.push_back(mean_of("lpips", distances, "mean over images; error: of the mean"));
  return out;
}

}  // namespace fm
