// DiT^DH: golden numbers of the published code, names and counts of the published checkpoints, and derivatives of the whole network in f64.
#include "nn/models/dit_dh.h"

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/backbones/dit_dh.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/memory/allocator.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

DitDhConfig tiny(bool mean_flow) {
  DitDhConfig c;
  c.input_size = 4, c.channels = 8, c.classes = 10;
  c.width = 16, c.depth = 2, c.heads = 2;
  c.head_width = 24, c.head_depth = 1, c.head_heads = 2;
  c.mean_flow = mean_flow;
  return c;
}

// Functions, because the tensors must be on the default device of the calling thread.
Tensor golden_times() { return Tensor::from<float>({0.9f, 0.35f}, {2}); }
Tensor golden_labels() { return Tensor::from<std::int64_t>({3, 10}, {2}); }
const Golden golden{-45.0147728, 222.4330165,
                    {-0.7754285, -0.8186354, -0.8605876, -0.9016412, -0.9410678, -0.9782438, -1.0142460, -1.0493654},
                    {-0.4841023, -0.4356435, -0.3863293, -0.3361799}};

// A MeanFlow model in f64, with inputs and a direction for its derivatives.
struct Setting {
  DitDh net;
  Tensor x = wave({3, 8, 4, 4}, 1), w = wave({3, 8, 4, 4}, 2);
  Tensor s = Tensor::from<double>({0.1, 0.3, 0.6}, {3}), t = Tensor::from<double>({0.8, 0.5, 0.9}, {3});
  Tensor labels = Tensor::from<std::int64_t>({3, 10, 0}, {3});

  explicit Setting(DitDhConfig c = tiny(true)) : net(c, 7) {
    shake(net);
    to_dtype(net, DType::f64);
  }
  auto function() const {
    return [this](const Var& z, const Var& a, const Var& b) { return net(z, a, b, labels); };
  }
};

}  // namespace

TEST_CASE("DiT^DH agrees with golden numbers of the published code, in f32 and f64") {
  DitDh net(tiny(false));
  fill_by_rule(net);
  const Tensor x = golden_input({2, 8, 4, 4});
  check_golden(net(x, golden_times(), golden_labels()).value(), golden, 1e-4, 2e-6);
  to_dtype(net, DType::f64);
  check_golden(net(x.to(DType::f64), golden_times().to(DType::f64), golden_labels()).value(), golden, 2e-5, 1e-6);
}

TEST_CASE("the published sizes have the published numbers of parameters and tensors") {
  const ShapesOnly shapes;
  CHECK(parameter_count(DitDh(dit_dh("S"))) == 196455764);
  CHECK(parameter_count(DitDh(dit_dh("S", 256, true))) == 196800852);
  CHECK(parameter_count(DitDh(dit_dh("B"))) == 294295892);
  CHECK(parameter_count(DitDh(dit_dh("B", 256, true))) == 295280724);
  CHECK(parameter_count(DitDh(dit_dh("L"))) == 621744436);
  CHECK(parameter_count(DitDh(dit_dh("L", 256, true))) == 623319604);
  const DitDh xl(dit_dh("XL")), mean_flow(dit_dh("XL", 256, true));
  CHECK(parameter_count(xl) == 838675796);
  CHECK(parameter_count(xl, true) == 838380628);
  CHECK(parameter_count(mean_flow) == 840595284);
  CHECK(parameter_count(mean_flow, true) == 840299860);
  CHECK(state_dict(xl).size() == 382);
  CHECK(state_dict(mean_flow).size() == 387);
  CHECK(mean_flow.head_cos.value.numel() * 2 + mean_flow.backbone_cos.value.numel() * 2 == 102400);
  CHECK(parameter_count(DitDh(dit_dh("XL", 512))) == 839560532);
  CHECK(parameter_count(DitDh(dit_dh("XL", 512, true))) == 841480020);
}

TEST_CASE("the parameter names of DiT^DH are those of dit_dh.txt") {
  check_names(DitDh(tiny(true)), "dit_dh.txt");
}

TEST_CASE("a new model predicts zero, and its initial values are those of the published code") {
  const DitDh net(tiny(true), 3);
  const Tensor x = golden_input({2, 8, 4, 4});
  CHECK(norm(net(x, golden_times() * 0.5, golden_times(), golden_labels()).value()) == 0);
  CHECK(norm(net.blocks[0].modulation.linear.weight.value) == 0);
  CHECK(norm(net.x_embedder.bias.value) == 0);
  CHECK(norm(net.blocks[2].attn.qkv.bias.value) > 0);
  const auto rms = [](const Parameter& p) { return norm(p.value) / std::sqrt(static_cast<double>(p.value.numel())); };
  CHECK(near(rms(net.t_embedder.first.weight), 0.02, 0.05));
  CHECK(near(rms(net.r_embedder->first.weight), 1 / std::sqrt(512.0 * 3), 1e-2));
  CHECK(near(rms(net.x_embedder.weight), std::sqrt(6.0 / 32 / 3), 0.2));
}

TEST_CASE("DiT^DH: a saved model loaded into one of another seed gives the same bits") {
  DitDh a(tiny(true), 1), b(tiny(true), 2);
  shake(a);
  load_state(b, state_dict(a));
  const Tensor x = golden_input({2, 8, 4, 4}), s = golden_times() * 0.5;
  CHECK(max_difference(a(x, s, golden_times(), golden_labels()).value(), b(x, s, golden_times(), golden_labels()).value()) == 0);
}

TEST_CASE("every trained parameter gets a gradient; frozen parameters get none") {
  for (const bool qk_norm : {false, true}) {
    DitDhConfig c = tiny(true);
    c.qk_norm = qk_norm;
    DitDh net(c, 1);
    shake(net);
    Tape tape;
    const Gradients g = backward(sum(square(net(golden_input({2, 8, 4, 4}), golden_times() * 0.5, golden_times(), golden_labels()))));
    for_each_parameter(net, [&](const std::string& name, Parameter& p) {
      CHECK_MESSAGE(g[p].defined() == p.trainable, name);
      if (p.trainable && g[p].defined()) CHECK_MESSAGE(norm(g[p]) > 0, name);
    });
  }
}

TEST_CASE("DiT^DH: undefined labels mean no label; one time means s = t") {
  const Setting a;
  const Tensor none = Tensor::full({3}, 10, DType::i64);
  CHECK(max_difference(a.net(a.x, a.s, a.t, {}).value(), a.net(a.x, a.s, a.t, none).value()) == 0);
  CHECK(max_difference(a.net(a.x, a.t, a.labels).value(), a.net(a.x, a.t, a.t, a.labels).value()) == 0);
  CHECK_THROWS_AS(DitDh(tiny(false))(a.x, a.s, a.t, a.labels), ConfigError);
  CHECK_THROWS_AS(a.net(a.x.slice(1, 0, 4), a.s, a.t, a.labels), ShapeError);
}

TEST_CASE("push along (w, 0, 1) agrees with the central difference") {
  const Setting a;
  const auto [u, dudt] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
  CHECK(max_difference(u.value(), a.function()(a.x, a.s, a.t).value()) == 0);
  const auto along_path = [&](double h) { return a.function()(a.x + a.w * h, a.s, a.t + h).value(); };
  const double h = 1e-4;                                                   // differences of fourth order: their error is below 1e-9
  const Tensor difference = (along_path(h) - along_path(-h)) * (8.0 / 12) - (along_path(2 * h) - along_path(-2 * h)) * (1.0 / 12);
  CHECK(norm(difference / h - dudt) / norm(dudt) < 1e-10);
}

TEST_CASE("pull is the transpose of push") {
  const Setting a;
  const Tensor gy = wave({3, 8, 4, 4}, 3);
  Tape tape;
  const Var x = tape.variable(a.x), s = tape.variable(a.s), t = tape.variable(a.t);
  const Tensor ds = wave({3}, 4), dt = wave({3}, 5);
  const auto [u, du] = jvp(a.function(), at(x, s, t), along(a.w, ds, dt));
  const Gradients g = backward(sum(u * gy));
  const double pushed = dot(du, gy), pulled = dot(g[x], a.w) + dot(g[s], ds) + dot(g[t], dt);
  CHECK(std::abs(pushed - pulled) / (norm(du) * norm(gy)) < 5e-15);
}

TEST_CASE("a tangent of the first rows is the full tangent with zeros below") {
  const Setting a;
  const auto [u, part] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w.slice(0, 0, 2), zero, Tensor::ones({2}, DType::f64)));
  CHECK(part.shape() == Shape{2, 8, 4, 4});
  const auto [v, full] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
  CHECK(max_difference(part, full.slice(0, 0, 2)) < 1e-14);
  CHECK(max_difference(u.value(), v.value()) == 0);
}

TEST_CASE("gradients through a taped tangent agree with differences of the tangent") {
  Setting a;
  const Tensor gy = wave({3, 8, 4, 4}, 3);
  Parameter& p = a.net.blocks[1].mlp.w12.weight;
  const Tensor direction = wave(p.value.shape(), 6), start = p.value.clone();
  const auto objective = [&](double h) {
    p.value = start + direction * h;
    const auto [u, du] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
    return dot(du, gy);
  };
  const double h = 1e-4;
  const double difference = ((objective(h) - objective(-h)) * 8 - (objective(2 * h) - objective(-2 * h))) / (12 * h);
  p.value = start;
  Tape tape;
  const auto [u, du] = jvp_taped(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
  const Gradients g = backward(sum(du * gy));
  CHECK(std::abs(dot(g[p], direction) - difference) / std::abs(difference) < 1e-9);
}

TEST_CASE("recomputed blocks give the same values, tangents and gradients with less memory") {
  DitDhConfig c = tiny(true);
  c.depth = 5;
  Setting plain(c);
  c.recompute = true;
  Setting again(c);
  copy_parameters(plain.net, again.net);
  const Tensor gy = wave({3, 8, 4, 4}, 3);
  const auto run = [&](Setting& a, bool taped, std::size_t& peak) {
    const std::size_t before = memory_stats().live;
    reset_memory_peak();
    Tape tape;
    Var u;
    Tensor du;
    if (taped) {
      const auto [y, dy] = jvp_taped(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
      u = y * dy, du = dy.value();
    } else {
      const auto [y, dy] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
      u = y, du = dy;
    }
    const Gradients g = backward(sum(u * gy));
    peak = memory_stats().peak - before;
    StateDict out{{"u", u.value()}, {"du", du}};
    for_each_parameter(a.net, [&](const std::string& name, Parameter& p) {
      if (p.trainable) out.emplace_back(name, g[p]);
    });
    return out;
  };
  for (const bool taped : {false, true}) {
    std::size_t full = 0, reduced = 0;
    const StateDict want = run(plain, taped, full), got = run(again, taped, reduced);
    for (std::size_t i = 0; i < want.size(); ++i)
      CHECK_MESSAGE(max_difference(want[i].second, got[i].second) <= 1e-14 * (1 + norm(want[i].second)), want[i].first);
    CHECK(reduced < full);
  }
}

TEST_CASE("a constant tangent adds less than 15 % to the memory of a training step") {
  DitDhConfig c = tiny(true);
  c.input_size = 8, c.width = 32, c.depth = 6, c.head_width = 48;
  DitDh net(c, 1);
  shake(net);
  const Tensor x = wave({8, 8, 8, 8}, 1, DType::f32), w = wave({8, 8, 8, 8}, 2, DType::f32);
  const Tensor s = Tensor::full({8}, 0.2), t = Tensor::full({8}, 0.7), labels = Tensor::zeros({8}, DType::i64);
  const auto f = [&](const Var& z, const Var& a, const Var& b) { return net(z, a, b, labels); };
  const auto peak_of = [&](auto&& loss) {
    const std::size_t before = memory_stats().live;
    reset_memory_peak();
    Tape tape;
    backward(loss());
    return static_cast<double>(memory_stats().peak - before);
  };
  const double plain = peak_of([&] { return mean(square(f(x, s, t) - Var(w))); });
  const double constant = peak_of([&] {
    const auto [u, du] = jvp(f, at(x, s, t), along(w, zero, 1.0));
    return mean(square(u - Var(w - du * 0.5)));
  });
  const double taped = peak_of([&] {
    const auto [u, du] = jvp_taped(f, at(x, s, t), along(w, zero, 1.0));
    return mean(square(u + du));
  });
  MESSAGE("peak MiB: plain " << plain / 1048576 << ", constant tangent " << constant / 1048576 << ", taped tangent " << taped / 1048576);
  CHECK(constant < 1.15 * plain);
  CHECK(taped > 1.3 * plain);
}

namespace {

// Four backbone blocks and one head block. The first three blocks see t, the last of the backbone and the head see s.
DitDhConfig split_times() {
  DitDhConfig c = tiny(true);
  c.depth = 4, c.late_s = true;
  return c;
}

}  // namespace

TEST_CASE("late_s: the first two thirds of the blocks get only t; the other blocks and the head get only s") {
  const Setting a(split_times());
  CHECK(a.net.config.early_blocks() == 3);
  const DitDh& net = a.net;
  const auto twice = [](const Var& te, const Var& label) { return silu(silu(te + label)); };
  const Var label = net.y_embedder(a.labels), early = net.t_embedder(a.t), late = net.t_embedder(a.s);
  const Var tokens = patchify(Var(a.x), 1);
  Var h = net.s_embedder.project(tokens, DType::f64) + Var(net.position_table.value);
  for (std::size_t i = 0; i < 4; ++i) h = net.blocks[i](h, twice(i < 3 ? early : late, label), net.backbone_cos.value, net.backbone_sin.value);
  const Var k = silu((*net.s_projector)(silu(h + unsqueeze(late, 1))));
  Var u = net.x_embedder.project(tokens, DType::f64);
  u = net.blocks[4](u, k, net.head_cos.value, net.head_sin.value);
  const Tensor wanted = unpatchify(net.final_layer(u, k, DType::f64), 4, 4, 1).value();
  CHECK(max_difference(a.function()(a.x, a.s, a.t).value(), wanted) == 0);
  CHECK(max_difference(a.function()(a.x, a.s * 0.5, a.t).value(), wanted) > 1e-3);

  DitDhConfig c = split_times();
  const auto early_of = [&](std::int64_t depth, std::int64_t head) { return c.depth = depth, c.head_depth = head, c.early_blocks(); };
  CHECK(early_of(28, 2) == 20);
  CHECK(early_of(1, 2) == 1);
  CHECK(early_of(2, 4) == 2);                                              // the head always sees s: at most `depth` blocks see t
  c.late_s = false;
  CHECK(early_of(28, 2) == 28);
}

TEST_CASE("late_s: with s = t, the model equals the one-time network whose weights it starts from; both time derivatives are right") {
  DitDhConfig c = split_times();
  c.mean_flow = false;
  const Setting one(c);
  Setting map(split_times());
  Weights weights{"model.safetensors", state_dict(one.net), -1, nullptr};
  CHECK_NOTHROW(check_kind(weights, false, "it"));
  DitDhBackbone::complete(map.net, weights);
  CHECK_NOTHROW(check_kind(weights, true, "it"));                          // the tensor late_s marks the file of a flow map
  CHECK(weights.tensors.size() == state_dict(one.net).size() + 1);
  load_state(map.net, weights.tensors);
  CHECK(parameter_count(map.net) == parameter_count(one.net));
  const Tensor v = one.net(one.x, one.t, one.labels).value();
  CHECK(max_difference(map.net(map.x, map.t, map.t, map.labels).value(), v) == 0);
  CHECK(max_difference(map.net(map.x, map.t, map.labels).value(), v) == 0);
  CHECK_THROWS(load_state(const_cast<DitDh&>(one.net), weights.tensors));  // the file of a flow map does not fit a velocity network
  for (const bool by_s : {false, true}) {
    const auto shifted = [&](double h) { return map.function()(map.x, by_s ? map.s + h : map.s, by_s ? map.t : map.t + h).value(); };
    const Tensor ones = Tensor::ones({3}, DType::f64);
    const auto [u, slope] = by_s ? jvp(map.function(), at(map.x, map.s, map.t), along(zero, ones, zero)) : jvp(map.function(), at(map.x, map.s, map.t), along(zero, zero, ones));
    const double h = 1e-4;
    const Tensor difference = (shifted(h) - shifted(-h)) * (8.0 / 12) - (shifted(2 * h) - shifted(-2 * h)) * (1.0 / 12);
    CHECK(norm(slope) > 1e-3);
    CHECK(norm(difference / h - slope) / norm(slope) < 1e-9);
  }
}
