#include "flowmap/metrics/statistics_file.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <span>
#include <vector>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/npy.h"

namespace fm {
namespace {

constexpr double asymmetry = 1e-5;  // of the largest variance: sums in f32 differ by less

// Returns the fault of a mean and a covariance, or an empty text.
std::string fault_of(const Tensor& mean, const Tensor& covariance) {
  if (mean.rank() != 1 || mean.numel() == 0 || covariance.shape() != Shape{mean.dim(0), mean.dim(0)})
    return "mean " + to_string(mean.shape()) + " and covariance " + to_string(covariance.shape()) + " are not (D) and (D, D)";
  if (first_row_not_finite(mean) >= 0) return "the mean is not finite at feature " + std::to_string(first_row_not_finite(mean));
  if (const std::int64_t row = first_row_not_finite(covariance); row >= 0)
    return "the covariance is not finite in row " + std::to_string(row);
  const std::int64_t n = mean.dim(0);
  const double* s = covariance.data<double>();
  double largest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (s[i * n + i] < 0) return "the variance of feature " + std::to_string(i) + " is negative";
    largest = std::max(largest, s[i * n + i]);
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < i; ++j)
      if (std::abs(s[i * n + j] - s[j * n + i]) > asymmetry * largest)
        return "the covariance is not symmetric at row " + std::to_string(i) + ", column " + std::to_string(j);
  return "";
}

class StatisticsReader {
 public:
  explicit StatisticsReader(const std::filesystem::path& path) : path_(path.string()), npz_(path) {}

  FeatureStatistics read() const {
    FeatureStatistics out{.count = count()};
    const bool other_names = !npz_.has("mu") && !npz_.has("sigma");
    out.features = other_names ? fit("ref_mu", "ref_sigma", out.count) : fit("mu", "sigma", out.count);
    out.spatial = fit("mu_s", "sigma_s", out.count);
    out.network = text("network"), out.convention = text("convention"), out.fingerprint = text("fingerprint");
    out.has_images = npz_.has("arr_0");
    if (!out.features && !out.has_images) npz_.read("mu");  // throws the error that lists the arrays of the file
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const { throw FileError(path_ + ": " + reason + ": compute the statistics again"); }

  Tensor numbers(const char* name) const {
    const Tensor x = npz_.read(name);
    if (x.dtype() != DType::f32 && x.dtype() != DType::f64)
      fail(std::string(name) + " has elements of " + name_of(x.dtype()) + ", not f32 or f64");
    return x.to(DType::f64).contiguous();
  }

  std::optional<GaussianFit> fit(const char* mean_name, const char* covariance_name, const std::optional<std::int64_t>& samples) const {
    if (!npz_.has(mean_name) && !npz_.has(covariance_name)) return {};
    const Tensor mean = numbers(mean_name), covariance = numbers(covariance_name);
    if (const std::string fault = fault_of(mean, covariance); !fault.empty())
      fail(std::string(mean_name) + ", " + covariance_name + ": " + fault);
    const Tensor halves = covariance.clone();
    const std::int64_t n = mean.dim(0);
    const double* s = covariance.data<double>();
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) halves.data<double>()[i * n + j] = (s[i * n + j] + s[j * n + i]) / 2;
    return GaussianFit{mean, halves, samples.value_or(0)};
  }

  std::optional<std::int64_t> count() const {
    if (!npz_.has("count")) return {};
    const Tensor x = npz_.read("count");
    if (x.numel() != 1 || is_floating(x.dtype())) fail("count is not one integer");
    const std::int64_t value = x.to_vector<std::int64_t>()[0];
    if (value < 2) fail("count is " + std::to_string(value) + ", but a covariance needs 2 samples or more");
    return value;
  }

  std::string text(const char* name) const {
    if (!npz_.has(name)) return "";
    const Tensor x = npz_.read(name);
    if (x.rank() != 1 || x.dtype() != DType::u8) fail(std::string(name) + " is not a text of u8");
    const std::vector<std::uint8_t> bytes = x.to_vector<std::uint8_t>();
    return {bytes.begin(), bytes.end()};
  }

  std::string path_;
  NpzReader npz_;
};

void refuse_pickle(const std::filesystem::path& path) {
  if (std::ifstream(path, std::ios::binary).peek() != 0x80) return;
  throw FileError(path.string() +
                  ": a pickle, which is not executed here: convert it in Python, for example EDM2's by d = pickle.load(open(...)); "
                  "numpy.savez('statistics.npz', count=d['num_images'], **d['fid'])");
}

void refuse_other(const std::filesystem::path& path, const char* what, const std::string& stored, const std::string& wanted) {
  if (stored.empty() || stored == wanted) return;
  throw FileError(path.string() + ": the " + what + " of these statistics is " + in_quotes(stored) + ", not " + in_quotes(wanted) +
                  ": use statistics of the same " + what + ", or compute them");
}

void add_fit(NpzWriter& npz, const std::string& mean_name, const std::string& covariance_name, const GaussianFit& fit) {
  const Tensor mean = fit.mean.to(Device{}).to(DType::f64).contiguous(),
               covariance = fit.covariance.to(Device{}).to(DType::f64).contiguous();
  if (const std::string fault = fault_of(mean, covariance); !fault.empty())
    throw Error("write_statistics: " + mean_name + ", " + covariance_name + ": " + fault);
  npz.add(mean_name, {mean.dim(0)}, std::span<const double>(mean.data<double>(), static_cast<std::size_t>(mean.numel())));
  npz.add(covariance_name, {mean.dim(0), mean.dim(0)},
          std::span<const double>(covariance.data<double>(), static_cast<std::size_t>(covariance.numel())));
}

std::optional<std::int64_t> count_to_write(const FeatureStatistics& statistics) {
  const std::int64_t of_fit = statistics.features->count;
  if (statistics.count && of_fit != 0 && *statistics.count != of_fit)
    throw Error("write_statistics: the count is " + std::to_string(*statistics.count) + ", but the fit is of " + std::to_string(of_fit) +
                " samples");
  if (!statistics.count && of_fit == 0) return {};
  return statistics.count.value_or(of_fit);
}

}  // namespace

FeatureStatistics read_statistics(const std::filesystem::path& path) {
  refuse_pickle(path);
  return StatisticsReader(path).read();
}

FeatureStatistics read_statistics_of(const std::filesystem::path& path, const std::string& network, const std::string& convention) {
  FeatureStatistics out = read_statistics(path);
  if (!out.features)
    throw FileError(path.string() + ": it has images (arr_0), but no statistics mu and sigma: compute them from the images");
  refuse_other(path, "network", out.network, network);
  refuse_other(path, "convention", out.convention, convention);
  return out;
}

void write_statistics(const std::filesystem::path& path, const FeatureStatistics& statistics) {
  if (!statistics.features) throw Error("write_statistics: no mean and covariance were given for " + path.string());
  const std::optional<std::int64_t> count = count_to_write(statistics);
  NpzWriter npz(path);
  add_fit(npz, "mu", "sigma", *statistics.features);
  if (statistics.spatial) add_fit(npz, "mu_s", "sigma_s", *statistics.spatial);
  if (count) npz.add("count", {}, std::vector<std::int64_t>{*count});
  const auto add_text = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) npz.add(name, {static_cast<std::int64_t>(text.size())}, std::vector<std::uint8_t>(text.begin(), text.end()));
  };
  add_text("network", statistics.network), add_text("convention", statistics.convention), add_text("fingerprint", statistics.fingerprint);
  npz.finish();
}

}  // namespace fm
