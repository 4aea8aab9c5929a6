#include "nn/models/published_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "nn/models/autoencoder_kl_names.h"
#include "nn/models/flax_dit_names.h"
#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/ops/copy.h"

namespace fm {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array<std::string_view, 2> wrappers{"module.", "_orig_mod."};

// Pairs of Meta's name and ours.
constexpr std::array<Pair, 5> meta_outside{{{"cls_token", "embeddings.cls_token"},
                                            {"mask_token", "embeddings.mask_token"},
                                            {"register_tokens", "embeddings.register_tokens"},
                                            {"pos_embed", "embeddings.position_embeddings"},
                                            {"patch_embed.proj.", "embeddings.patch_embeddings.projection."}}};
constexpr std::array<Pair, 6> meta_in_block{{{"attn.proj.", "attention.output.dense."},
                                             {"mlp.", "mlp."},
                                             {"norm1.", "norm1."},
                                             {"norm2.", "norm2."},
                                             {"ls1.gamma", "layer_scale1.lambda1"},
                                             {"ls2.gamma", "layer_scale2.lambda1"}}};
constexpr Pair meta_norm{"norm.", "layernorm."};
constexpr std::string_view meta_blocks = "blocks.", our_blocks = "encoder.layer.", meta_qkv = "attn.qkv.", our_qkv = "attention.attention.";
constexpr std::array<std::string_view, 3> qkv{"query.", "key.", "value."};

// Returns `name` with its beginning `from` replaced by `to`; empty if it does not match. A `from` that does not end in a dot must match the whole name.
std::optional<std::string> renamed(std::string_view name, std::string_view from, std::string_view to) {
  if (!name.starts_with(from) || (from.back() != '.' && name.size() != from.size())) return std::nullopt;
  return std::string(to) + std::string(name.substr(from.size()));
}

std::string unwrapped(std::string name) {
  for (bool again = true; again;) {
    again = false;
    for (std::string_view w : wrappers)
      if (name.starts_with(w)) name.erase(0, w.size()), again = true;
  }
  return name;
}

NamedTensors unwrapped(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) out.emplace_back(unwrapped(name), t);
  return out;
}

// "blocks.12.attn.proj.weight" -> {"12.", "attn.proj.weight"}
std::optional<std::pair<std::string, std::string_view>> in_block(std::string_view name, std::string_view blocks) {
  if (!name.starts_with(blocks)) return std::nullopt;
  const std::string_view rest = name.substr(blocks.size());
  const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  if (digits == 0 || digits == rest.size() || rest[digits] != '.') return std::nullopt;
  return std::pair(std::string(rest.substr(0, digits + 1)), rest.substr(digits + 1));
}

// Translates a name between Meta's style and ours; empty if the table does not have it.
template <std::size_t N> std::string translated(std::string_view name, const std::array<Pair, N>& table, bool to_ours) {
  for (const auto& [meta, ours] : table)
    if (const auto found = to_ours ? renamed(name, meta, ours) : renamed(name, ours, meta)) return *found;
  return {};
}

std::string translated_outside(std::string_view name, bool to_ours) {
  if (std::string found = translated(name, meta_outside, to_ours); !found.empty()) return found;
  return translated(name, std::array{meta_norm}, to_ours);
}

[[noreturn]] void fail_unknown(const std::string& name, const char* style) {
  throw FileError(fmt::format("tensor {} is not a name of {}", one_line(name), style));
}

// Splits the joint projection of an encoder, with the rows q | k | v, into three tensors.
void cut_qkv(const std::string& block, std::string_view kind, const Tensor& t, NamedTensors& out) {
  const std::int64_t rows = t.rank() > 0 ? t.dim(0) : 0;
  if (rows == 0 || rows % 3 != 0)
    throw FileError(fmt::format("blocks.{}attn.qkv.{} has shape {}: the number of rows must be 3 times the width", block, kind, to_string(t.shape())));
  for (std::size_t i = 0; i < qkv.size(); ++i) {
    const auto part = static_cast<std::int64_t>(i) * (rows / 3);
    out.emplace_back(fmt::format("{}{}{}{}{}", our_blocks, block, our_qkv, qkv[i], kind), t.slice(0, part, part + rows / 3));
  }
}

NamedTensors from_meta(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) {
    if (const auto place = in_block(name, meta_blocks)) {
      const auto& [block, inner] = *place;
      if (inner.starts_with(meta_qkv)) {
        cut_qkv(block, inner.substr(meta_qkv.size()), t, out);
        continue;
      }
      const std::string ours = translated(inner, meta_in_block, true);
      if (ours.empty()) fail_unknown(name, "Meta's DINOv2");
      out.emplace_back(fmt::format("{}{}{}", our_blocks, block, ours), t);
      continue;
    }
    const std::string ours = translated_outside(name, true);
    if (ours.empty()) fail_unknown(name, "Meta's DINOv2");
    out.emplace_back(ours, t);
  }
  return out;
}

const Tensor& require(const NamedTensors& tensors, const std::string& name) {
  for (const auto& [n, t] : tensors)
    if (n == name) return t;
  throw FileError(fmt::format("{} is missing: Meta's layout joins query, key and value, and needs all three", name));
}

NamedTensors to_meta(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors) {
    const auto place = in_block(name, our_blocks);
    if (!place) {
      const std::string meta = translated_outside(name, false);
      if (meta.empty()) fail_unknown(name, "a DINOv2 encoder");
      out.emplace_back(meta, t);
      continue;
    }
    const auto& [block, inner] = *place;
    if (!inner.starts_with(our_qkv)) {
      const std::string meta = translated(inner, meta_in_block, false);
      if (meta.empty()) fail_unknown(name, "a DINOv2 encoder");
      out.emplace_back(fmt::format("{}{}{}", meta_blocks, block, meta), t);
      continue;
    }
    const std::string_view rest = inner.substr(our_qkv.size());
    if (!rest.starts_with(qkv[0])) continue;                     // the joint tensor takes the place of the query
    const std::string kind(rest.substr(qkv[0].size()));
    std::vector<Tensor> parts;
    for (std::string_view q : qkv) parts.push_back(require(tensors, fmt::format("{}{}{}{}{}", our_blocks, block, our_qkv, q, kind)));
    out.emplace_back(fmt::format("{}{}{}{}", meta_blocks, block, meta_qkv, kind), concat(parts, 0));
  }
  return out;
}

NamedTensors under(const NamedTensors& tensors, std::string_view prefix) {
  NamedTensors out;
  for (const auto& [name, t] : tensors)
    if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), t);
  return out;
}

// The name prefixes in a file of this layout.
constexpr std::string_view rae_dino_prefix = "encoder.encoder.", rae_vit_prefix = "encoder.model.", rae_decoder_prefix = "decoder.";
constexpr std::string_view siglip_prefix = "vision_model.", mae_prefix = "vit.";

bool any_begins(const NamedTensors& tensors, std::string_view prefix) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& t) { return unwrapped(t.first).starts_with(prefix); });
}

// Names may have the model's prefix, or not (as in files that we write). SigLIP's pooling head is left out: RAE's encoder does not use it.
NamedTensors encoder_under(const NamedTensors& tensors, std::string_view prefix) {
  NamedTensors out = any_begins(tensors, prefix) ? under(tensors, prefix) : tensors;
  std::erase_if(out, [](const auto& entry) { return entry.first.starts_with("head."); });
  return out;
}

// The second embedding of MeanFlow has one of two names. The projectors of REPA and REG are for training only.
NamedTensors dit_tensors(const NamedTensors& tensors) {
  constexpr std::string_view other_name = "h_embedder.", our_name = "r_embedder.", unused = "projectors.";
  NamedTensors out;
  for (const auto& [name, t] : tensors) {
    if (name.starts_with(unused)) continue;
    out.emplace_back(renamed(name, other_name, our_name).value_or(name), t);
  }
  return out;
}

bool is_encoder(Layout layout) {
  return layout == Layout::hugging_face_dino || layout == Layout::hugging_face_siglip || layout == Layout::hugging_face_mae;
}

}  // namespace

const char* name_of(Layout layout) {
  switch (layout) {
    case Layout::hugging_face_dino: return "a Hugging Face DINOv2 encoder";
    case Layout::hugging_face_siglip: return "a Hugging Face SigLIP";
    case Layout::hugging_face_mae: return "a Hugging Face ViTMAE";
    case Layout::meta_dino: return "an encoder under Meta's DINOv2 names";
    case Layout::rae: return "a RAE autoencoder";
    case Layout::rae_decoder: return "a RAE decoder";
    case Layout::dit_dh: return "a DiT^DH";
    case Layout::diffusers_vae: return "an AutoencoderKL of diffusers";
    case Layout::compvis_vae: return "an autoencoder under CompVis' names";
    case Layout::dit: return "a DiT or SiT";
    case Layout::flax_dit: return "a MeanFlow under Flax's names";
    case Layout::other: break;
  }
  return "of an unknown layout";
}

Layout layout_of(const NamedTensors& tensors) {
  const auto any = [&](std::string_view prefix) { return any_begins(tensors, prefix); };
  if ((any(rae_dino_prefix) || any(rae_vit_prefix)) && any("decoder.decoder_embed.")) return Layout::rae;
  if (any("vision_model.embeddings.patch_embedding.") || any("embeddings.patch_embedding.")) return Layout::hugging_face_siglip;
  if (any("vit.embeddings.patch_embeddings.") || any("encoder.layer.0.layernorm_before.")) return Layout::hugging_face_mae;
  if (any("embeddings.patch_embeddings.projection.")) return Layout::hugging_face_dino;
  if (any("decoder_embed.") && any("decoder_pred.")) return Layout::rae_decoder;
  if (any("s_embedder.proj.") && any("x_embedder.proj.")) return Layout::dit_dh;
  if (any("x_embedder.proj.") && any("t_embedder.mlp.")) return Layout::dit;
  if (any("patch_embed.proj.") && any("blocks.0.attn.qkv.")) return Layout::meta_dino;
  if (has_flax_dit_names(tensors)) return Layout::flax_dit;
  const NamedTensors plain = unwrapped(tensors);
  if (has_diffusers_vae_names(plain)) return Layout::diffusers_vae;
  if (has_compvis_vae_names(plain)) return Layout::compvis_vae;
  return Layout::other;
}

NamedTensors to_our_names(const NamedTensors& tensors, const std::string& part) {
  const Layout layout = layout_of(tensors);
  const NamedTensors plain = unwrapped(tensors);
  if (part.empty()) return plain;
  if (part == weights_part::encoder && layout == Layout::hugging_face_dino) return plain;
  if (part == weights_part::encoder && layout == Layout::hugging_face_siglip) return encoder_under(plain, siglip_prefix);
  if (part == weights_part::encoder && layout == Layout::hugging_face_mae) return encoder_under(plain, mae_prefix);
  if (part == weights_part::encoder && layout == Layout::meta_dino) return from_meta(plain);
  if (part == weights_part::encoder && layout == Layout::rae) return under(plain, any_begins(plain, rae_vit_prefix) ? rae_vit_prefix : rae_dino_prefix);
  if (part == weights_part::decoder && layout == Layout::rae) return under(plain, rae_decoder_prefix);
  if (part == weights_part::decoder && layout == Layout::rae_decoder) return plain;
  if (part == weights_part::dit && layout == Layout::dit_dh) return plain;
  if (part == weights_part::vae && (layout == Layout::diffusers_vae || layout == Layout::compvis_vae)) return vae_tensors(plain);
  if (part == weights_part::sit && layout == Layout::dit) return dit_tensors(plain);
  if (part == weights_part::sit && layout == Layout::flax_dit) return dit_tensors(flax_dit_tensors(plain));
  if (part != weights_part::encoder && part != weights_part::decoder && part != weights_part::dit && part != weights_part::vae && part != weights_part::sit)
    throw ConfigError(fmt::format("part \"{}\" must be encoder, decoder, dit, vae or sit", part));
  throw FileError(fmt::format("no {} in this file: it is {}, and its first tensor is {}", part, name_of(layout), tensors.empty() ? "nothing" : tensors.front().first));
}

NamedTensors encoder_tensors(const NamedTensors& tensors, bool affine_norm) {
  NamedTensors out = to_our_names(tensors, weights_part::encoder);
  if (!affine_norm)
    std::erase_if(out, [](const auto& t) { return t.first.starts_with("layernorm.") || t.first.starts_with("post_layernorm."); });
  return out;
}

NamedTensors to_published_names(const NamedTensors& tensors, const std::string& style) {
  if (style == "meta") return to_meta(tensors);
  const Layout layout = layout_of(tensors);
  if (style == "compvis") {
    if (layout != Layout::diffusers_vae) throw FileError(fmt::format("CompVis' names are for an AutoencoderKL, but this file is {}", name_of(layout)));
    return to_compvis_vae(vae_tensors(tensors));
  }
  if (style != "rae") throw ConfigError(fmt::format("style of names \"{}\" must be meta, rae or compvis", style));
  if (!is_encoder(layout) && layout != Layout::rae_decoder)
    throw FileError(fmt::format("a RAE file can hold an encoder or a decoder, but this file is {}", name_of(layout)));
  const std::string_view prefix = layout == Layout::rae_decoder         ? rae_decoder_prefix
                                  : layout == Layout::hugging_face_dino ? rae_dino_prefix
                                                                        : rae_vit_prefix;
  NamedTensors out;
  for (const auto& [name, t] : tensors) out.emplace_back(std::string(prefix) + name, t);
  return out;
}

}  // namespace fm
