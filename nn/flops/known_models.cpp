#include "nn/flops/known_models.h"

#include "nn/backbones/dit.h"
#include "nn/backbones/dit_dh.h"
#include "nn/config/visit.h"
#include "nn/flops/autoencoder.h"
#include "nn/models/presets.h"
#include "tensor/error.h"

namespace fm {
namespace {

std::string lower(std::string s) {
  for (char& c : s)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return s;
}

void add_encoders(std::vector<KnownModel>& models) {
  for (const char* size : {"S", "B", "L"})
    for (const std::int64_t image_size : {256, 512}) {
      const std::int64_t input = dinov2_input_size(image_size);
      models.push_back(
          {"dinov2-" + lower(size) + "-" + std::to_string(input), "DINOv2 with registers, mfrae.md 1.3", cost_table(dinov2(size), input)});
    }
  models.push_back({"siglip2-b-256", "google/siglip2-base-patch16-256, mfrae.md 1.4", cost_table(siglip2(), 256)});
  models.push_back({"mae-b-256", "facebook/vit-mae-base, mfrae.md 1.4", cost_table(vit_mae(), 256)});
}

void add_decoders(std::vector<KnownModel>& models) {
  for (const char* size : {"B", "L", "XL"})
    for (const std::int64_t image_size : {256, 512}) {
      const bool in_paper = size == std::string("XL") && image_size == 256;
      models.push_back({"rae-decoder-" + lower(size) + "-" + std::to_string(image_size), "RAE's GeneralDecoder, mfrae.md 2",
                        cost_table(rae_decoder(size, image_size)), in_paper ? 106 : 0});
    }
}

void add_generators(std::vector<KnownModel>& models) {
  for (const char* size : {"S", "B", "L", "XL"})
    for (const std::int64_t image_size : {256, 512})
      for (const bool mean_flow : {false, true}) {
        const bool in_paper = size == std::string("XL") && image_size == 256;
        models.push_back({"dit-dh-" + lower(size) + "-" + std::to_string(image_size) + (mean_flow ? "-mf" : ""), "DiT^DH, mfrae.md 4",
                          cost_table(dit_dh(size, image_size, mean_flow)), in_paper ? 157 : 0});
      }
}

// DiT and SiT, the same network, with the channels of variance that both publish; and the MeanFlow variant, which has none.
void add_dits(std::vector<KnownModel>& models) {
  for (const char* size : {"S/2", "B/2", "B/4", "L/2", "XL/2"})
    for (const std::int64_t image_size : {256, 512}) {
      std::string name = lower(size) + "-" + std::to_string(image_size);
      name[name.find('/')] = '-';
      const std::int64_t paper = size == std::string("XL/2") && image_size == 256 ? 114 : 0;
      DitConfig config = dit(size, image_size);
      config.learn_sigma = true;
      models.push_back({"dit-" + name, std::string("DiT-") + size + ", Peebles & Xie 2023", cost_table(config), paper});
      models.push_back({"sit-" + name, std::string("SiT-") + size + ", Ma et al. 2024: the network of DiT", cost_table(config), paper});
      models.push_back({"sit-" + name + "-mf", std::string("MeanFlow-") + size + ", Geng et al. 2025, sdvae-sit.md 3.1", cost_table(dit(size, image_size, true)), 0});
    }
}

void add_baselines(std::vector<KnownModel>& models) {
  for (const std::int64_t image_size : {256, 512}) {
    const std::string side = std::to_string(image_size);
    const std::string vae = "AutoencoderKL of Stable Diffusion (f8), Rombach et al. 2022";
    models.push_back({"sd-vae-encoder-" + side, vae, encoder_costs({}, image_size), 0});
    models.push_back({"sd-vae-decoder-" + side, vae, decoder_costs({}, image_size), image_size == 256 ? 310 : 0});
  }
}

struct Sampler {
  std::string name, generator, decoder;
  std::int64_t calls, paper_gflops;
};

// The GFLOPS are from the paper: section 5.1 for 256 pixels and table 4 for 512.
const std::vector<Sampler>& samplers() {
  static const std::vector<Sampler> list = {
      {"mf-rae-256-1-step", "dit-dh-xl-256-mf", "rae-decoder-xl-256", 1, 263},
      {"mf-rae-256-2-step", "dit-dh-xl-256-mf", "rae-decoder-xl-256", 2, 420},
      {"mf-rae-512-1-step", "dit-dh-xl-512-mf", "rae-decoder-xl-512", 1, 1051},
      {"mf-sd-vae-256-1-step", "sit-xl-2-256-mf", "sd-vae-decoder-256", 1, 424},
      {"mf-sd-vae-256-2-step", "sit-xl-2-256-mf", "sd-vae-decoder-256", 2, 538},
  };
  return list;
}

const KnownModel& find(const std::vector<KnownModel>& models, const std::string& name) {
  std::vector<std::string> names;
  for (const KnownModel& m : models) {
    if (m.name == name) return m;
    names.push_back(m.name);
  }
  const std::string hint = nearest(name, names);
  throw ConfigError("no model '" + name + "'; " + (hint.empty() ? "--flops without a name lists all models" : "did you mean '" + hint + "'?"));
}

// One row per network. The multiply-adds of the generator count once per call, its parameters once.
KnownModel one_image(const std::vector<KnownModel>& models, const Sampler& s) {
  ModuleCost generator = total(find(models, s.generator).modules), decoder = total(find(models, s.decoder).modules);
  const std::int64_t parameters = generator.parameters;
  generator.times(s.calls).parameters = parameters;
  generator.module = s.generator + (s.calls > 1 ? " x " + std::to_string(s.calls) : "");
  decoder.module = s.decoder;
  return {s.name,
          "one image, " + std::to_string(s.calls) + (s.calls > 1 ? " calls" : " call") + " of the generator",
          {generator, decoder},
          s.paper_gflops};
}

}  // namespace

std::vector<KnownModel> known_models() {
  std::vector<KnownModel> models;
  add_encoders(models);
  add_decoders(models);
  add_generators(models);
  add_dits(models);
  add_baselines(models);
  const std::vector<KnownModel> networks = models;
  for (const Sampler& s : samplers()) models.push_back(one_image(networks, s));
  return models;
}

KnownModel known_model(const std::string& name) { return find(known_models(), lower(name)); }

}  // namespace fm
