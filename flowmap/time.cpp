#include "flowmap/time.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace fm {

double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

namespace {

// Returns x with normal_below(x) = p, by bisection: it takes a few microseconds, has full precision and needs no table of coefficients.
double normal_quantile(double p) {
  double low = -9, high = 9;
  for (int i = 0; i < 60; ++i) {
    const double middle = 0.5 * (low + high);
    (normal_below(middle) < p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

double logit_normal(double uniform, double mean, double deviation, double upper) {
  const double mass = upper < 1 ? normal_below((std::log(upper / (1 - upper)) - mean) / deviation) : 1;
  return 1 / (1 + std::exp(-(mean + deviation * normal_quantile(uniform * mass))));
}

}  // namespace

double shift_for_dimension(std::int64_t dim) { return std::max(1.0, std::sqrt(static_cast<double>(dim) / 4096)); }

double TimeConfig::operator()(double uniform, std::int64_t dim) const {
  double t;
  if (distribution == "uniform") t = uniform * upper;
  else if (distribution == "logit_normal") t = logit_normal(uniform, mean, deviation, upper);
  else throw ConfigError("there is no time distribution '" + distribution + "': known are uniform and logit_normal");
  return shift_time(t, alpha(dim));
}

namespace {

enum class Kind { general, from_zero, on_diagonal };

Kind kind_at(double x, const PairConfig& config) {
  if (x < config.diagonal_share) return Kind::on_diagonal;
  return x < config.diagonal_share + config.zero_share ? Kind::from_zero : Kind::general;
}

// The kind of each row. One number in [0, 1] chooses the kind, so a row has exactly one. With exact_share the row's place in the batch gives this number:
// first come general rows (0 < s < t), then rows with s = 0, then rows with s = t. Forced rows take the last of these places and the other rows move up,
// so that the shares stay exact unless more rows are forced than diagonal_share has places.
std::vector<Kind> kinds_of(const PairConfig& config, const Draws& draws, const std::vector<bool>& forced) {
  const std::size_t n = draws.rows();
  std::vector<Kind> out;
  std::size_t place = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!forced.empty() && forced[i]) out.push_back(Kind::on_diagonal);
    else if (config.exact_share) out.push_back(kind_at(1 - (static_cast<double>(place++) + 0.5) / static_cast<double>(n), config));
    else out.push_back(kind_at(draws.uniform(Purpose::diagonal, i), config));
  }
  return out;
}

}  // namespace

Pairs draw_pairs(const PairConfig& config, const Draws& draws, std::int64_t dim, const std::vector<bool>& force_diagonal) {
  if (config.diagonal_share + config.zero_share > 1 + 1e-9)
    throw ConfigError("the shares of rows with s = t (" + std::to_string(config.diagonal_share) + ") and with s = 0 (" + std::to_string(config.zero_share) +
                      ") add up to more than 1: lower diagonal_share or zero_share");
  const std::size_t n = draws.rows();
  const std::vector<Kind> kinds = kinds_of(config, draws, force_diagonal);
  std::vector<double> s(n), t(n);
  Pairs out;
  std::vector<std::int64_t> diagonal;
  for (std::size_t i = 0; i < n; ++i) {
    const double a = config.time(draws.uniform(Purpose::time, i, 0), dim), b = config.time(draws.uniform(Purpose::time, i, 1), dim);
    s[i] = std::min(a, b);
    t[i] = std::max(a, b);
    const Kind kind = kinds[i];
    if (kind == Kind::on_diagonal) s[i] = t[i];
    if (kind == Kind::from_zero) s[i] = 0;
    if (kind != Kind::on_diagonal && config.one_share > 0 && draws.uniform(Purpose::diagonal, i, 1) < config.one_share) {
      if (kind == Kind::general) s[i] = a;
      t[i] = 1;
    }
    (s[i] < t[i] ? out.order : diagonal).push_back(static_cast<std::int64_t>(i));
  }
  out.off_diagonal = static_cast<std::int64_t>(out.order.size());
  out.order.insert(out.order.end(), diagonal.begin(), diagonal.end());
  for (std::int64_t i : out.order) {
    out.s.push_back(s[static_cast<std::size_t>(i)]);
    out.t.push_back(t[static_cast<std::size_t>(i)]);
  }
  return out;
}

Jumps PairConfig::jumps() const {
  constexpr double all = 1 - 1e-9;                  // sums such as .9 + .1 are rounded
  if (diagonal_share >= all) return Jumps::none;
  if (one_share >= all) return Jumps::from_noise;
  if (diagonal_share + zero_share >= all) return Jumps::to_data;
  return diagonal_share > 0 ? Jumps::any : Jumps::off_diagonal;
}

std::string PairConfig::varies(const std::string& keys) const {
  if (!exact_share) return "the number of rows with s < t is drawn at each step: set " + keys + ".exact_share = true";
  if (null_rows_diagonal) return "which rows have s < t depends on the labels dropped at each step: set " + keys + ".null_rows_diagonal = false";
  return "";
}

}  // namespace fm
