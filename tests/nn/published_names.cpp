// Names of published files: translation in both directions, parts of a RAE file, prefixes of wrappers, shards.
#include "nn/models/published_names.h"

#include <doctest/doctest.h>

#include "nn/checkpoint.h"
#include "nn/models/vit_encoder.h"
#include "nn/models/rae_decoder.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

VitEncoder tiny_encoder(bool affine_norm, std::uint64_t seed, const char* kind = "dinov2") {
  VitEncoderConfig c;
  c.kind = kind;
  c.image_size = 20, c.patch_size = 4, c.width = 12, c.depth = 2, c.heads = 2, c.mlp_width = 20, c.registers = 3;
  c.affine_norm = affine_norm;
  return VitEncoder(c, seed);
}

RaeDecoder tiny_decoder(std::uint64_t seed) {
  RaeDecoderConfig c;
  c.latent_channels = 12, c.latent_size = 5, c.width = 16, c.depth = 2, c.heads = 2, c.mlp_width = 24, c.patch_size = 2;
  return RaeDecoder(c, seed);
}

bool same(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, t] : a) {
    bool found = false;
    for (const auto& [other, u] : b)
      if (name == other) found = t.shape() == u.shape() && t.to_vector<float>() == u.to_vector<float>();
    if (!found) return false;
  }
  return true;
}

NamedTensors with_prefix(const std::string& prefix, const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) out.emplace_back(prefix + name, t);
  return out;
}

template <class F> std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("an encoder is converted to Meta's names and back") {
  const NamedTensors ours = state_dict(tiny_encoder(true, 3));
  CHECK(layout_of(ours) == Layout::hugging_face_dino);
  const NamedTensors meta = to_published_names(ours, "meta");
  CHECK(layout_of(meta) == Layout::meta_dino);
  // In each layer the weights and biases of query, key and value became those of qkv: four tensors fewer.
  CHECK(meta.size() == ours.size() - 2 * 4);
  for (const auto& [name, t] : meta)
    if (name == "blocks.1.attn.qkv.weight") CHECK(t.shape() == Shape{36, 12});
  CHECK(same(to_our_names(meta, "encoder"), ours));
  CHECK(same(to_our_names(with_prefix("module._orig_mod.", meta), "encoder"), ours));
  VitEncoder other = tiny_encoder(true, 4);
  load_state(other, to_our_names(meta, "encoder"));
  CHECK(same(state_dict(other), ours));
}

TEST_CASE("the encoder and the decoder of a RAE file are each found and converted") {
  const NamedTensors encoder = state_dict(tiny_encoder(false, 3)), decoder = state_dict(tiny_decoder(5));
  NamedTensors rae = to_published_names(encoder, "rae");
  for (const auto& entry : to_published_names(decoder, "rae")) rae.push_back(entry);
  CHECK(rae.front().first == "encoder.encoder.embeddings.cls_token");
  CHECK(layout_of(rae) == Layout::rae);
  CHECK(same(to_our_names(rae, "encoder"), encoder));
  CHECK(same(to_our_names(rae, "decoder"), decoder));
  CHECK(layout_of(decoder) == Layout::rae_decoder);
  CHECK(same(to_our_names(decoder, "decoder"), decoder));
  CHECK(has(error_of([&] { to_our_names(decoder, "dit"); }), "no dit in this file: it is a RAE decoder"));
  CHECK(has(error_of([&] { to_our_names(decoder, "head"); }), "must be encoder, decoder, dit, vae or sit"));
}

TEST_CASE("SigLIP 2 and ViTMAE: prefixes, heads and the last norm are dropped as in RAE") {
  struct Case {
    const char *kind, *prefix, *norm;
    Layout layout;
    std::vector<std::string> others;
  };
  const Case cases[] = {{"siglip2", "vision_model.", "post_layernorm.weight", Layout::hugging_face_siglip,
                         {"vision_model.head.probe", "text_model.head.weight", "logit_scale"}},
                        {"mae", "vit.", "layernorm.weight", Layout::hugging_face_mae,
                         {"decoder.mask_token", "decoder.decoder_pred.weight"}}};
  for (const Case& c : cases) {
    const NamedTensors ours = state_dict(tiny_encoder(true, 3, c.kind));
    CHECK(layout_of(ours) == c.layout);
    CHECK(same(to_our_names(ours, "encoder"), ours));
    NamedTensors file = with_prefix(c.prefix, ours);
    for (const std::string& name : c.others) file.emplace_back(name, Tensor::zeros({1}));
    CHECK(layout_of(file) == c.layout);
    CHECK(same(to_our_names(file, "encoder"), ours));
    CHECK(same(encoder_tensors(file, true), ours));
    CHECK(encoder_tensors(file, false).size() == ours.size() - 2);
    VitEncoder plain = tiny_encoder(false, 4, c.kind);
    CHECK_NOTHROW(load_state(plain, encoder_tensors(file, false)));
    CHECK(has(error_of([&] { load_state(plain, encoder_tensors(file, true)); }), c.norm));
    NamedTensors rae = to_published_names(state_dict(plain), "rae");
    CHECK(rae.front().first.starts_with("encoder.model.embeddings."));
    for (const auto& entry : to_published_names(state_dict(tiny_decoder(5)), "rae")) rae.push_back(entry);
    CHECK(layout_of(rae) == Layout::rae);
    CHECK(same(encoder_tensors(rae, false), state_dict(plain)));
    CHECK(same(to_our_names(rae, "decoder"), state_dict(tiny_decoder(5))));
    CHECK(has(error_of([&] { to_published_names(ours, "meta"); }), "is not a name of a DINOv2 encoder"));
  }
}

TEST_CASE("unknown tensor names are an error that contains them") {
  NamedTensors meta = to_published_names(state_dict(tiny_encoder(true, 3)), "meta");
  meta.emplace_back("blocks.0.attn.surprise", Tensor::zeros({1}));
  CHECK(has(error_of([&] { to_our_names(meta, "encoder"); }), "blocks.0.attn.surprise is not a name of Meta's DINOv2"));
  meta.pop_back();
  meta.emplace_back("blocks.7.attn.qkv.weight", Tensor::zeros({35, 12}));
  CHECK(has(error_of([&] { to_our_names(meta, "encoder"); }), "blocks.7.attn.qkv.weight has shape [35, 12]"));
}

TEST_CASE("sharded weights load through their index") {
  TempFolder folder;
  const NamedTensors all = state_dict(tiny_decoder(5));
  const std::size_t half = all.size() / 2;
  save_safetensors(folder / "model-00001-of-00002.safetensors", NamedTensors(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(half)));
  save_safetensors(folder / "model-00002-of-00002.safetensors", NamedTensors(all.begin() + static_cast<std::ptrdiff_t>(half), all.end()));
  std::string map;
  for (std::size_t i = 0; i < all.size(); ++i)
    map += std::string(i ? "," : "") + "\"" + all[i].first + "\":\"model-0000" + (i < half ? "1" : "2") + "-of-00002.safetensors\"";
  const auto index = folder / "model.safetensors.index.json";
  write_atomically(index, "{\"metadata\":{},\"weight_map\":{" + map + "}}");
  CHECK(same(load_weights(index.string(), {}).tensors, all));
  CHECK(same(load_weights(index.parent_path().string(), {}).tensors, all));

  write_atomically(index, "{\"weight_map\":{" + map + ",\"more\":\"model-00001-of-00002.safetensors\"}}");
  CHECK(has(error_of([&] { load_weights(index.string(), {}); }), "its shards do not hold the tensors more (model-00001-of-00002.safetensors)"));
  write_atomically(index, "{\"weight_map\":{" + map + ",\"more\":\"b.safetensors\",\"most\":\"a.safetensors\"}}");
  CHECK(has(error_of([&] { load_weights(index.string(), {}); }), "shards are missing beside it: a.safetensors, b.safetensors"));
  for (const char* bad :
       {"{", "[]", "{\"weight_map\":3}", "{\"weight_map\":{\"a\":1}}", "{}", "{\"weight_map\":{}}", "{\"weight_map\":{\"a\":\"../b\"}}"}) {
    write_atomically(index, bad);
    CHECK_MESSAGE(has(error_of([&] { load_weights(index.string(), {}); }), "model.safetensors.index.json"), bad);
  }
}
