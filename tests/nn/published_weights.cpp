// Configs that follow from the tensors of a file.
#include "nn/models/published_weights.h"

#include <doctest/doctest.h>

#include "nn/models/presets.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

template <class C> std::vector<std::string> values(C config) {
  std::vector<std::string> out;
  for (const Field& f : list_fields(config)) out.push_back(f.path + " = " + to_text(f));
  return out;
}

template <class F> std::string error_of(F&& f) {
  try {
    f();
  } catch (const FileError& e) {
    return e.what();
  }
  return "";
}

template <class M> Weights weights_of(const M& model) { return {"model.pt", state_dict(model), -1, nullptr}; }

}  // namespace

TEST_CASE("the config of every published size is found from its weights") {
  const ShapesOnly shapes;
  for (const char* size : {"S", "B", "L", "XL"})
    for (const std::int64_t pixels : {256, 512}) {
      const DitDhConfig c = dit_dh(size, pixels, pixels == 512);
      CHECK(values(dit_dh_config_of(weights_of(DitDh(c)))) == values(c));
    }
  for (const char* size : {"B", "L", "XL"})
    for (const std::int64_t pixels : {256, 512}) {
      const RaeDecoderConfig c = rae_decoder(size, pixels);
      CHECK(values(rae_decoder_config_of(weights_of(RaeDecoder(c)))) == values(c));
    }
}

TEST_CASE("the config of unpublished sizes is found from their weights") {
  DitDhConfig dit;
  dit.input_size = 6, dit.channels = 5, dit.patch_size = 2, dit.width = 24, dit.depth = 3, dit.heads = 3, dit.head_width = 40,
  dit.head_depth = 1, dit.head_heads = 2;
  dit.mlp_ratio = 2.5, dit.classes = 7, dit.qk_norm = true;
  CHECK(values(dit_dh_config_of(weights_of(DitDh(dit)))) == values(dit));
  dit.head_width = 24, dit.head_heads = 3, dit.head_depth = 2;         // equal widths: the head is assumed to have two blocks, as published
  CHECK(values(dit_dh_config_of(weights_of(DitDh(dit)))) == values(dit));
  dit.mean_flow = dit.late_s = true;
  CHECK(values(dit_dh_config_of(weights_of(DitDh(dit)))) == values(dit));
  RaeDecoderConfig decoder;
  decoder.latent_channels = 5, decoder.latent_size = 3, decoder.width = 128, decoder.depth = 1, decoder.heads = 2, decoder.mlp_width = 50,
  decoder.patch_size = 12;
  for (const std::int64_t channels : {1, 3}) {
    decoder.image_channels = channels;
    CHECK(values(rae_decoder_config_of(weights_of(RaeDecoder(decoder)))) == values(decoder));
  }
}

TEST_CASE("a missing tensor is an error with the names of the file and the tensor") {
  RaeDecoderConfig c;
  c.latent_channels = 4, c.latent_size = 2, c.width = 8, c.depth = 1, c.heads = 1, c.mlp_width = 8, c.patch_size = 2;
  Weights w = weights_of(RaeDecoder(c));
  std::erase_if(w.tensors, [](const auto& t) { return t.first == "decoder_pos_embed"; });
  CHECK(error_of([&] { rae_decoder_config_of(w); }) == "model.pt: decoder_pos_embed is missing");
  CHECK(has(error_of([&] { dit_dh_config_of(w); }), "x_embedder.proj.weight is missing"));
}

TEST_CASE("latent statistics load with and without a mean") {
  TempFolder folder;
  const Tensor var = Tensor::full({3, 2, 2}, 4), mean = Tensor::full({3, 2, 2}, 1);
  save_safetensors(folder / "both.safetensors", {{"mean", mean}, {"var", var}});
  save_safetensors(folder / "var.safetensors", {{"var", var}});
  save_safetensors(folder / "wrong.safetensors", {{"mean", Tensor::full({3, 1, 1}, 1)}, {"var", var}});
  CHECK(load_stats((folder / "both.safetensors").string(), {}).mean.defined());
  const LatentStats alone = load_stats((folder / "var.safetensors").string(), {});
  CHECK_FALSE(alone.mean.defined());
  CHECK(near(alone.restore(Tensor::full({1, 3, 2, 2}, 1)).to_vector<float>()[0], std::sqrt(4 + 1e-5), 5e-7));
  CHECK(has(error_of([&] { load_stats((folder / "wrong.safetensors").string(), {}); }), "mean has shape"));
  CHECK(has(error_of([&] { load_part((folder / "both.safetensors").string(), "dit", {}); }), "both.safetensors: no dit in this file"));
}
