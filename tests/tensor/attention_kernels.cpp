// Streaming attention: value against naive float64, tangent against central differences, gradients against the tangent by inner products;
// separate and packed layouts, several blocks of queries and keys, every instruction set, any number of threads.
#include "tensor/kernels/cpu/attention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "tests/support/kernel_check.h"

using namespace fm;
using namespace fm::test;
using cpu::Attention;
using cpu::Heads;

namespace {

using D = Array<double>;
using Count = std::int64_t;

struct Shape {
  Count batch, heads, queries, keys, dim;
  bool packed = false;  // q, k, v are parts of one (B, N, 3, H, D) array
  double spread = 1;    // range of q and k
  double scale() const { return 1 / std::sqrt(static_cast<double>(dim)); }
  Count q_size() const { return batch * heads * queries * dim; }
  Count k_size() const { return batch * heads * keys * dim; }
};

// q, k, v in one array: one after another, each (B, N, H, D), or packed.
Count inputs_size(const Shape& s) { return s.q_size() + 2 * s.k_size(); }
template <class T> std::array<Heads<T>, 3> parts(const Shape& s, T* data) {
  const Count row = s.heads * s.dim;
  if (s.packed) {
    std::array<Heads<T>, 3> out;
    for (int i = 0; i < 3; ++i) out[i] = {data + i * row, s.queries * 3 * row, s.dim, 3 * row};
    return out;
  }
  T* k = data + s.q_size();
  return {Heads<T>{data, s.queries * row, s.dim, row}, Heads<T>{k, s.keys * row, s.dim, row},
          Heads<T>{k + s.k_size(), s.keys * row, s.dim, row}};
}
template <class T> Heads<T> output(const Shape& s, T* o) { return {o, s.queries * s.heads * s.dim, s.dim, s.heads * s.dim}; }

template <class T> Attention<T> arguments(const Shape& s, const Array<T>& in, Array<T>& o, Array<T>& sums) {
  o.assign(s.q_size(), T(77));
  sums.assign(2 * s.batch * s.heads * s.queries, T(77));
  const auto [q, k, v] = parts<const T>(s, in.data());
  return {s.batch, s.heads, s.queries, s.keys, s.dim, T(s.scale()), q, k, v, output(s, o.data()), sums.data()};
}

// Returns log sum exp of the scores of every query. The saved sums hold, for every head, a row of maxima in units of log 2 and a row of sums.
template <class T> void append_lse(const Shape& s, const Array<T>& sums, Array<T>& o) {
  for (Count head = 0; head < s.batch * s.heads; ++head)
    for (Count i = 0; i < s.queries; ++i) {
      const T* top = &sums[2 * head * s.queries + i];
      o.push_back(static_cast<T>(double(*top) * std::log(2.0) + std::log(double(top[s.queries]))));
    }
}

template <class T> Array<T> forward(const Shape& s, const Array<T>& in) {
  Array<T> o, sums;
  cpu::attention_kernels().of<T>().forward(arguments(s, in, o, sums));
  append_lse(s, sums, o);
  return o;
}

// Bits of mask: whether q, k, v have a tangent. Returns (o, lse, do).
template <class T> Array<T> tangent(const Shape& s, const Array<T>& in, const Array<T>& din, int mask = 7) {
  Array<T> o, sums, d_o(s.q_size(), T(77));
  const auto args = arguments(s, in, o, sums);
  auto d = parts<const T>(s, din.data());
  for (int i = 0; i < 3; ++i)
    if (!(mask >> i & 1)) d[i].data = nullptr;
  cpu::attention_kernels().of<T>().forward_tangent(args, {d[0], d[1], d[2], output(s, d_o.data())});
  append_lse(s, sums, o);
  o.insert(o.end(), d_o.begin(), d_o.end());
  return o;
}

// Gradients of the inputs, in their layout; those excluded by mask stay zero.
template <class T> Array<T> backward(const Shape& s, const Array<T>& in, const Array<T>& go, int mask = 7) {
  Array<T> o, sums, g(in.size(), T(0));
  const auto args = arguments(s, in, o, sums);
  cpu::attention_kernels().of<T>().forward(args);
  auto out = parts<T>(s, g.data());
  for (int i = 0; i < 3; ++i)
    if (!(mask >> i & 1)) out[i].data = nullptr;
  cpu::attention_kernels().of<T>().backward(args, {output(s, go.data()), out[0], out[1], out[2]});
  return g;
}

D naive(const Shape& s, const D& in) {
  const auto [q, k, v] = parts<const double>(s, in.data());
  D o(s.q_size(), 0.0), lses;
  D p(s.keys);
  for (Count b = 0; b < s.batch; ++b)
    for (Count h = 0; h < s.heads; ++h)
      for (Count i = 0; i < s.queries; ++i) {
        double top = -HUGE_VAL, sum = 0;
        for (Count j = 0; j < s.keys; ++j) {
          p[j] = 0;
          for (Count d = 0; d < s.dim; ++d) p[j] += s.scale() * q.at(b, h)[i * q.token + d] * k.at(b, h)[j * k.token + d];
          top = std::max(top, p[j]);
        }
        for (Count j = 0; j < s.keys; ++j) sum += p[j] = std::exp(p[j] - top);
        double* out = output(s, o.data()).at(b, h) + i * s.heads * s.dim;
        for (Count j = 0; j < s.keys; ++j)
          for (Count d = 0; d < s.dim; ++d) out[d] += p[j] / sum * v.at(b, h)[j * v.token + d];
        lses.push_back(top + std::log(sum));
      }
  o.insert(o.end(), lses.begin(), lses.end());
  return o;
}

D inputs(const Shape& s, std::uint64_t seed) {
  D x = random_array(inputs_size(s), seed);
  for (double& v : x) v *= s.spread;
  return x;
}

const Shape small_shapes[] = {{1, 1, 1, 1, 1},    {1, 2, 5, 7, 3},           {2, 3, 16, 16, 32, true}, {1, 2, 50, 49, 24},
                              {1, 2, 33, 33, 72, true}, {1, 1, 9, 700, 17}, {1, 1, 13, 385, 128},       {2, 1, 70, 5, 64},
                              {1, 1, 8, 40, 8, false, 30}};
const Shape large_shapes[] = {{2, 2, 257, 257, 72, true}, {1, 2, 256, 256, 64, true}, {1, 1, 300, 1000, 24}};

void check_value(const Shape& s) {
  const D in = inputs(s, 1), want = naive(s, in);
  CHECK(max_difference(forward(s, in), want) < 1e-14 * (1 + s.spread * s.spread));
  CHECK(max_difference(forward(s, cast<float>(in)), want) < 1e-6 * (1 + s.spread * s.spread));
}

}  // namespace

TEST_CASE("attention kernels: value") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (const Shape& s : small_shapes) {
      CAPTURE(s.queries);
      CAPTURE(s.keys);
      check_value(s);
    }
    for (const Shape& s : large_shapes) check_value(s);
  });
}

TEST_CASE("attention kernels: tangent and gradients") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (Shape s : small_shapes) {
      s.spread = 1;
      CAPTURE(s.queries);
      CAPTURE(s.keys);
      const D in = inputs(s, 1), din = inputs(s, 2), go = random_array(s.q_size(), 3);
      const D g = backward(s, in, go);
      for (int mask = 0; mask < 8; ++mask) {
        CAPTURE(mask);
        D masked(din.size(), 0.0);  // din where the mask has a tangent
        const auto from = parts<const double>(s, din.data());
        const auto to = parts<double>(s, masked.data());
        for (int i = 0; i < 3; ++i)
          for (Count b = 0; b < s.batch; ++b)
            for (Count n = 0; n < (i ? s.keys : s.queries); ++n)
              for (Count c = 0; c < s.heads * s.dim && (mask >> i & 1); ++c)
                to[i].at(b, 0)[n * to[i].token + c] = from[i].at(b, 0)[n * from[i].token + c];

        const D all = tangent(s, in, din, mask);
        const D value(all.begin(), all.end() - s.q_size()), d_o(all.end() - s.q_size(), all.end());
        CHECK(value == forward(s, in));
        D want = central_difference([&](double h) { return forward(s, axpy(in, h, masked)); });
        want.resize(s.q_size());
        CHECK(max_difference(d_o, want) < 5e-12);

        const double left = dot(go, d_o), right = dot(g, masked);
        CHECK(std::fabs(left - right) < 2e-15 * (1 + std::fabs(left)) * std::sqrt(static_cast<double>(in.size())));

        const Array<float> all32 = tangent(s, cast<float>(in), cast<float>(din), mask);
        CHECK(max_difference(all32, all) < 3e-6);
      }
      CHECK(max_difference(backward(s, cast<float>(in), cast<float>(go)), g) < 5e-6);
      for (int mask = 0; mask < 8; ++mask) {  // a gradient does not depend on which others are requested
        const D part = backward(s, in, go, mask);
        D rest = backward(s, in, go, 7 - mask);
        for (std::size_t i = 0; i < rest.size(); ++i) rest[i] += part[i];
        CHECK(rest == g);
      }
    }
  });
}

TEST_CASE("attention kernels: gradients with several blocks of queries") {
  each_isa([](const std::string& isa) {
    CAPTURE(isa);
    for (const Shape& s : large_shapes) {
      const D in = inputs(s, 1), din = inputs(s, 2), go = random_array(s.q_size(), 3), g = backward(s, in, go), all = tangent(s, in, din);
      const D d_o(all.end() - s.q_size(), all.end());
      const double left = dot(go, d_o), right = dot(g, din);
      CHECK(std::fabs(left - right) < 1e-13 * (1 + std::fabs(left)));
      CHECK(max_difference(backward(s, cast<float>(in), cast<float>(go)), g) < 5e-7);
    }
  });
}

TEST_CASE("attention kernels: the same bits for any number of threads") {
  const Shape s{3, 5, 50, 50, 32, true};
  const Array<float> in = cast<float>(inputs(s, 1)), din = cast<float>(inputs(s, 2)), go = random_array<float>(s.q_size(), 3);
  CHECK(same_for_any_threads([&] { return forward(s, in); }));
  CHECK(same_for_any_threads([&] { return tangent(s, in, din); }));
  CHECK(same_for_any_threads([&] { return backward(s, in, go); }));
}
