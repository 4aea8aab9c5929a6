// The network of DiT and SiT: counts of the published sizes, names, initial values, derivatives of the whole network in f64, and published files.
// The values are checked in dit_golden.cpp.
#include "nn/models/dit.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/backbones/dit.h"
#include "nn/models/dit_weights.h"
#include "nn/models/presets.h"
#include "nn/models/published_names.h"
#include "nn/optim/adamw.h"
#include "tensor/memory/allocator.h"
#include "tests/support/error_of.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/torch_writer.h"

using namespace fm;
using namespace fm::test;

namespace {

DitConfig tiny(bool mean_flow) {
  DitConfig c;
  c.input_size = 8, c.channels = 4, c.patch_size = 2, c.classes = 10;
  c.width = 16, c.depth = 3, c.heads = 2;
  c.mean_flow = mean_flow;
  return c;
}

DitConfig tiny_sit() {
  DitConfig c = tiny(false);
  c.learn_sigma = true;
  return c;
}

const Shape latents{3, 4, 8, 8};

// A model in f64, with inputs and a direction for its derivatives.
struct Setting {
  Dit net;
  Tensor x = wave(latents, 1), w = wave(latents, 2);
  Tensor s = Tensor::from<double>({0.1, 0.3, 0.6}, {3}), t = Tensor::from<double>({0.8, 0.5, 0.9}, {3});
  Tensor labels = Tensor::from<std::int64_t>({3, 10, 0}, {3});

  explicit Setting(const DitConfig& c = tiny(true)) : net(c, 7) {
    shake(net);
    to_dtype(net, DType::f64);
  }
  auto function() const {
    return [this](const Var& z, const Var& a, const Var& b) { return net(z, a, b, labels); };
  }
};

// The same tensors under other names.
NamedTensors with_prefix(const NamedTensors& tensors, const std::string& from, const std::string& to) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) out.emplace_back(name.starts_with(from) ? to + name.substr(from.size()) : name, t);
  return out;
}


}  // namespace

TEST_CASE("DiT, SiT and MeanFlow have the published numbers of parameters and tensors, and nothing is allocated") {
  const ShapesOnly shapes;
  struct Published {
    const char* size;
    std::int64_t width, with_sigma, plain, mean_flow, reg_with_projector;
  };
  const Published sizes[] = {{"S/2", 384, 32865056, 32858896, 33105424, 40009104},
                             {"B/2", 768, 130315808, 130303504, 131091472, 138831120},
                             {"L/2", 1024, 457840672, 457824272, 459137040, 467270160},
                             {"XL/2", 1152, 674834720, 674816272, 676440592, 684721296}};
  for (const Published& p : sizes) {
    CAPTURE(p.size);
    DitConfig c = dit(p.size);
    const Dit plain(c), map(dit(p.size, 256, true));
    c.learn_sigma = true;
    const Dit sigma(c);
    DitConfig with_token = dit(p.size);
    with_token.class_token = 768;
    const Dit reg(with_token);
    const std::int64_t projector = p.width * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 768 + 768;
    CHECK(parameter_count(reg, true) == p.reg_with_projector - projector);
    CHECK(parameter_count(reg) == parameter_count(reg, true) + 257 * p.width);
    CHECK(static_cast<std::int64_t>(state_dict(reg).size()) == 18 + 10 * c.depth);
    const double more = static_cast<double>(total(cost_table(with_token)).macs_linear) / static_cast<double>(total(cost_table(dit(p.size))).macs_linear) - 1;
    CHECK(near_within(more, 0.0039, 1.5e-4));
    CHECK(parameter_count(sigma, true) == p.with_sigma);
    CHECK(parameter_count(plain, true) == p.plain);
    CHECK(parameter_count(map, true) == p.mean_flow);
    CHECK(parameter_count(plain) == p.plain + 256 * p.width);
    CHECK(static_cast<std::int64_t>(state_dict(plain).size()) == 12 + 10 * c.depth);
    CHECK(static_cast<std::int64_t>(state_dict(map).size()) == 16 + 10 * c.depth);
    for (const Dit* model : {&plain, &map, &sigma, &reg}) CHECK(total(cost_table(model->config)).parameters == parameter_count(*model));
  }
}

TEST_CASE("the published sizes have the right GMACs") {
  const auto giga = [](std::int64_t macs) { return static_cast<double>(macs) / 1e9; };
  const std::tuple<const char*, double, double, double> sizes[] = {{"S/2", 5.4358, 5.4517, 0.6040}, {"B/2", 21.7433, 21.7971, 1.2080},
                                                                   {"L/2", 77.3094, 77.4764, 3.2212}, {"XL/2", 114.1522, 114.3936, 4.2279}};
  for (const auto& [size, blocks, all, attention] : sizes) {
    DitConfig c = dit(size);
    c.learn_sigma = true;
    const CostTable table = cost_table(c);
    std::int64_t in_blocks = 0;
    for (const ModuleCost& m : table)
      if (m.module.ends_with(".attn") || m.module.ends_with(".mlp")) in_blocks += m.macs_linear;
    CHECK(near_within(giga(in_blocks), blocks, 5.1e-5));
    CHECK(near_within(giga(total(table).macs_linear), all, 5.1e-5));
    CHECK(near_within(giga(total(table).macs_attention), attention, 5.1e-5));
  }
}

TEST_CASE("names of sizes: the patch follows the size; unknown sizes are refused") {
  CHECK(dit("B/4").patch_size == 4);
  CHECK(dit("XL/8", 512).input_size == 64);
  CHECK(dit("M/2").depth == 16);
  CHECK(dit_sizes().size() == 15);
  CHECK(has(error_of<ConfigError>([] { dit("XL"); }), "DiT: no size 'XL'; the sizes are S/2, S/4, S/8, B/2"));
  CHECK(has(error_of<ConfigError>([] { dit("XL/2", 250); }), "DiT-XL/2: image size 250 is not a multiple of 16"));
}

TEST_CASE("the parameter names of DiT are those of dit.txt") { check_names(Dit(tiny(true)), "dit.txt"); }

TEST_CASE("a new DiT predicts zero, and its initial values are those of the published code") {
  const Dit net(tiny(true), 3);
  const Setting inputs;
  const auto f32 = [](const Tensor& t) { return t.to(DType::f32); };
  CHECK(norm(net(f32(inputs.x), f32(inputs.s), f32(inputs.t), inputs.labels).value()) == 0);
  const auto rms = [](const Parameter& p) { return norm(p.value) / std::sqrt(static_cast<double>(p.value.numel())); };
  const auto xavier = [](double in, double out) { return std::sqrt(2 / (in + out)); };
  CHECK(near(rms(net.t_embedder.first.weight), 0.02, 0.05));
  CHECK(near(rms(net.t_embedder.second.weight), 0.02, 0.2));
  CHECK(near(rms(net.r_embedder->first.weight), 0.02, 0.05));
  CHECK(near(rms(net.r_embedder->second.weight), 0.02, 0.2));
  CHECK(near(rms(net.y_embedder.table), 0.02, 0.2));
  CHECK(near(rms(net.x_embedder.weight), xavier(16, 16), 0.2));
  CHECK(near(rms(net.blocks[1].attn.qkv.weight), xavier(16, 48), 0.1));
  CHECK(near(rms(net.blocks[1].attn.proj.weight), xavier(16, 16), 0.2));
  CHECK(near(rms(net.blocks[1].mlp.fc1.weight), xavier(16, 64), 0.1));
  CHECK(near(rms(net.blocks[1].mlp.fc2.weight), xavier(64, 16), 0.1));
  CHECK(max_difference(net.blocks[0].mlp.fc1.weight.value, net.blocks[1].mlp.fc1.weight.value) > 0);
  for_each_parameter(net, [&](const std::string& name, const Parameter& p) {
    if (name.ends_with("bias") || has(name, "adaLN") || name == "final_layer.linear.weight") CHECK_MESSAGE(norm(p.value) == 0, name);
  });
}

TEST_CASE("positions and times have the published values") {
  DitConfig of_width_384 = tiny(false);
  of_width_384.width = 384, of_width_384.depth = 1;
  const std::vector<double> p = Dit(of_width_384).position_table.value.to_vector<double>();
  const std::size_t at = (1 * 4 + 2) * 384;                                              // row 1, column 2
  for (const auto& [i, wanted] : {std::pair<std::size_t, double>{0, 0.909297427}, {1, 0.969836096}, {96, -0.416146837}, {192, 0.841470985}, {288, 0.540302306}})
    CHECK(near(p[at + i], wanted, 1e-7));
  const Tensor f = TimestepEmbedding::base_frequencies();
  const auto embedded = [&](double t) { return concat(std::vector<Tensor>{cos(f * t), sin(f * t)}, 0).to_vector<double>(); };
  CHECK(near(embedded(0.9)[0], 0.621609968, 1e-8));
  CHECK(near(embedded(0.9)[1], 0.669311322, 1e-8));
  CHECK(near(embedded(0.9)[128], 0.783326910, 1e-8));
  CHECK(near(embedded(0.9)[255], 0.000096715, 1e-5));
  CHECK(near(embedded(350)[2], 0.076104239, 1e-7));
}

TEST_CASE("times are scaled by time_scale, and the embedding is differentiable in t") {
  DitConfig c = tiny(false);
  const Setting plain(c);
  c.time_scale = 1000;
  Setting scaled(c);
  copy_parameters(plain.net, scaled.net);
  CHECK(max_difference(scaled.net(plain.x, plain.t, plain.labels).value(), plain.net(plain.x, plain.t * 1000.0, plain.labels).value()) < 1e-12);
  CHECK(max_difference(scaled.net(plain.x, plain.t, plain.labels).value(), plain.net(plain.x, plain.t, plain.labels).value()) > 1e-3);
}

TEST_CASE("DiT: a training step changes every trained parameter, and no frozen one") {
  for (const bool mean_flow : {false, true}) {
    Dit net(tiny(mean_flow), 1);
    shake(net);
    const Dit before = clone(net);
    const Setting in;
    const auto f32 = [](const Tensor& t) { return t.to(DType::f32); };
    AdamW optimizer(named_parameters(net), {});
    Tape tape;
    const Var u = mean_flow ? net(f32(in.x), f32(in.s), f32(in.t), in.labels) : net(f32(in.x), f32(in.t), in.labels);
    const Gradients g = backward(sum(square(u)));
    for_each_parameter(net, [&](const std::string& name, Parameter& p) { CHECK_MESSAGE(g[p].defined() == p.trainable, name); });
    optimizer.step(g, {.lr = 1e-3});
    const StateDict old = state_dict(before), now = state_dict(net);
    for (std::size_t i = 0; i < now.size(); ++i)
      CHECK_MESSAGE((max_difference(old[i].second, now[i].second) > 0) == (now[i].first != "pos_embed"), now[i].first);
  }
}

TEST_CASE("DiT: undefined labels mean no label; one time means s = t; wrong shapes and a second time without mean_flow are refused") {
  const Setting a;
  const Tensor none = Tensor::full({3}, 10, DType::i64);
  CHECK(max_difference(a.net(a.x, a.s, a.t, {}).value(), a.net(a.x, a.s, a.t, none).value()) == 0);
  CHECK(max_difference(a.net(a.x, a.s, a.t, {}).value(), a.net(a.x, a.s, a.t, Tensor::full({3}, 9, DType::i64)).value()) > 1e-3);
  CHECK(max_difference(a.net(a.x, a.t, a.labels).value(), a.net(a.x, a.t, a.t, a.labels).value()) == 0);
  CHECK_THROWS_AS(Dit(tiny(false))(a.x, a.s, a.t, a.labels), ConfigError);
  CHECK_THROWS_AS(a.net(a.x.slice(1, 0, 2), a.s, a.t, a.labels), ShapeError);
  DitConfig odd = tiny(false);
  odd.width = 18;
  CHECK(has(error_of<ConfigError>([&] { const Dit net(odd); }), "width = 18 is not a multiple of 4"));
}

TEST_CASE("DiT: push along (w, 0, 1) agrees with the central difference, and pull is its transpose") {
  const Setting a;
  const auto [u, dudt] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
  CHECK(max_difference(u.value(), a.function()(a.x, a.s, a.t).value()) == 0);
  const auto along_path = [&](double h) { return a.function()(a.x + a.w * h, a.s, a.t + h).value(); };
  const double h = 1e-3;                                                   // differences of fourth order
  const Tensor difference = (along_path(h) - along_path(-h)) * (8.0 / 12) - (along_path(2 * h) - along_path(-2 * h)) * (1.0 / 12);
  CHECK(norm(difference / h - dudt) / norm(dudt) < 1e-9);

  const Tensor gy = wave(latents, 3), ds = wave({3}, 4), dt = wave({3}, 5);
  Tape tape;
  const Var x = tape.variable(a.x), s = tape.variable(a.s), t = tape.variable(a.t);
  const auto [y, dy] = jvp(a.function(), at(x, s, t), along(a.w, ds, dt));
  const Gradients g = backward(sum(y * gy));
  const double pushed = dot(dy, gy), pulled = dot(g[x], a.w) + dot(g[s], ds) + dot(g[t], dt);
  CHECK(std::abs(pushed - pulled) / (norm(dy) * norm(gy)) < 5e-15);
}

TEST_CASE("DiT: recomputed blocks give the same values, tangents and gradients with less memory") {
  DitConfig c = tiny(true);
  c.depth = 6;
  Setting plain(c);
  c.recompute = true;
  Setting again(c);
  const auto run = [&](Setting& a, std::size_t& peak) {
    const std::size_t before = memory_stats().live;
    reset_memory_peak();
    Tape tape;
    const auto [u, du] = jvp(a.function(), at(a.x, a.s, a.t), along(a.w, zero, 1.0));
    const Gradients g = backward(sum(u * a.w));
    peak = memory_stats().peak - before;
    StateDict out{{"u", u.value()}, {"du", du}};
    for_each_parameter(a.net, [&](const std::string& name, Parameter& p) {
      if (p.trainable) out.emplace_back(name, g[p]);
    });
    return out;
  };
  std::size_t full = 0, reduced = 0;
  const StateDict want = run(plain, full), got = run(again, reduced);
  for (std::size_t i = 0; i < want.size(); ++i) CHECK_MESSAGE(max_difference(want[i].second, got[i].second) <= 1e-14 * (1 + norm(want[i].second)), want[i].first);
  CHECK(reduced < full);
}

TEST_CASE("DiT in bf16 stays near f32, for the value and for du/dt") {
  DitConfig c = tiny(true);
  Setting a(c);
  to_dtype(a.net, DType::f32);
  const auto run = [&](const Dit& net) {
    const auto f32 = [](const Tensor& t) { return t.to(DType::f32); };
    const auto f = [&](const Var& z, const Var& s, const Var& t) { return net(z, s, t, a.labels); };
    return jvp(f, at(f32(a.x), f32(a.s), f32(a.t)), along(f32(a.w), zero, 1.0));
  };
  c.precision = "bf16";
  Dit half(c);
  copy_parameters(a.net, half);
  const auto [u, du] = run(a.net);
  const auto [v, dv] = run(half);
  CHECK(v.value().dtype() == DType::f32);
  const double of_value = norm(u.value() - v.value()) / norm(u.value()), of_tangent = norm(du - dv) / norm(du);
  MESSAGE("relative error of bf16: value " << of_value << ", du/dt " << of_tangent);
  CHECK(of_value > 0);
  CHECK(of_value < 0.02);
  CHECK(of_tangent < 0.05);
}

TEST_CASE("DiT: a saved model loaded into one of another seed gives the same bits") {
  Dit a(tiny(true), 1), b(tiny(true), 2);
  shake(a);
  load_state(b, state_dict(a));
  const Tensor x = golden_input({2, 4, 8, 8}), s = Tensor::full({2}, 0.2), t = Tensor::full({2}, 0.7);
  CHECK(max_difference(a(x, s, t, {}).value(), b(x, s, t, {}).value()) == 0);
}

TEST_CASE("files of DiT's kind load under their published names") {
  TempFolder folder;
  Dit map(tiny(true), 1), velocity(tiny(false), 2);
  shake(map);
  shake(velocity);
  const NamedTensors of_map = state_dict(map), of_velocity = state_dict(velocity);
  const auto loaded = [&](const NamedTensors& stored, const std::string& wrapper) {
    const auto path = folder / "published.pt";
    TorchWriter::write(path, stored, wrapper);
    return load_dit(path.string(), {}, {}).tensors;
  };
  NamedTensors repa = of_velocity;                                         // REPA's projectors stand between the blocks and the last layer
  repa.insert(repa.end() - 4, {"projectors.0.0.weight", Tensor::zeros({3, 16})});
  CHECK(same_in_any_order(loaded(of_velocity, ""), of_velocity));
  CHECK(same_in_any_order(loaded(repa, "ema"), of_velocity));
  CHECK(same_in_any_order(loaded(of_map, "ema"), of_map));
  CHECK(same_in_any_order(loaded(with_prefix(of_map, "r_embedder.", "h_embedder."), ""), of_map));
  CHECK(same_in_any_order(loaded(with_prefix(of_map, "", "module."), ""), of_map));
  CHECK(has(error_of<FileError>([&] { to_our_names(of_map, "dit"); }), "no dit in this file: it is a DiT or SiT"));
}

TEST_CASE("a file of SiT becomes a velocity on this project's clock, with a warning; a checkpoint of this program stays as it is") {
  TempFolder folder;
  Dit sit(tiny_sit(), 1);
  shake(sit);
  TorchWriter::write(folder / "SiT-XL-2-256.pt", state_dict(sit), "ema");
  std::string warning;
  const Weights weights = load_dit((folder / "SiT-XL-2-256.pt").string(), {}, [&](const std::string& line) { warning = line; });
  CHECK(has(warning, "taken as a SiT, whose clock is reversed"));
  const Dit own = frozen_model<Dit>(tiny(false), weights);
  const Tensor x = golden_input({2, 4, 8, 8}), t = Tensor::from<float>({0.9f, 0.35f}, {2}), y = Tensor::from<std::int64_t>({3, 10}, {2});
  const Tensor wanted = affine(sit(x, t, y).value(), -1, 0), v = own(x, 1.0 - t, y).value();
  CHECK(norm(v - wanted) / norm(wanted) < 1e-5);
  CHECK(norm(own(x, t, y).value() - wanted) / norm(wanted) > 1e-2);        // on SiT's clock it would be another velocity

  CheckpointFolder checkpoints(folder / "own", 1, 0);
  save_checkpoint(checkpoints, 3, {{"model", state_dict(sit)}}, nlohmann::ordered_json::object());
  for (const std::string& origin : dit_origins()) CHECK(same_in_any_order(load_dit((folder / "own").string(), {.origin = origin}, {}).tensors, state_dict(sit)));
}

TEST_CASE("a missing or wrong tensor of a DiT's file is an error with the file's name") {
  const auto error_without = [](const std::string& gone) {
    Weights w{"sit.pt", state_dict(Dit(tiny_sit())), -1, nullptr};
    std::erase_if(w.tensors, [&](const auto& t) { return t.first == gone; });
    return error_of<FileError>([&] { dit_config_of(w); });
  };
  CHECK(error_without("x_embedder.proj.weight") == "sit.pt: x_embedder.proj.weight is missing");
  CHECK(error_without("final_layer.linear.weight") == "sit.pt: final_layer.linear.weight is missing");
  CHECK(error_without("pos_embed") == "sit.pt: pos_embed is missing");
}

TEST_CASE("the config of every published size is found from its weights") {
  const ShapesOnly shapes;
  for (const std::string& size : dit_sizes())
    for (const std::int64_t pixels : {256, 512})
      for (const bool mean_flow : {false, true}) {
        DitConfig c = dit(size, pixels, mean_flow);
        c.learn_sigma = !mean_flow;
        DitConfig found = dit_config_of({"model.pt", state_dict(Dit(c)), -1, nullptr});
        CHECK(found.learn_sigma == c.learn_sigma);
        std::vector<std::string> a, b;
        for (const Field& f : list_fields(c)) a.push_back(f.path + " = " + to_text(f));
        for (const Field& f : list_fields(found)) b.push_back(f.path + " = " + to_text(f));
        CHECK(a == b);
      }
}
