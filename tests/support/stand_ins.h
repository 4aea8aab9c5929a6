// Files with the names and the layout of the published files (mfrae.md 2.1, 1.3) and random values, at full size or small enough for a test to
// write. Small files differ only in sizes.
#pragma once

#include "nn/models/presets.h"
#include "tensor/random/fill.h"
#include "tests/support/torch_writer.h"

namespace fm::test {

// The paths of the files in the folder `models`, as in configs/imagenet*/.
struct StandIns {
  std::filesystem::path encoder, decoder, stats, teacher, weak, flow_map;

  static StandIns at(const std::filesystem::path& models, std::int64_t image_size) {
    const bool large = image_size == 512;
    const std::filesystem::path dits = models / "DiTs/Dinov2/wReg_base" / ("ImageNet" + std::to_string(image_size));
    StandIns s;
    s.encoder = models / "dinov2-with-registers-base/model.safetensors";
    s.decoder = models / "decoders/dinov2/wReg_base" / (large ? "ViTXL_n08_i512" : "ViTXL_n08") / "model.pt";
    s.stats = models / "stats/dinov2/wReg_base" / (large ? "imagenet1k_512" : "imagenet1k") / "stat.pt";
    s.teacher = dits / (large ? "DiTDH-XL_ep400" : "DiTDH-XL") / "stage2_model.pt";
    s.weak = dits / (large ? "DiTDH-S_ep20" : "DiTDH-S_ep14") / "stage2_model.pt";
    s.flow_map = models / "MF-RAE" / ("mf_rae_" + std::to_string(image_size) + ".pt");
    return s;
  }
};

// Gives random values to the weights that start at zero, because these zeros make all outputs equal.
template <class M> void fill_zeros(M& model, std::uint64_t seed) {
  std::uint64_t number = 0;
  for_each_parameter(model, [&](const std::string& name, Parameter& p) {
    if (name.find("adaLN") != std::string::npos || name.starts_with("final_layer.linear"))
      p.value.copy_from(random_normal(p.value.shape(), {.seed = seed + ++number}) * 0.02);
  });
}

inline void shrink(DitDhConfig& c) { c.channels = 16, c.width = 16, c.depth = 2, c.heads = 2, c.head_width = 24, c.head_heads = 2; }
inline void shrink(VitEncoderConfig& c) { c.width = 16, c.depth = 1, c.heads = 2, c.mlp_width = 32; }
inline void shrink(RaeDecoderConfig& c) { c.latent_channels = 16, c.width = 128, c.depth = 1, c.heads = 2, c.mlp_width = 64; }

// Writes all stand-ins, one model at a time in memory.
inline StandIns write_stand_ins(const std::filesystem::path& models, std::int64_t image_size, bool full, std::uint64_t seed = 1) {
  const StandIns files = StandIns::at(models, image_size);
  for (const std::filesystem::path& f : {files.encoder, files.decoder, files.stats, files.teacher, files.weak, files.flow_map})
    std::filesystem::create_directories(f.parent_path());
  RaeConfig autoencoder = rae("dinov2-B", "XL", image_size);
  if (!full) shrink(autoencoder.encoder), shrink(autoencoder.decoder);
  autoencoder.encoder.affine_norm = true;                              // the published file has these weights, though RAE does not read them
  save_safetensors(files.encoder, state_dict(VitEncoder(autoencoder.encoder, seed)), {{"format", "pt"}});
  TorchWriter::write(files.decoder, state_dict(RaeDecoder(autoencoder.decoder, seed)));
  const auto dit = [&](const std::filesystem::path& file, const char* size, bool mean_flow) {
    DitDhConfig c = dit_dh(size, image_size, mean_flow);
    if (!full) shrink(c);
    DitDh model(c, ++seed);
    fill_zeros(model, seed);
    TorchWriter::write(file, state_dict(model), mean_flow ? "ema" : "");
  };
  dit(files.teacher, "XL", false);
  dit(files.weak, "S", false);
  dit(files.flow_map, "XL", true);
  const std::int64_t side = autoencoder.decoder.latent_size;
  TorchWriter::write(files.stats, {{"var", random_uniform({autoencoder.decoder.latent_channels, side, side}, {.seed = seed}) + 0.5}}, "",
                   {"mean"});
  return files;
}

}  // namespace fm::test
