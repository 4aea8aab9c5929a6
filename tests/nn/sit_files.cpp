// Published files of SiT's kind and of SD-VAE: stand-ins of every layout load as the network that they were written from, on this project's clock; files
// of another kind are named for what they are.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nn/backbones/dit.h"
#include "nn/loaded.h"
#include "nn/models/dit_weights.h"
#include "nn/models/flax_dit_names.h"
#include "nn/models/published_weights.h"
#include "tests/support/error_of.h"
#include "tests/support/model_check.h"
#include "tests/support/sit_stand_ins.h"
#include "tests/support/temp_folder.h"

using namespace fm;
using namespace fm::test;

namespace {

const SitStandIns& files() { return sit_stand_ins(); }

constexpr std::int64_t side = 8;
DitReading as(const std::string& origin) { return {origin, side}; }

Weights read(const std::filesystem::path& file, const std::string& origin = "auto") { return load_dit(file.string(), as(origin), {}); }

Dit network(const std::filesystem::path& file, const std::string& origin = "auto") {
  const Weights w = read(file, origin);
  return frozen_model<Dit>(dit_config_of(w, as(origin)), w);
}


const Tensor& latents() {
  static const Tensor z = golden_input({2, 4, side, side});
  return z;
}
Tensor times(float a, float b) { return Tensor::from<float>({a, b}, {2}); }
Tensor labels() { return Tensor::from<std::int64_t>({3, 10}, {2}); }

// The velocity of a SiT at our time t.
Tensor reversed(const Dit& sit, const Tensor& t) { return sit(latents(), 1.0 - t, labels()).value() * -1.0; }

std::string refusal(const std::filesystem::path& file, const std::string& origin = "auto") {
  return error_of<FileError>([&] { read(file, origin); });
}

}  // namespace

TEST_CASE("a SiT's file, with or without its second half of channels, becomes a velocity on this project's clock") {
  const Tensor t = times(0.9f, 0.35f);
  for (const auto& [file, origin, net] : {std::tuple{&files().sit, "auto", random_sit(1, true)}, {&files().sit, "sit", random_sit(1, true)},
                                          {&files().sit_plain, "sit", random_sit(2)}, {&files().dit, "sit", random_sit(1, true)}}) {
    const Tensor wanted = reversed(net, t), got = network(*file, origin)(latents(), t, labels()).value();
    CHECK(norm(got - wanted) < 1e-5 * norm(wanted));
  }
  // The angles of times, which the change of weights rotates, contain the network's factor of times.
  DitConfig faster = small_sit();
  faster.time_scale = 10, faster.origin = "sit";
  const Tensor wanted_of_faster = reversed(random_sit(faster, 2), t);
  const Dit read_as_faster = frozen_model<Dit>(faster, DitBackbone::read(faster, files().sit_plain.string(), {}));
  CHECK(norm(read_as_faster(latents(), t, labels()).value() - wanted_of_faster) < 1e-5 * norm(wanted_of_faster));
  // Without the setting a SiT without its second half of channels is taken as a REPA: another velocity.
  const Tensor wanted = reversed(random_sit(2), t);
  CHECK(norm(network(files().sit_plain)(latents(), t, labels()).value() - wanted) > 0.05 * norm(wanted));
}

TEST_CASE("REPA and REG load without their projectors, MeanFlow under each name of its second embedding") {
  CHECK(same_in_any_order(read(files().repa).tensors, state_dict(random_sit(3))));
  CHECK(same_in_any_order(read(files().repa, "repa").tensors, state_dict(random_sit(3))));
  CHECK(same_in_any_order(read(files().reg).tensors, state_dict(random_sit(small_reg(), 4))));
  for (const auto* file : {&files().mean_flow_z, &files().mean_flow_hz, &files().mean_flow_flax})
    for (const char* origin : {"auto", "mean_flow"}) CHECK(same_in_any_order(read(*file, origin).tensors, state_dict(random_sit(5, false, true))));
  CHECK(dit_config_of(read(files().reg)).class_token == 12);
  CHECK(dit_config_of(read(files().reg)).input_size == side);
  CHECK_FALSE(dit_config_of(read(files().mean_flow_z, "mean_flow"), as("mean_flow")).shared_times);
  CHECK(dit_config_of(read(files().mean_flow_z)).mean_flow);
}

TEST_CASE("an early MeanFlow is a flow map with one embedding for both times, if origin says so") {
  const Dit net = network(files().mean_flow_early, "mean_flow"), wanted = early_mean_flow(6);
  CHECK(net.config.mean_flow);
  CHECK(net.config.shared_times);
  const Tensor s = times(0.2f, 0.1f), t = times(0.9f, 0.6f);
  CHECK(max_difference(net(latents(), s, t, labels()).value(), wanted(latents(), s, t, labels()).value()) == 0);
  // T(s) + T(t) is symmetric, and at s = t twice one embedding: that of a velocity whose last layer of T is doubled.
  CHECK(max_difference(net(latents(), s, t, labels()).value(), net(latents(), t, s, labels()).value()) < 1e-6);
  DitConfig c = small_sit();
  Dit doubled = random_sit(c, 6);
  adopt_state(doubled, state_dict(wanted));
  for (Parameter* p : {&doubled.t_embedder.second.weight, &doubled.t_embedder.second.bias}) p->value = p->value * 2.0;
  CHECK(max_difference(net(latents(), t, labels()).value(), doubled(latents(), t, labels()).value()) < 1e-5);
  CHECK(max_difference(net(latents(), t, t, labels()).value(), net(latents(), t, labels()).value()) == 0);
  CHECK_FALSE(dit_config_of(read(files().mean_flow_early)).mean_flow);
}

TEST_CASE("the line about loaded weights names the clock, and says if it is assumed") {
  const auto line = [](const std::filesystem::path& file, const std::string& origin) {
    const Weights w = read(file, origin);
    return loaded_line("teacher", std::string("a DiT"), w.tensors, LoadedFrom(w));
  };
  CHECK(has(line(files().sit, "auto"), "read as SiT: its time 1 is data, reversed"));
  CHECK(has(line(files().sit_plain, "sit"), "read as SiT: its time 1 is data, reversed"));
  CHECK(has(line(files().sit_plain, "auto"), "read as REPA: time 0 is data, assumed (a SiT without"));
  CHECK(line(files().repa, "repa").ends_with("read as REPA: time 0 is data"));
  CHECK(line(files().reg, "auto").ends_with("read as REG: time 0 is data"));
  CHECK(line(files().mean_flow_hz, "auto").ends_with("read as MeanFlow: time 0 is data"));
  CHECK(has(line(files().mean_flow_early, "mean_flow"), "read as an early MeanFlow with one embedding for both times"));
  std::string warning;
  load_dit(files().sit.string(), {}, [&](const std::string& text) { warning = text; });
  CHECK(has(warning, "taken as a SiT, whose clock is reversed"));
  warning.clear();
  load_dit(files().sit.string(), {"sit", side}, [&](const std::string& text) { warning = text; });
  CHECK(warning.empty());
}

TEST_CASE("a tensor that could not be read is an error, even where a file need not have it: another network would be taken") {
  const auto without = [](const std::filesystem::path& file, const std::string& name, const std::string& name_in_file) {
    Weights w = read(file);
    std::erase_if(w.tensors, [&](const auto& t) { return t.first == name; });
    w.unread.push_back({"ema." + name_in_file, "made for this test"});
    return error_of<FileError>([&] { dit_config_of(w); });
  };
  const auto check = [&](const std::filesystem::path& file, const std::string& name, const std::string& name_in_file) {
    const std::string what = without(file, name, name_in_file);
    CHECK_MESSAGE(has(what, file.filename().string() + ": " + name_in_file + " is needed, but could not be read"), what);
  };
  check(files().mean_flow_z, "r_embedder.mlp.0.weight", "r_embedder.mlp.0.weight");
  check(files().mean_flow_hz, "r_embedder.mlp.0.weight", "h_embedder.mlp.0.weight");
  check(files().reg, "cls_projectors2.weight", "cls_projectors2.weight");
  check(files().repa, "blocks.1.attn.qkv.weight", "blocks.1.attn.qkv.weight");
}

TEST_CASE("a DiT is named for what it is; an origin that contradicts the tensors is refused") {
  CHECK(has(refusal(files().dit), "DiT-XL-2-256x256.pt: by its name and its second half of output channels a DiT, which predicts noise on a diffusion path"));
  CHECK(has(refusal(files().sit, "repa"), "origin \"repa\" does not fit: the weights have a second half of output channels: they are those of a SiT or a DiT"));
  CHECK(has(refusal(files().sit, "mean_flow"), "origin \"mean_flow\" does not fit: the weights have a second half of output channels"));
  CHECK(has(refusal(files().mean_flow_z, "sit"), "origin \"sit\" does not fit: the weights have a second embedding of times: they are those of a MeanFlow"));
  CHECK(has(refusal(files().mean_flow_hz, "repa"), "they are those of a MeanFlow"));
  for (const char* origin : {"sit", "mean_flow"}) CHECK(has(refusal(files().reg, origin), "the weights have a class token: they are those of a REG"));
  CHECK(has(refusal(files().vae), "no sit in this file: it is an AutoencoderKL of diffusers"));
  CHECK(has(refusal(files().vae_ckpt), "no sit in this file: it is an autoencoder under CompVis' names"));
  CHECK(has(error_of<FileError>([] { load_part(files().reg.string(), weights_part::vae, {}); }), "no vae in this file: it is a DiT or SiT"));
  CHECK(has(error_of<FileError>([] { load_part(files().mean_flow_flax.string(), weights_part::vae, {}); }), "it is a MeanFlow under Flax's names"));
  DitDhConfig dh = dit_dh("S");
  shrink(dh);
  const TempFolder folder;
  TorchWriter::write(folder / "stage2_model.pt", state_dict(DitDh(dh, 1)));
  CHECK(has(refusal(folder / "stage2_model.pt"), "no sit in this file: it is a DiT^DH"));
}

TEST_CASE("a REG keeps its class token as a teacher, and loses it, with a word, as the start of a network without one") {
  DitConfig c = small_sit();
  Weights weights = DitBackbone::read(c, files().reg.string(), {});
  DitBackbone::take_weights(c, weights);
  CHECK(c.class_token == 12);
  CHECK_NOTHROW(frozen_model<Dit>(c, DitBackbone::read(c, files().reg.string(), {})));
  CHECK(has(DitBackbone::leave_out(weights), "reg.pt: a REG, whose class token of 12 numbers this network lacks"));
  Dit start(small_sit(), 1);
  load_model(start, weights);
  const Dit reg = random_sit(small_reg(), 4);
  CHECK(max_difference(start.blocks[1].mlp.fc1.weight.value, reg.blocks[1].mlp.fc1.weight.value) == 0);
  CHECK(max_difference(start.position_table.value, Dit(small_sit(), 1).position_table.value) == 0);       // REG's first row, of the token, is gone
  CHECK(max_difference(without_class_token(state_dict(reg)).front().second, reg.position_table.value.slice(1, 1, 17)) == 0);
  Weights plain = DitBackbone::read(c, files().repa.string(), {});
  CHECK(DitBackbone::leave_out(plain).empty());
  DitBackbone::take_weights(c, plain);
  CHECK(c.class_token == 0);
}

TEST_CASE("trainings refuse an early MeanFlow, and say what is missing") {
  DitConfig c = small_sit();
  CHECK(same_in_any_order(DitBackbone::read(c, files().mean_flow_flax.string(), {}).tensors, state_dict(random_sit(5, false, true))));
  c.origin = "mean_flow";
  CHECK(has(error_of<FileError>([&] { DitBackbone::read(c, files().mean_flow_early.string(), {}); }), "one embedding for both times, made by an early version"));
  c.origin = "sit";
  CHECK(same_in_any_order(DitBackbone::read(c, files().sit_plain.string(), {}).tensors, with_reversed_clock(state_dict(random_sit(2)))));
}

TEST_CASE("Flax: positions follow from the side of the latents; the parts of a checkpoint; wrong kernels and names") {
  const NamedTensors ours = state_dict(random_sit(5, false, true));
  for (const char* prefix : {"ema_params/net/", "params/net/", "net/", "params/", ""}) CHECK(flax_dit_tensors(flax_tensors(ours, prefix)).size() + 1 == ours.size());
  const TempFolder folder;
  const auto error_with = [&](const std::string& name, const std::string& other, const Tensor& values) {
    NamedTensors t = flax_tensors(ours, "net/");
    for (auto& entry : t)
      if (entry.first == name) entry = {other, values};
    write_npz(folder / "flax.npz", t);
    return refusal(folder / "flax.npz");
  };
  const std::string qkv = "net/blocks/layers_1/attn/qkv/_flax_linear/kernel";
  CHECK(has(error_with(qkv, qkv, Tensor::zeros({48, 16})), "flax.npz: " + qkv + " has shape [48, 16], but its bias has 48 numbers: a Flax kernel ends with the outputs"));
  CHECK(has(error_with(qkv, qkv, Tensor::zeros({16, 1, 48})), "has shape [16, 1, 48]: a Flax kernel is (in, out)"));
  CHECK(has(error_with(qkv, "net/blocks/layers_1/attn/qkv/scale", Tensor::zeros({16})), "is not a name of MeanFlow's Flax network"));
  CHECK(has(error_of<FileError>([&] { load_dit(files().mean_flow_flax.string(), {"auto", 9}, {}); }), "patches of 2 positions do not divide a latent of side 9"));
  CHECK(dit_config_of(load_dit(files().mean_flow_flax.string(), {}, {})).input_size == 32);
}

TEST_CASE("msgpack files of Flax and folders of Orbax are refused with the way to arrays") {
  const TempFolder folder;
  write_atomically(folder / "checkpoint_10", std::string("\x83\xa4step\x0a\xa6params\x80\xaa", 15) + "ema_params\x80");
  CHECK(has(refusal(folder / "checkpoint_10"), "checkpoint_10: a msgpack file, as Flax writes its checkpoints. Load it in Python and save its arrays"));
  std::filesystem::create_directories(folder / "orbax");
  write_atomically(folder / "orbax/_METADATA", "{}");
  CHECK(has(refusal(folder / "orbax"), "orbax is a checkpoint of Orbax (JAX). Restore it in Python"));
}

TEST_CASE("autoencoders of every layout load as the same network, whose config follows from the tensors") {
  const NamedTensors wanted = state_dict(AutoencoderKL(small_vae(), 7));
  for (const auto* file : {&files().vae, &files().vae_old, &files().vae_ckpt, &files().stable_diffusion}) {
    CAPTURE(file->string());
    const Weights w = load_part(file->string(), weights_part::vae, {});
    CHECK(same_in_any_order(w.tensors, wanted));
    const AutoencoderKLConfig c = autoencoder_kl_config_of(w);
    CHECK(c.widths == std::vector<std::int64_t>{32, 32});
    CHECK(c.resnets == 1);
    CHECK(c.latent_channels == 4);
    CHECK(c.image_channels == 3);
  }
  {
    const ShapesOnly shapes;
    const AutoencoderKLConfig published, found = autoencoder_kl_config_of({"kl-f8", state_dict(AutoencoderKL(published)), -1, nullptr});
    CHECK(found.widths == published.widths);
    CHECK(found.resnets == published.resnets);
  }
  Weights odd{"odd.ckpt", wanted, -1, nullptr};
  for (auto& [name, t] : odd.tensors)
    if (name == "encoder.down_blocks.1.resnets.0.conv1.weight") t = Tensor::zeros({33, 32, 3, 3});
  CHECK(has(error_of<FileError>([&] { autoencoder_kl_config_of(odd); }), "a level of the autoencoder has 33 channels, which 32 groups do not divide"));
  std::erase_if(odd.tensors, [](const auto& t) { return t.first == "post_quant_conv.weight"; });
  CHECK(error_of<FileError>([&] { autoencoder_kl_config_of(odd); }) == "odd.ckpt: post_quant_conv.weight is missing");
}

TEST_CASE("the scale of latents is read from the config.json of diffusers") {
  CHECK(scaling_factor_beside(files().vae / "diffusion_pytorch_model.safetensors") == 0.18215);
  CHECK(scaling_factor_beside(files().sdxl / "diffusion_pytorch_model.safetensors") == 0.13025);
  CHECK_FALSE(scaling_factor_beside(files().vae_ckpt));
  const TempFolder folder;
  const auto written = [&](const char* json) {
    write_atomically(folder / "config.json", json);
    return scaling_factor_beside(folder / "model.safetensors");
  };
  CHECK_FALSE(written(R"({"_class_name": "AutoencoderKL"})"));
  CHECK_FALSE(written(R"({"_class_name": "UNet", "scaling_factor": 2})"));
  CHECK_FALSE(written("no json"));
  CHECK(has(error_of<FileError>([&] { written(R"({"_class_name": "AutoencoderKL", "scaling_factor": 0.3611, "shift_factor": 0.1159})"); }), "shift_factor 0.1159"));
}
