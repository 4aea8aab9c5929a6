// Row programs: values against naive float64 formulas, push against central differences, pull against push by inner products, on every
// instruction set; the same bits for any number of threads.
#include "tensor/kernels/cpu/rows.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/kernel_check.h"

using namespace fm;
using namespace fm::test;
using cpu::row_kernels;

namespace {

using D = Array<double>;
using Count = std::int64_t;

// ---- norms ------------------------------------------------------------------------------------------------------------------------------

struct NormCase {
  bool centered;
  Count rows, width, share;
  bool weight, bias, scale, shift;
};

// Inputs of one norm, or its tangents, or its gradients. scale and shift are columns [W, 2W) and [0, W) of a (groups, 3 W) matrix.
template <class T>
struct NormArrays {
  Array<T> x, w, b, mod;
};

NormArrays<double> norm_arrays(const NormCase& c, std::uint64_t seed) {
  return {random_array(c.rows * c.width, seed), random_array(c.width, seed + 1), random_array(c.width, seed + 2),
          random_array(c.rows / c.share * 3 * c.width, seed + 3)};
}

template <class T> rows::Norm<T> norm_args(const NormCase& c, const NormArrays<T>& in, Array<T>& mean, Array<T>& rstd) {
  mean.assign(c.rows, T(0)), rstd.assign(c.rows, T(0));
  const T* mod = in.mod.data();
  return {c.rows, c.width, T(1e-5), in.x.data(), c.weight ? in.w.data() : nullptr, c.bias ? in.b.data() : nullptr,
          c.scale ? mod + c.width : nullptr, c.shift ? mod : nullptr, {c.share, 3 * c.width}, mean.data(), rstd.data()};
}

template <class T> Array<T> norm_value(const NormCase& c, const NormArrays<T>& in) {
  Array<T> mean, rstd, y(c.rows * c.width);
  const auto args = norm_args(c, in, mean, rstd);
  const auto& k = row_kernels().of<T>();
  (c.centered ? k.layer_norm_value : k.rms_norm_value)(args, y.data());
  return y;
}

D norm_naive(const NormCase& c, const NormArrays<double>& in) {
  D y(c.rows * c.width);
  for (Count r = 0; r < c.rows; ++r) {
    const double* x = &in.x[r * c.width];
    const double* mod = &in.mod[r / c.share * 3 * c.width];
    double mean = 0, var = 0;
    if (c.centered) for (Count i = 0; i < c.width; ++i) mean += x[i] / c.width;
    for (Count i = 0; i < c.width; ++i) var += (x[i] - mean) * (x[i] - mean) / c.width;
    for (Count i = 0; i < c.width; ++i) {
      double u = (x[i] - mean) / std::sqrt(var + 1e-5);
      if (c.weight) u *= in.w[i];
      if (c.bias) u += in.b[i];
      if (c.scale) u *= 1 + mod[c.width + i];
      if (c.shift) u += mod[i];
      y[r * c.width + i] = u;
    }
  }
  return y;
}

// `parts`: which of x, weight, bias, scale, shift have a tangent.
D norm_push(const NormCase& c, const NormArrays<double>& in, const NormArrays<double>& d, bool dx, bool weights, bool modulation) {
  D mean, rstd, y(c.rows * c.width), dy(c.rows * c.width);
  const auto args = norm_args(c, in, mean, rstd);
  const auto& k = row_kernels().f64;
  (c.centered ? k.layer_norm_value : k.rms_norm_value)(args, y.data());
  rows::NormPush<double> t;
  if (dx) t.dx = d.x.data();
  if (weights && c.weight) t.dweight = d.w.data();
  if (weights && c.bias) t.dbias = d.b.data();
  if (modulation && c.scale) t.dscale = d.mod.data() + c.width;
  if (modulation && c.shift) t.dshift = d.mod.data();
  t.ld = 3 * c.width, t.dy = dy.data();
  (c.centered ? k.layer_norm_push : k.rms_norm_push)(args, t);
  return dy;
}

template <class T> NormArrays<T> norm_pull(const NormCase& c, const NormArrays<T>& in, const Array<T>& gy) {
  Array<T> mean, rstd, y(c.rows * c.width), workspace(rows::norm_workspace(c.rows, c.width, c.share));
  const auto args = norm_args(c, in, mean, rstd);
  const auto& k = row_kernels().of<T>();
  (c.centered ? k.layer_norm_value : k.rms_norm_value)(args, y.data());
  NormArrays<T> g{Array<T>(in.x.size()), Array<T>(in.w.size()), Array<T>(in.b.size()), Array<T>(in.mod.size())};
  rows::NormPull<T> t;
  t.gy = gy.data(), t.gx = g.x.data(), t.ld = 3 * c.width, t.workspace = workspace.data();
  if (c.weight) t.gweight = g.w.data();
  if (c.bias) t.gbias = g.b.data();
  if (c.scale) t.gscale = g.mod.data() + c.width;
  if (c.shift) t.gshift = g.mod.data();
  (c.centered ? k.layer_norm_pull : k.rms_norm_pull)(args, t);
  return g;
}

void check_norm(const NormCase& c) {
  const auto in = norm_arrays(c, 10), d = norm_arrays(c, 20);
  const D want = norm_naive(c, in);
  CHECK(max_difference(norm_value(c, in), want) < 1e-14);
  const NormArrays<float> in32{cast<float>(in.x), cast<float>(in.w), cast<float>(in.b), cast<float>(in.mod)};
  CHECK(max_difference(norm_value(c, in32), want) < 1e-5);

  const auto along = [&](bool dx, bool weights, bool modulation) {
    return central_difference([&](double h) {
      NormArrays<double> at = in;
      if (dx) at.x = axpy(in.x, h, d.x);
      if (weights) at.w = axpy(in.w, h, d.w), at.b = axpy(in.b, h, d.b);
      if (modulation) at.mod = axpy(in.mod, h, d.mod);
      return norm_value(c, at);
    });
  };
  CHECK(max_difference(norm_push(c, in, d, true, true, true), along(true, true, true)) < 2e-10);
  CHECK(max_difference(norm_push(c, in, d, true, false, false), along(true, false, false)) < 2e-10);
  CHECK(max_difference(norm_push(c, in, d, false, true, true), along(false, true, true)) < 1e-11);

  const D gy = random_array(c.rows * c.width, 30);
  const auto g = norm_pull(c, in, gy);
  const double left = dot(gy, norm_push(c, in, d, true, true, true));
  const double right = dot(g.x, d.x) + dot(g.w, d.w) + dot(g.b, d.b) + dot(g.mod, d.mod);
  CHECK(std::fabs(left - right) < 1e-15 * (1 + std::fabs(left)) * std::sqrt(static_cast<double>(gy.size())));
  const auto g32 = norm_pull(c, in32, cast<float>(gy));
  CHECK(max_difference(g32.x, g.x) < 5e-6);
  CHECK(max_difference(g32.w, g.w) < 2e-5);
  CHECK(max_difference(g32.mod, g.mod) < 5e-6);
}

// ---- the other programs -----------------------------------------------------------------------------------------------------------------

// push against central differences of value, pull against push.
template <class Value, class Push, class Pull>
void check_derivatives(const D& x, Count outputs, const Value& value, const Push& push, const Pull& pull) {
  const D dx = random_array(static_cast<Count>(x.size()), 5), gy = random_array(outputs, 6);
  const D dy = push(x, dx);
  CHECK(max_difference(dy, central_difference([&](double h) { return value(axpy(x, h, dx)); })) < 2e-10);
  const double left = dot(gy, dy), right = dot(pull(x, gy), dx);
  CHECK(std::fabs(left - right) < 2e-14 * (1 + std::fabs(left)));
}

template <class T> Array<T> softmax(Count rows, Count n, const Array<T>& x, bool log_form) {
  Array<T> y(x.size());
  const auto& k = row_kernels().of<T>();
  (log_form ? k.log_softmax_value : k.softmax_value)(rows, n, x.data(), y.data());
  return y;
}

template <class T> Array<T> swiglu(Count rows, Count half, const Array<T>& x) {
  Array<T> y(rows * half);
  row_kernels().of<T>().swiglu_value(rows, half, x.data(), y.data());
  return y;
}

template <class T>
Array<T> cross_entropy(Count rows, Count n, const Array<T>& x, const Count* labels, const T* p, Array<T>& sums) {
  Array<T> loss(rows);
  sums.resize(2 * rows);
  row_kernels().of<T>().cross_entropy_value({rows, n, x.data(), labels, p, sums.data(), sums.data() + rows}, loss.data());
  return loss;
}

}  // namespace

TEST_CASE("row kernels: norms and their push and pull") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (bool centered : {false, true})
      for (const NormCase& c : {NormCase{centered, 6, 37, 1, false, false, false, false},
                                NormCase{centered, 6, 37, 1, true, true, true, true},
                                NormCase{centered, 12, 48, 3, false, false, true, true},
                                NormCase{centered, 12, 7, 4, true, false, true, false},
                                NormCase{centered, 150, 33, 5, true, true, true, true},
                                NormCase{centered, 70, 16, 70, true, true, false, false},
                                NormCase{centered, 3, 1, 1, true, true, false, true}}) {
        CAPTURE(centered);
        CAPTURE(c.rows);
        CAPTURE(c.width);
        check_norm(c);
      }
  });
}

TEST_CASE("row kernels: softmax and log-softmax") {
  const Count rows = 5;
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    for (Count n : {1, 3, 17, 64, 257}) {
      CAPTURE(n);
      const D x = axpy(D(rows * n, 0.0), 5.0, random_array(rows * n, 1));
      D want(rows * n), want_log(rows * n);
      for (Count r = 0; r < rows; ++r) {
        double sum = 0;
        for (Count i = 0; i < n; ++i) sum += std::exp(x[r * n + i]);
        for (Count i = 0; i < n; ++i) want[r * n + i] = std::exp(x[r * n + i]) / sum, want_log[r * n + i] = x[r * n + i] - std::log(sum);
      }
      CHECK(max_difference(softmax(rows, n, x, false), want) < 1e-15);
      CHECK(max_difference(softmax(rows, n, x, true), want_log) < 1e-14);
      CHECK(max_difference(softmax(rows, n, cast<float>(x), false), want) < 5e-7);
      CHECK(max_difference(softmax(rows, n, cast<float>(x), true), want_log) < 5e-6);
      const auto& k = row_kernels().f64;
      for (bool log_form : {false, true}) {
        const auto derivative = [&](auto f) {
          return [&, f](const D& at, const D& d) {
            const D y = softmax(rows, n, at, log_form);
            D out(d.size());
            f(rows, n, y.data(), d.data(), out.data());
            return out;
          };
        };
        check_derivatives(x, rows * n, [&](const D& at) { return softmax(rows, n, at, log_form); },
                          derivative(log_form ? k.log_softmax_push : k.softmax_push),
                          derivative(log_form ? k.log_softmax_pull : k.softmax_pull));
      }
    }
    Array<float> far{1e30f, -1e30f, 1e30f, 0.0f};
    CHECK(softmax(1, 4, far, false) == Array<float>{0.5f, 0.0f, 0.5f, 0.0f});
  });
}

TEST_CASE("row kernels: SwiGLU") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (Count half : {1, 5, 24, 67}) {
      const Count rows = 4;
      const D x = axpy(D(rows * 2 * half, 0.0), 6.0, random_array(rows * 2 * half, 1));
      D want(rows * half);
      for (Count r = 0; r < rows; ++r)
        for (Count i = 0; i < half; ++i) {
          const double a = x[2 * r * half + i], b = x[(2 * r + 1) * half + i];
          want[r * half + i] = a / (1 + std::exp(-a)) * b;
        }
      CHECK(max_difference(swiglu(rows, half, x), want) < 1e-13);
      CHECK(max_difference(swiglu(rows, half, cast<float>(x)), want) < 2e-5);
      check_derivatives(x, rows * half, [&](const D& at) { return swiglu(rows, half, at); },
                        [&](const D& at, const D& dx) {
                          D dy(rows * half);
                          row_kernels().f64.swiglu_push(rows, half, at.data(), dx.data(), dy.data());
                          return dy;
                        },
                        [&](const D& at, const D& gy) {
                          D gx(at.size());
                          row_kernels().f64.swiglu_pull(rows, half, at.data(), gy.data(), gx.data());
                          return gx;
                        });
    }
  });
}

TEST_CASE("row kernels: gated residual") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (Count share : {1, 3, 12}) {
      const Count rows = 12, n = 19, ld = 3 * n, ld_tangent = n + 2, groups = rows / share;
      const D x = random_array(rows * n, 1), h = random_array(rows * n, 2), gate = random_array(groups * ld, 3);
      const D dx = random_array(rows * n, 4), dh = random_array(rows * n, 5), dgate = random_array(groups * ld_tangent, 6);
      const rows::Gated<double> args{rows, n, x.data(), h.data(), gate.data() + n, {share, ld}};
      const auto& k = row_kernels().f64;
      D y(rows * n), dy(rows * n), gh(rows * n), ggate(groups * ld_tangent);
      k.gated_value(args, y.data());
      const auto g_at = [&](Count r, Count i) { return gate[r / share * ld + n + i]; };
      const auto dg_at = [&](Count r, Count i) { return dgate[r / share * ld_tangent + i]; };
      const auto want = [&](bool has_x, bool has_h, bool has_gate) {
        D out(rows * n);
        for (Count r = 0; r < rows; ++r)
          for (Count i = 0; i < n; ++i) {
            const Count j = r * n + i;
            out[j] = (has_x ? dx[j] : 0) + (has_h ? g_at(r, i) * dh[j] : 0) + (has_gate ? dg_at(r, i) * h[j] : 0);
          }
        return out;
      };
      for (Count r = 0; r < rows; ++r)
        for (Count i = 0; i < n; ++i) CHECK(std::fabs(y[r * n + i] - (x[r * n + i] + g_at(r, i) * h[r * n + i])) < 1e-15);
      for (int mask = 0; mask < 8; ++mask) {
        k.gated_push(args, mask & 1 ? dx.data() : nullptr, mask & 2 ? dh.data() : nullptr, mask & 4 ? dgate.data() : nullptr, ld_tangent,
                     dy.data());
        CHECK(max_difference(dy, want(mask & 1, mask & 2, mask & 4)) < 1e-15);
      }
      const D gy = random_array(rows * n, 7);
      k.gated_pull(args, gy.data(), gh.data(), ggate.data(), ld_tangent);
      const double left = dot(gy, want(true, true, true)), right = dot(gy, dx) + dot(gh, dh) + dot(ggate, dgate);
      CHECK(std::fabs(left - right) < 2e-14 * (1 + std::fabs(left)));
    }
  });
}

TEST_CASE("row kernels: cross-entropy of logits") {
  const Count rows = 6;
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    for (Count n : {1, 10, 37}) {
      const D x = axpy(D(rows * n, 0.0), 4.0, random_array(rows * n, 1));
      const D p = axpy(D(rows * n, 0.6), 0.5, random_array(rows * n, 2));  // soft labels, which need not sum to one
      Array<Count> labels(rows);
      for (Count r = 0; r < rows; ++r) labels[r] = r * 7 % n;
      D onehot(rows * n, 0.0);
      for (Count r = 0; r < rows; ++r) onehot[r * n + labels[r]] = 1;
      for (bool hard : {false, true}) {
        const D& target = hard ? onehot : p;
        D want(rows), sums;
        for (Count r = 0; r < rows; ++r) {
          double sum = 0;
          for (Count i = 0; i < n; ++i) sum += std::exp(x[r * n + i]);
          for (Count i = 0; i < n; ++i) want[r] -= target[r * n + i] * (x[r * n + i] - std::log(sum));
        }
        const Count* integer = hard ? labels.data() : nullptr;
        const double* soft = hard ? nullptr : p.data();
        CHECK(max_difference(cross_entropy(rows, n, x, integer, soft, sums), want) < 1e-12);
        Array<float> sums32;
        const Array<float> p32 = cast<float>(p);
        CHECK(max_difference(cross_entropy(rows, n, cast<float>(x), integer, hard ? nullptr : p32.data(), sums32), want) < 1e-4);
        check_derivatives(x, rows, [&](const D& at) { D unused; return cross_entropy(rows, n, at, integer, soft, unused); },
                          [&](const D& at, const D& dx) {
                            D dloss(rows);
                            cross_entropy(rows, n, at, integer, soft, sums);
                            row_kernels().f64.cross_entropy_push({rows, n, at.data(), integer, soft, sums.data(), sums.data() + rows}, dx.data(), dloss.data());
                            return dloss;
                          },
                          [&](const D& at, const D& g) {
                            D gx(at.size());
                            cross_entropy(rows, n, at, integer, soft, sums);
                            row_kernels().f64.cross_entropy_pull({rows, n, at.data(), integer, soft, sums.data(), sums.data() + rows}, g.data(), gx.data());
                            return gx;
                          });
      }
    }
  });
}

TEST_CASE("row kernels: RoPE on packed qkv rows") {
  const Count batch = 2, tokens = 5, heads = 3;
  each_isa([&](const std::string& isa) {
    CAPTURE(isa);
    for (Count dim : {2, 8, 24, 72}) {
      const Count n = batch * tokens * 3 * heads * dim;
      D c(tokens * dim), s(tokens * dim), want(n), y(n), gx(n);
      for (Count t = 0; t < tokens; ++t)
        for (Count i = 0; i < dim; ++i) c[t * dim + i] = std::cos(0.3 * t * (i / 2 + 1)), s[t * dim + i] = std::sin(0.3 * t * (i / 2 + 1));
      const D x = random_array(n, 1), gy = random_array(n, 2);
      for (Count i = 0; i < n; i += 2) {
        const Count t = i / (3 * heads * dim) % tokens, part = i / (heads * dim) % 3;
        const double angle = part < 2 ? 0.3 * t * (i % dim / 2 + 1) : 0;
        want[i] = x[i] * std::cos(angle) - x[i + 1] * std::sin(angle);
        want[i + 1] = x[i + 1] * std::cos(angle) + x[i] * std::sin(angle);
      }
      row_kernels().f64.rope_value({batch, tokens, 3, 2, heads, dim, c.data(), s.data()}, x.data(), y.data());
      CHECK(max_difference(y, want) < 2e-15);
      row_kernels().f64.rope_pull({batch, tokens, 3, 2, heads, dim, c.data(), s.data()}, gy.data(), gx.data());
      CHECK(std::fabs(dot(gy, y) - dot(gx, x)) < 2e-13);
      Array<float> y32 = cast<float>(x);
      const Array<float> c32 = cast<float>(c), s32 = cast<float>(s);
      row_kernels().f32.rope_value({batch, tokens, 3, 2, heads, dim, c32.data(), s32.data()}, y32.data(), y32.data());
      CHECK(max_difference(y32, want) < 1e-6);
      row_kernels().f64.rope_pull({batch, tokens, 3, 2, heads, dim, c.data(), s.data()}, y.data(), y.data());  // rotates back
      CHECK(max_difference(y, x) < 3e-15);
    }
  });
}

TEST_CASE("row kernels: the same bits for any number of threads") {
  const NormCase c{true, 600, 131, 3, true, true, true, true};
  const auto in = norm_arrays(c, 10);
  const NormArrays<float> in32{cast<float>(in.x), cast<float>(in.w), cast<float>(in.b), cast<float>(in.mod)};
  const auto gy = random_array<float>(c.rows * c.width, 3);
  CHECK(same_for_any_threads([&] { return norm_value(c, in32); }));
  CHECK(same_for_any_threads([&] {
    auto g = norm_pull(c, in32, gy);
    for (const auto& part : {g.w, g.b, g.mod}) g.x.insert(g.x.end(), part.begin(), part.end());
    return g.x;
  }));
  CHECK(same_for_any_threads([&] { return softmax(c.rows, c.width, in32.x, false); }));
  CHECK(same_for_any_threads([&] {
    Array<float> gh(gy.size()), ggate(200 * c.width);
    row_kernels().f32.gated_pull({c.rows, c.width, nullptr, in32.x.data(), in32.mod.data(), {3, 3 * c.width}}, gy.data(), gh.data(),
                                 ggate.data(), c.width);
    gh.insert(gh.end(), ggate.begin(), ggate.end());
    return gh;
  }));
}
