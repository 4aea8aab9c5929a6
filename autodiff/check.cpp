#include "autodiff/check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tensor/random/fill.h"

namespace fm {
namespace {

using Tensors = std::vector<Tensor>;

double dot(const Tensor& a, const Tensor& b) { return sum(mul(a, b)).item(); }
double absolute_dot(const Tensor& a, const Tensor& b) { return sum(abs(mul(a, b))).item(); }

// The largest difference, relative to the largest number on either side.
CheckReport compare(const std::string& check, const Tensor& computed, const Tensor& expected, double tolerance) {
  CheckReport r{check, 0, 0, 0, tolerance};
  if (computed.shape() != expected.shape())
    throw AutodiffError(check + ": shape " + to_string(computed.shape()) + " where " + to_string(expected.shape()) + " was expected");
  const auto a = computed.to_vector<double>(), b = expected.to_vector<double>();
  double scale = 0, worst = -1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    scale = std::max({scale, std::abs(a[i]), std::abs(b[i])});
    const double d = std::abs(a[i] - b[i]);
    if (d <= worst) continue;
    worst = d;
    r.computed = a[i];
    r.expected = b[i];
    if (std::isnan(d)) break;
  }
  r.error = worst <= 0 ? 0 : worst / scale;
  if (std::isnan(worst)) r.error = worst;
  return r;
}

CheckReport compare(const std::string& check, double computed, double expected, double scale, double tolerance) {
  const double d = std::abs(computed - expected);
  return {check, computed, expected, d == 0 ? 0 : d / scale, tolerance};
}

CheckReport passed(const CheckReport& r) {
  if (!r.passed()) throw AutodiffError(r.to_string());
  return r;
}

std::string title(const char* check, const CheckOptions& o, const Tensors& inputs) {
  std::string s = std::string(check) + " of " + o.name + " at ";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    s += (i ? " " : "") + to_string(inputs[i].shape());
    if (!o.tangents.empty()) s += o.tangents[i] ? "'" : "";
  }
  return s;
}

bool has_tangent(const CheckOptions& o, std::size_t i) { return o.tangents.empty() || o.tangents.at(i); }

// Random directions, undefined for inputs without tangent.
Tensors directions(const Tensors& inputs, const CheckOptions& o, std::uint64_t stream) {
  Tensors d(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].dtype() != DType::f64) throw DTypeError("gradient check of " + o.name + ": inputs must be f64, one is " + name_of(inputs[i].dtype()));
    if (has_tangent(o, i)) d[i] = sample_normal(inputs[i].shape(), 1000 * o.seed + 10 * stream + 100000 * (i + 1));
  }
  return d;
}

Tensors moved(const Tensors& x, const Tensors& d, double h) {
  Tensors out = x;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (d[i].defined()) out[i] = x[i] + h * d[i];
  return out;
}

std::vector<Var> vars(const Tensors& x) { return {x.begin(), x.end()}; }

std::vector<Var> with_tangents(std::vector<Var> x, const std::vector<Var>& dx) {
  for (std::size_t i = 0; i < x.size(); ++i)
    if (dx[i].defined()) x[i] = x[i].with_tangent(dx[i]);
  return x;
}

struct ValueAndTangent { Tensor y, dy; };

ValueAndTangent constant_jvp(const CheckedFunction& f, const Tensors& x, const Tensors& dx) {
  const detail::TangentScope scope(TangentMode::constant);
  const Var y = f(with_tangents(vars(x), vars(dx)));
  return {y.value(), y.full_tangent()};
}

// Fourth-order central difference of a function of the step.
template <class F> auto difference(F&& at, double h) {
  return (1 / (12 * h)) * (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h)));
}

// Cotangents of <e, y> + <g, dy> for inputs and tangents, from one recorded jvp.
struct Taped { Tensor dy; Tensors gx, gdx; };

Taped taped_jvp(const CheckedFunction& f, const Tensors& x, const Tensors& dx, const Tensor& e, const Tensor& g) {
  Tape tape;
  std::vector<Var> leaves, tangents(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    leaves.push_back(tape.variable(x[i]));
    if (dx[i].defined()) tangents[i] = tape.variable(dx[i]);
  }
  Var y;
  {
    const detail::TangentScope scope(TangentMode::taped);
    y = f(with_tangents(leaves, tangents));
  }
  std::vector<std::pair<Var, Tensor>> seeds{{y.without_tangent(), e}};
  if (y.has_tangent()) seeds.push_back({y.tangent(), y.tangent().rank() ? g.slice(0, 0, y.tangent().dim(0)) : g});
  const Gradients all = tape.backward(seeds);
  Taped out{y.full_tangent(), Tensors(x.size()), Tensors(x.size())};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto or_zero = [&](const Var& leaf) { return all[leaf].defined() ? all[leaf] : Tensor::zeros(leaf.shape(), DType::f64); };
    out.gx[i] = or_zero(leaves[i]);
    if (tangents[i].defined()) out.gdx[i] = or_zero(tangents[i]);
  }
  return out;
}

}  // namespace

std::string CheckReport::to_string() const {
  char numbers[160];
  std::snprintf(numbers, sizeof numbers, ": %.10g, expected %.10g; relative error %.2e (tolerance %.0e)", computed, expected, error, tolerance);
  return check + numbers;
}

CheckReport check_push(const CheckedFunction& f, const Tensors& inputs, const CheckOptions& o) {
  const Tensors d = directions(inputs, o, 1);
  const auto [y, dy] = constant_jvp(f, inputs, d);
  const std::string name = title("check_push", o, inputs);
  passed(compare(name + " (value with tangents against value alone)", y, f(vars(inputs)).value(), 1e-14));
  return passed(compare(name, dy, difference([&](double h) { return f(vars(moved(inputs, d, h))).value(); }, o.step), o.push_tolerance));
}

CheckReport check_pull(const CheckedFunction& f, const Tensors& inputs, const CheckOptions& o) {
  const Tensors d = directions(inputs, o, 2);
  const Tensor dy = constant_jvp(f, inputs, d).dy, gy = sample_normal(dy.shape(), o.seed + 7);
  Tape tape;
  std::vector<Var> leaves;
  for (std::size_t i = 0; i < inputs.size(); ++i) leaves.push_back(d[i].defined() ? tape.variable(inputs[i]) : Var(inputs[i]));
  const Gradients g = tape.backward({{f(leaves), gy}});
  double pulled = 0, scale = absolute_dot(gy, dy);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!d[i].defined() || !g[leaves[i]].defined()) continue;
    const Tensor& gx = g[leaves[i]];
    if (gx.shape() != inputs[i].shape())
      throw AutodiffError(title("check_pull", o, inputs) + ": the cotangent of input " + std::to_string(i) + " has another shape than the input: " + to_string(gx.shape()));
    pulled += dot(gx, d[i]);
    scale += absolute_dot(gx, d[i]);
  }
  return passed(compare(title("check_pull", o, inputs), pulled, dot(gy, dy), scale, o.pull_tolerance));
}

CheckReport check_taped(const CheckedFunction& f, const Tensors& inputs, const CheckOptions& o) {
  const Tensors dx = directions(inputs, o, 3);
  const auto [y, dy] = constant_jvp(f, inputs, dx);
  const Tensor e = sample_normal(y.shape(), o.seed + 8), g = sample_normal(y.shape(), o.seed + 9);
  const Taped t = taped_jvp(f, inputs, dx, e, g);
  const std::string name = title("check_taped", o, inputs);
  passed(compare(name + " (taped tangent against constant tangent)", t.dy, dy, o.rows_tolerance));

  // All inputs and all tangents move at once.
  CheckOptions everything = o;
  everything.tangents.clear();
  const Tensors mx = directions(inputs, everything, 4), mdx = directions(inputs, o, 5);
  double pulled = 0, scale = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    pulled += dot(t.gx[i], mx[i]);
    scale += absolute_dot(t.gx[i], mx[i]);
    if (!dx[i].defined()) continue;
    pulled += dot(t.gdx[i], mdx[i]);
    scale += absolute_dot(t.gdx[i], mdx[i]);
  }
  const double expected = difference([&](double h) {
    const auto at = constant_jvp(f, moved(inputs, mx, h), moved(dx, mdx, h));
    return dot(e, at.y) + dot(g, at.dy);
  }, o.step);
  return passed(compare(name, pulled, expected, scale + std::abs(expected), o.taped_tolerance));
}

CheckReport check_rows(const CheckedFunction& f, const Tensors& inputs, const CheckOptions& o) {
  Tensors part = directions(inputs, o, 6), full = part;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!part[i].defined() || part[i].rank() == 0) continue;
    const std::int64_t n = part[i].dim(0), k = std::min(o.rows, n);
    part[i] = part[i].slice(0, 0, k).contiguous();
    full[i] = pad(part[i], 0, 0, n - k);
  }
  const std::string name = title("check_rows", o, inputs) + " with " + std::to_string(o.rows) + " rows";
  const auto a = constant_jvp(f, inputs, part), b = constant_jvp(f, inputs, full);
  passed(compare(name + " (value)", a.y, b.y, 1e-14));
  const CheckReport r = passed(compare(name, a.dy, b.dy, o.rows_tolerance));

  const Tensor e = sample_normal(a.y.shape(), o.seed + 11), g = sample_normal(a.y.shape(), o.seed + 12);
  const Taped p = taped_jvp(f, inputs, part, e, g), q = taped_jvp(f, inputs, full, e, g);
  passed(compare(name + " (taped)", p.dy, q.dy, o.rows_tolerance));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    passed(compare(name + " (taped, cotangent of input " + std::to_string(i) + ")", p.gx[i], q.gx[i], o.rows_tolerance));
    if (!part[i].defined()) continue;
    const Tensor wanted = part[i].rank() ? q.gdx[i].slice(0, 0, part[i].dim(0)) : q.gdx[i];
    passed(compare(name + " (taped, cotangent of tangent " + std::to_string(i) + ")", p.gdx[i], wanted, o.rows_tolerance));
  }
  return r;
}

std::vector<CheckReport> check_all(const CheckedFunction& f, const Tensors& inputs, const CheckOptions& options) {
  std::vector<CheckReport> reports;
  std::int64_t most = 1;
  for (const Tensor& x : inputs) most = std::max(most, x.rank() ? x.dim(0) : 1);
  std::vector<std::vector<bool>> choices{std::vector<bool>(inputs.size(), true)};
  for (std::size_t i = 0; i < inputs.size() && inputs.size() > 1; ++i) {
    std::vector<bool> one(inputs.size(), false), others(inputs.size(), true);
    one[i] = true;
    others[i] = false;
    choices.push_back(one);
    if (inputs.size() > 2) choices.push_back(others);
  }
  for (const auto& choice : choices) {
    CheckOptions o = options;
    o.tangents = choice;
    reports.push_back(check_push(f, inputs, o));
    reports.push_back(check_pull(f, inputs, o));
    reports.push_back(check_taped(f, inputs, o));
    for (o.rows = 1; o.rows < most; ++o.rows) reports.push_back(check_rows(f, inputs, o));
  }
  return reports;
}

Tensor sample_normal(const Shape& shape, std::uint64_t seed, DType dtype) {
  return random_normal(shape, {seed, 0}, 0, DType::f64).to(dtype);
}

Tensor sample_uniform(const Shape& shape, double low, double high, std::uint64_t seed, DType dtype) {
  return affine(random_uniform(shape, {seed, 0}, 0, DType::f64), high - low, low).to(dtype);
}

}  // namespace fm
