// Files with the names and the layouts of the published files of SiT's kind and of SD-VAE (sdvae-sit.md 1.2, 2.2, 2.5, 3.1), with random values and
// small: networks of two blocks of width 16 on latents (4, 8, 8), an autoencoder of two levels for images of 16 x 16.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nn/models/autoencoder_kl.h"
#include "nn/models/autoencoder_kl_names.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tests/support/stand_ins.h"
#include "tests/support/temp_folder.h"

namespace fm::test {

inline DitConfig small_sit() {
  DitConfig c;
  c.input_size = 8, c.channels = 4, c.patch_size = 2, c.classes = 10;
  c.width = 16, c.depth = 2, c.heads = 1;
  return c;
}

inline DitConfig small_reg() {
  DitConfig c = small_sit();
  c.class_token = 12;
  return c;
}

// Weights so large that time, label and class token change the output by as much as the latent does, and an error in any of them shows in a pixel.
inline Dit random_sit(const DitConfig& config, std::uint64_t seed) {
  Dit net(config, seed);
  std::uint64_t number = 100 * seed;
  for_each_parameter(net, [&](const std::string& name, Parameter& p) {
    if (!p.trainable) return;
    const Tensor values = random_normal(p.value.shape(), {.seed = ++number}) * 0.25;
    p.value.copy_from(name == "wg_norm.weight" ? values + 1.0 : values);
  });
  return net;
}

inline Dit random_sit(std::uint64_t seed, bool sigma = false, bool mean_flow = false) {
  DitConfig c = small_sit();
  c.learn_sigma = sigma, c.mean_flow = mean_flow;
  return random_sit(c, seed);
}

// A MeanFlow with one embedding for both times.
inline Dit early_mean_flow(std::uint64_t seed) {
  DitConfig c = small_sit();
  c.mean_flow = c.shared_times = true;
  return random_sit(c, seed);
}

inline AutoencoderKLConfig small_vae() {
  AutoencoderKLConfig c;
  c.widths = {32, 32}, c.resnets = 1;
  return c;
}

// The tensors with `from` at the beginning of a name, or inside it, replaced by `to`.
inline NamedTensors renamed_all(NamedTensors tensors, const std::vector<std::pair<std::string, std::string>>& names) {
  for (auto& [name, t] : tensors)
    for (const auto& [from, to] : names)
      if (const std::size_t at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  return tensors;
}

// The tensors of REPA and REG, with the projectors that they train: between the blocks and the last layer.
inline NamedTensors with_projectors(NamedTensors tensors) {
  const auto last = std::find_if(tensors.begin(), tensors.end(), [](const auto& t) { return t.first.starts_with("final_layer."); });
  NamedTensors projectors;
  for (const char* layer : {"0", "2", "4"}) {
    projectors.emplace_back(std::string("projectors.0.") + layer + ".weight", Tensor::full({24, 24}, 0.1));
    projectors.emplace_back(std::string("projectors.0.") + layer + ".bias", Tensor::full({24}, 0.1));
  }
  tensors.insert(last, projectors.begin(), projectors.end());
  return tensors;
}

// "blocks.3.adaLN_modulation.1.weight" -> "blocks/layers_3/adaLN_modulation/layers_1/_flax_linear/kernel", with the values in Flax's layout.
inline std::pair<std::string, Tensor> in_flax(const std::string& name, const Tensor& t) {
  if (name == "x_embedder.proj.weight") return {"x_embedder/proj/kernel", t.permute({2, 3, 1, 0}).contiguous()};
  if (name == "x_embedder.proj.bias") return {"x_embedder/proj/bias", t};
  if (name == "y_embedder.embedding_table.weight") return {"y_embedder/embedding_table/_flax_embedding/embedding", t};
  std::string out, word;
  for (const char c : name.substr(0, name.rfind('.') + 1)) {
    if (c != '.') {
      word += c;
      continue;
    }
    out += (word.find_first_not_of("0123456789") == std::string::npos ? "layers_" : "") + word + "/";
    word.clear();
  }
  out += "_flax_linear/";
  return name.ends_with(".bias") ? std::pair(out + "bias", t) : std::pair(out + "kernel", t.transpose(0, 1).contiguous());
}

// Tensors of a MeanFlow (with r_embedder) as the Flax code stores them, below `prefix`. There is no table of positions.
inline NamedTensors flax_tensors(const NamedTensors& ours, const std::string& prefix) {
  NamedTensors out;
  for (const auto& [name, t] : renamed_all(ours, {{"r_embedder.", "h_embedder."}})) {
    if (name == "pos_embed") continue;
    const auto [flax, values] = in_flax(name, t);
    out.emplace_back(prefix + flax, values);
  }
  return out;
}

inline void write_npz(const std::filesystem::path& file, const NamedTensors& tensors) {
  NpzWriter npz(file);
  for (const auto& [name, t] : tensors) npz.add<float>(name, {t.shape().begin(), t.shape().end()}, t.to_vector<float>());
  npz.finish();
}

struct SitStandIns {
  std::filesystem::path dit, sit, sit_plain, repa, reg, mean_flow_z, mean_flow_hz, mean_flow_early, mean_flow_flax;
  std::filesystem::path vae, vae_old, vae_ckpt, stable_diffusion, sdxl;

  // Seeds of the networks: sit 1, sit_plain 2, repa 3, reg 4, mean_flow_z 5 (hz and flax are the same network), early 6; vae 7.
  static SitStandIns write(const std::filesystem::path& folder) {
    SitStandIns s;
    write_networks(s, folder);
    write_autoencoders(s, folder);
    return s;
  }

 private:
  static std::filesystem::path torch_file(const std::filesystem::path& file, const NamedTensors& tensors, const std::string& wrapper) {
    std::filesystem::create_directories(file.parent_path());
    TorchWriter::write(file, tensors, wrapper);
    return file;
  }
  static void write_networks(SitStandIns& s, const std::filesystem::path& folder) {
    const NamedTensors sit = state_dict(random_sit(1, true)), map = state_dict(random_sit(5, false, true));
    s.dit = torch_file(folder / "DiT-XL-2-256x256.pt", sit, "");
    s.sit = torch_file(folder / "SiT-XL-2-256x256.pt", sit, "");
    s.sit_plain = torch_file(folder / "sit_without_sigma.pt", state_dict(random_sit(2)), "ema");
    s.repa = torch_file(folder / "repa.pt", with_projectors(state_dict(random_sit(3))), "ema");
    s.reg = torch_file(folder / "reg.pt", with_projectors(state_dict(random_sit(small_reg(), 4))), "ema");
    s.mean_flow_z = torch_file(folder / "mean_flow_z.pt", map, "ema");
    s.mean_flow_hz = torch_file(folder / "mean_flow_hz.pt", renamed_all(map, {{"r_embedder.", "h_embedder."}}), "ema");
    s.mean_flow_early = torch_file(folder / "mean_flow_early.pt", state_dict(early_mean_flow(6)), "ema");
    s.mean_flow_flax = folder / "mean_flow_flax.npz";
    NamedTensors flax = flax_tensors(state_dict(random_sit(8, false, true)), "params/net/");     // other weights: those of "ema_params" must be taken
    for (const auto& entry : flax_tensors(map, "ema_params/net/")) flax.push_back(entry);
    flax.emplace_back("opt_state/0/count", Tensor::full({1}, 3.0));
    write_npz(s.mean_flow_flax, flax);
  }
  static void write_autoencoders(SitStandIns& s, const std::filesystem::path& folder) {
    const NamedTensors vae = state_dict(AutoencoderKL(small_vae(), 7)), compvis = to_compvis_vae(vae);
    const auto diffusers = [&](const char* name, double scale) {
      std::filesystem::create_directories(folder / name);
      save_safetensors(folder / name / "diffusion_pytorch_model.safetensors", vae, {{"format", "pt"}});
      write_atomically(folder / name / "config.json", R"({"_class_name": "AutoencoderKL", "latent_channels": 4, "scaling_factor": )" + std::to_string(scale) + "}");
      return folder / name;
    };
    s.vae = diffusers("sd-vae-ft-ema", 0.18215), s.sdxl = diffusers("sdxl-vae", 0.13025);
    s.vae_old = torch_file(folder / "old/diffusion_pytorch_model.bin",
                           renamed_all(vae, {{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}}), "");
    NamedTensors lone = compvis;
    lone.emplace_back("loss.logvar", Tensor::zeros({1}));
    s.vae_ckpt = torch_file(folder / "vae-ft-ema-560000.ckpt", lone, "state_dict");
    NamedTensors whole{{"model.diffusion_model.time_embed.0.weight", Tensor::zeros({4, 4})}};
    for (const auto& [name, t] : compvis) whole.emplace_back("first_stage_model." + name, t);
    s.stable_diffusion = torch_file(folder / "sd-v1-4.ckpt", whole, "state_dict");
  }
};

// The files, written once into a folder that lives as long as the program.
inline const SitStandIns& sit_stand_ins() {
  static const TempFolder folder;
  static const SitStandIns made = SitStandIns::write(folder.path());
  return made;
}

}  // namespace fm::test
