// recompute: gradients with the same bits as without it, less memory, tangents in both modes, nesting, errors. The memory table.
#include "autodiff/recompute.h"

#include <doctest/doctest.h>

#include <functional>

#include "autodiff/check.h"
#include "autodiff/inspect.h"
#include "autodiff/jvp.h"
#include "autodiff/rules/activation.h"
#include "autodiff/rules/attention.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/recomputed.h"
#include "tensor/memory/allocator.h"

using namespace fm;

namespace {

using Vars = std::vector<Var>;

struct Block {
  Parameter qkv, w1, w2, norm;
  Block(std::int64_t c, std::uint64_t seed, DType dtype)
      : qkv{0.3 * sample_normal({3 * c, c}, seed, dtype)}, w1{0.3 * sample_normal({4 * c, c}, seed + 1, dtype)},
        w2{0.3 * sample_normal({c, 2 * c}, seed + 2, dtype)}, norm{sample_normal({c}, seed + 3, dtype)} {}

  Var operator()(const Var& x, const Var& condition) const {
    const Vars m = chunk(condition, 3);
    const Var h = gated_residual(x, attention_qkv(linear(rms_norm_modulate(x, norm, m[0], m[1], 1e-6), qkv), 2), m[2]);
    return h + linear(swiglu(linear(rms_norm(h, norm, 1e-6), w1)), w2);
  }
  std::vector<const Parameter*> parameters() const { return {&qkv, &w1, &w2, &norm}; }
};

struct Net {
  std::vector<Block> blocks;
  bool again = false;
  Net(int depth, std::int64_t c, DType dtype) {
    for (int i = 0; i < depth; ++i) blocks.emplace_back(c, 10 * static_cast<std::uint64_t>(i), dtype);
  }
  Var operator()(Var x, const Var& condition) const {
    for (const Block& b : blocks)
      x = again ? recompute([&b](const Var& h, const Var& c) { return b(h, c); }, x, condition) : b(x, condition);
    return x;
  }
};

bool equal_bits(const Tensor& a, const Tensor& b) { return a.shape() == b.shape() && a.to_vector<double>() == b.to_vector<double>(); }

}  // namespace

TEST_CASE("gradients are bit for bit those without recompute") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Net net(3, 8, dtype);
    const Tensor x = sample_normal({2, 5, 8}, 1, dtype), c = 0.3 * sample_normal({2, 24}, 2, dtype);
    std::vector<Tensor> plain;
    for (const bool again : {false, true}) {
      net.again = again;
      Tape tape;
      const Var vx = tape.variable(x), vc = tape.variable(c);
      const Gradients g = backward(sum(square(net(vx, vc))));
      std::vector<Tensor> all{g[vx]};
      for (const Block& b : net.blocks)
        for (const Parameter* p : b.parameters()) all.push_back(g[*p]);
      if (!again) {
        plain = all;
        continue;
      }
      for (std::size_t i = 0; i < all.size(); ++i) {
        CAPTURE(i);
        REQUIRE(all[i].defined());
        CHECK(equal_bits(all[i], plain[i]));
      }
    }
  }
}

namespace {

// A program with and without recompute, whose gradients must have the same bits.
struct OtherUses {
  Parameter w, v;
  explicit OtherUses(DType dtype) : w{0.3 * sample_normal({33, 33}, 1, dtype)}, v{0.3 * sample_normal({33}, 2, dtype)} {}

  Var part(bool again, const std::function<Var(const Vars&)>& f, const Vars& x) const { return again ? recompute(f, x) : f(x); }

  // Every input and parameter is used before, in and after recomputed parts. One part contains another, and one gets the same argument twice.
  Var operator()(bool again, const Var& x, const Var& z) const {
    const auto block = [this](const Vars& u) { return tanh(linear(u[0], w)) * u[0] + sin(u[1]) * u[1] * v; };
    const auto nested = [=, this](const Vars& u) { return part(again, block, {u[0] * v, u[1]}) + slice(concat({u[0], u[1]}, 1), 1, 7, 40); };
    const Var before = linear(x, w) * v + exp(z) + z;
    const Var a = part(again, block, {x, before}), b = part(again, nested, {a, x}), c = part(again, block, {b, b});
    const Var d = part(again, [this](const Vars& u) { return linear(u[0], w) * u[0]; }, {Var(x)});
    return sum(square(c)) + sum(exp(x * v)) + sum(linear(square(z) + d, w)) + sum(a * b * v) + sum(x);
  }
};

}  // namespace

TEST_CASE("gradients are bit for bit those without recompute, also if inputs and parameters have other uses") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const OtherUses f(dtype);
    std::vector<Tensor> plain;
    for (const bool again : {false, true}) {
      Tape tape;
      const Var x = tape.variable(sample_normal({17, 33}, 3, dtype)), z = tape.variable(sample_normal({17, 33}, 4, dtype));
      const Gradients g = backward(f(again, x, z));
      const std::vector<Tensor> all{g[x], g[z], g[f.w], g[f.v]};
      if (!again) plain = all;
      for (std::size_t i = 0; i < all.size(); ++i) CHECK_MESSAGE(equal_bits(all[i], plain[i]), i);
    }
  }
}

TEST_CASE("gradients through taped tangents are bit for bit those without recompute") {
  const OtherUses f(DType::f32);
  const auto block = [&](const Vars& u) { return tanh(linear(u[0], f.w)) * u[0] + sin(u[1]) * u[1] * f.v; };
  for (const int which : {0, 1, 2}) {                       // the loss contains y, dy, or both
    std::vector<Tensor> plain;
    for (const bool again : {false, true}) {
      Tape tape;
      const Var x = tape.variable(sample_normal({17, 33}, 3, DType::f32)), d = tape.variable(sample_normal({17, 33}, 4, DType::f32));
      const auto [y, dy] = jvp_taped([&](const Var& u) { return f.part(again, block, {u, square(u)}) * u; }, at(x), along(d));
      const Gradients g = backward((which != 1 ? sum(square(y)) : sum(x)) + (which != 0 ? sum(square(dy)) : sum(d)) + sum(linear(x * d, f.w)));
      const std::vector<Tensor> all{g[x], g[d], g[f.w], g[f.v]};
      if (!again) plain = all;
      for (std::size_t i = 0; i < all.size(); ++i) CHECK_MESSAGE(equal_bits(all[i], plain[i]), which << " " << i);
    }
  }
}

// If y's cotangent were replaced by 0, the infinite slope of the root at 0 would give 0 * infinity = NaN.
TEST_CASE("a loss of the tangent alone sends no cotangent through the value") {
  for (const bool again : {false, true}) {
    Tape tape;
    const Var x = tape.variable(Tensor::from<double>({0, 4}, {2}));
    const auto f = [](const Var& u) { return concat({sqrt(slice(u, 0, 0, 1)), square(slice(u, 0, 1, 2))}, 0); };
    const auto [y, dy] = jvp_taped([&](const Var& u) { return again ? recompute(f, u) : f(u); }, at(x), along(Tensor::from<double>({0, 1}, {2})));
    const auto g = backward(sum(slice(dy, 0, 1, 2)))[x].to_vector<double>();
    CHECK(g[1] == 2);
  }
}

TEST_CASE("inputs off the tape stay off the tape in the backward pass") {
  Tape tape;
  const Var x = tape.variable(sample_normal({3}, 1));
  const Tensor constant = sample_normal({3}, 2);
  std::vector<bool> on_tape;
  const Var y = recompute([&](const Var& u, const Var& c) {
    on_tape.push_back(c.on_tape());
    return u * c;
  }, x, Var(constant));
  CHECK(equal_bits(backward(sum(y))[x], constant));
  CHECK(on_tape == std::vector<bool>{false, false});
}

TEST_CASE("if inputs are off the tape, parameters inside f get their gradients") {
  const Block b(4, 1, DType::f64);
  const Tensor x = sample_normal({2, 3, 4}, 1), c = sample_normal({2, 12}, 2);
  Tensor plain;
  {
    Tape tape;
    plain = backward(sum(b(x, c)))[b.qkv];
  }
  Tape tape;
  const Gradients g = backward(sum(recompute([&](const Var& v) { return b(v, c); }, x)));
  CHECK(equal_bits(g[b.qkv], plain));
}

TEST_CASE("recompute lowers the peak of memory") {
  Net net(6, 32, DType::f32);
  const Tensor x = sample_normal({8, 32, 32}, 1, DType::f32), c = sample_normal({8, 96}, 2, DType::f32);
  std::size_t peak[2];
  for (const bool again : {false, true}) {
    net.again = again;
    const std::size_t before = memory_stats().live;
    reset_memory_peak();
    Tape tape;
    backward(sum(square(net(x, c))));
    peak[again] = memory_stats().peak - before;
  }
  MESSAGE("peak " << human_bytes(peak[0]) << " without, " << human_bytes(peak[1]) << " with recompute");
  CHECK(peak[1] < 0.5 * static_cast<double>(peak[0]));
}

TEST_CASE("tangents pass through recompute, in both modes and for the first rows") {
  Net net(2, 4, DType::f64);
  net.again = true;
  const Tensor x = sample_normal({3, 3, 4}, 1), c = 0.3 * sample_normal({3, 12}, 2);
  CHECK_NOTHROW(check_all([&](const Vars& v) { return net(v[0], v[1]); }, {x, c}));
  const auto [y, dy] = jvp(net, at(x, c), along(1.0, zero));
  Net plain = net;
  plain.again = false;
  const auto [z, dz] = jvp(plain, at(x, c), along(1.0, zero));
  CHECK(equal_bits(y.value(), z.value()));
  CHECK(equal_bits(dy, dz));
}

TEST_CASE("taped tangents: parameters get their cotangents through value and tangent") {
  Net net(2, 4, DType::f64);
  const Tensor x = sample_normal({3, 3, 4}, 1), c = 0.3 * sample_normal({3, 12}, 2);
  for (const int which : {0, 1, 2}) {                       // the loss contains y, dy, or both
    std::vector<Tensor> plain;
    for (const bool again : {false, true}) {
      net.again = again;
      Tape tape;
      const auto [y, dy] = jvp_taped(net, at(x, c), along(1.0, zero));
      const Gradients g = backward(which == 0 ? sum(square(y)) : which == 1 ? sum(square(dy)) : sum(y * dy));
      std::vector<Tensor> all;
      for (const Block& b : net.blocks)
        for (const Parameter* p : b.parameters()) all.push_back(g[*p]);
      if (!again) plain = all;
      for (std::size_t i = 0; i < all.size(); ++i) CHECK(sum_squares(all[i] - plain[i]) <= 1e-24 * sum_squares(plain[i]));
    }
  }
}

TEST_CASE("recompute works inside recompute and without a tape") {
  const Block b(4, 1, DType::f64);
  const Tensor x = sample_normal({2, 3, 4}, 1), c = sample_normal({2, 12}, 2);
  const auto inner = [&](const Var& v) { return recompute([&](const Var& h) { return b(h, c); }, v); };
  CHECK(equal_bits(recompute(inner, x).value(), b(x, c).value()));
  CHECK_NOTHROW(check_all([&](const Vars& v) { return recompute(inner, v[0]); }, {x}));
}

TEST_CASE("capturing a Var of the tape is an error, not a lost gradient") {
  Tape tape;
  const Var x = tape.variable(sample_normal({3}, 1)), other = tape.variable(sample_normal({3}, 2));
  const Var y = recompute([&](const Var& v) { return v * other; }, x);
  CHECK_THROWS_AS(backward(sum(y)), AutodiffError);
}

TEST_CASE("the memory table has readable sizes, the largest first") {
  CHECK(human_bytes(512) == "512 B");
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1024) == "1.0 KiB");
  CHECK(human_bytes(1048524) == "1023.9 KiB");
  CHECK(human_bytes(1048525) == "1.0 MiB");                // 1023.95 KiB
  CHECK(human_bytes(std::size_t{5} << 50) == "5120.0 TiB");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes((std::size_t{1} << 20) - 1) == "1.0 MiB");
  CHECK(human_bytes(std::size_t{3} << 30) == "3.0 GiB");
  const Tensor big = exp(Tensor::zeros({300, 1024})), small = tanh(Tensor::zeros({10, 1024}));
  const std::string table = memory_table();
  CAPTURE(table);
  const auto first = table.find("  exp\n"), second = table.find("  tanh\n");
  CHECK(first != std::string::npos);
  CHECK(second != std::string::npos);
  CHECK(first < second);
  CHECK(table.find("1.2 MiB") != std::string::npos);
  CHECK(table.find("in all; peak") != std::string::npos);
}

namespace {

// Linear layers after swiglu and after a modulated norm, whose inputs are kept or recomputed.
struct Products {
  Parameter norm, w1, b1, w2;
  bool again;
  Products(DType dtype, bool again_)
      : norm{sample_normal({6}, 1, dtype)}, w1{sample_normal({8, 6}, 2, dtype)}, b1{sample_normal({8}, 3, dtype)}, w2{sample_normal({3, 4}, 4, dtype)},
        again(again_) {}
  Var product(const Recomputed& x, const Parameter& w, const Var& b) const { return again ? linear(x, w, b) : linear(x.value(), w, b); }
  Var operator()(const Var& x, const Var& shift, const Var& scale) const {
    const Var h = product({[this](const Vars& v) { return rms_norm_modulate(v[0], norm, v[1], v[2], 1e-6); }, {x, shift, scale}}, w1, b1);
    return product({[](const Vars& v) { return swiglu(v[0]); }, {h}}, w2, {});
  }
};

}  // namespace

TEST_CASE("linear of a Recomputed gives the same bits of gradients and tangents, and keeps less memory") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = sample_normal({4, 5, 6}, 5, dtype), shift = sample_normal({4, 6}, 6, dtype), scale = sample_normal({4, 6}, 7, dtype),
                 dx = sample_normal({2, 5, 6}, 8, dtype);
    std::vector<Tensor> first;
    std::size_t held = 0;
    for (const bool again : {false, true}) {
      const Products f(dtype, again);
      const std::size_t before = memory_stats().live;
      Tape tape;
      const Var vx = tape.variable(x), vshift = tape.variable(shift), vscale = tape.variable(scale);
      auto [y, dy] = jvp(f, at(vx, vshift, vscale), along(dx, zero, zero));
      const Tensor value = y.value();
      const Var loss = sum(y * y);
      y = Var();
      const std::size_t kept = memory_stats().live - before;
      const Gradients g = backward(loss);
      const std::vector<Tensor> all{value, dy, g[vx], g[vshift], g[vscale], g[f.norm], g[f.w1], g[f.b1], g[f.w2]};
      for (std::size_t i = 0; again && i < all.size(); ++i) CHECK_MESSAGE(equal_bits(all[i], first[i]), i);
      if (again) CHECK(kept + x.bytes() <= held);
      first = all;
      held = kept;
    }
  }
}

TEST_CASE("linear of a Recomputed whose first input is recomputed gives the same bits, and does not keep the input") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Parameter w{0.3 * sample_normal({7, 64}, 1, dtype)}, norm{sample_normal({64}, 2, dtype)};
    const Tensor x = sample_normal({40, 64}, 3, dtype), branch = sample_normal({40, 64}, 4, dtype), gate = sample_normal({40, 64}, 5, dtype);
    std::vector<Tensor> first;
    std::size_t held = 0;
    for (const bool again : {false, true}) {
      Tape tape;
      const Var vx = tape.variable(x), vbranch = tape.variable(branch), vgate = tape.variable(gate);
      const std::size_t before = memory_stats().live;
      Var y;
      {
        const Var h = gated_residual(vx, vbranch, vgate);
        Recomputed normed{[&norm](const Vars& v) { return rms_norm(v[0], norm, 1e-6); }, {h}};
        if (again) normed.first_input = [=] { return gated_residual(x, branch, gate); };
        y = linear(normed, w);
      }
      const std::size_t kept = memory_stats().live - before;
      const Tensor value = y.value();
      const Gradients g = backward(sum(square(y)));
      const std::vector<Tensor> all{value, g[vx], g[vbranch], g[vgate], g[norm], g[w]};
      for (std::size_t i = 0; again && i < all.size(); ++i) CHECK_MESSAGE(equal_bits(all[i], first[i]), i);
      if (again) CHECK(kept + x.bytes() <= held);
      first = all;
      held = kept;
    }
  }
}

TEST_CASE("linear of a Recomputed passes all checks") {
  const Products f(DType::f64, true);
  check_all([&f](const Vars& x) { return f(x[0], x[1], x[2]); }, {sample_normal({3, 2, 6}, 1), sample_normal({3, 6}, 2), sample_normal({3, 6}, 3)},
            {.name = "linear of a Recomputed"});
  CHECK_THROWS_WITH_AS(linear(Recomputed{[](const Vars&) { return Var(Tensor::ones({2, 6})); }, {}}, f.w1), doctest::Contains("no inputs"), AutodiffError);
}
