#include "nn/models/autoencoder_kl_names.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fm {
namespace {

// Beginnings of names, with * for a number. The first pair that fits is used.
struct NamePair {
  std::string_view theirs, ours;
};

constexpr NamePair old_diffusers[] = {{"*.mid_block.attentions.0.query.", "*.mid_block.attentions.0.to_q."},
                                      {"*.mid_block.attentions.0.key.", "*.mid_block.attentions.0.to_k."},
                                      {"*.mid_block.attentions.0.value.", "*.mid_block.attentions.0.to_v."},
                                      {"*.mid_block.attentions.0.proj_attn.", "*.mid_block.attentions.0.to_out.0."}};
constexpr NamePair compvis[] = {{"encoder.down.*.block.*.nin_shortcut.", "encoder.down_blocks.*.resnets.*.conv_shortcut."},
                                {"encoder.down.*.block.*.", "encoder.down_blocks.*.resnets.*."},
                                {"encoder.down.*.downsample.conv.", "encoder.down_blocks.*.downsamplers.0.conv."},
                                {"decoder.up.*.block.*.nin_shortcut.", "decoder.up_blocks.*.resnets.*.conv_shortcut."},
                                {"decoder.up.*.block.*.", "decoder.up_blocks.*.resnets.*."},
                                {"decoder.up.*.upsample.conv.", "decoder.up_blocks.*.upsamplers.0.conv."},
                                {"*.mid.block_1.", "*.mid_block.resnets.0."},
                                {"*.mid.block_2.", "*.mid_block.resnets.1."},
                                {"*.mid.attn_1.norm.", "*.mid_block.attentions.0.group_norm."},
                                {"*.mid.attn_1.q.", "*.mid_block.attentions.0.to_q."},
                                {"*.mid.attn_1.k.", "*.mid_block.attentions.0.to_k."},
                                {"*.mid.attn_1.v.", "*.mid_block.attentions.0.to_v."},
                                {"*.mid.attn_1.proj_out.", "*.mid_block.attentions.0.to_out.0."},
                                {"*.norm_out.", "*.conv_norm_out."}};
constexpr std::array<std::string_view, 4> roots{"encoder.", "decoder.", "quant_conv.", "post_quant_conv."};
constexpr std::string_view stable_diffusion = "first_stage_model.", attention_part = ".mid_block.attentions.0.";

bool begins_with(const NamedTensors& tensors, std::string_view prefix) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first.starts_with(prefix); });
}

// Matches the beginning of `name` with `from`, whose * stands for one word without a dot, and returns it with the same words in `to`. Empty if it does
// not match.
std::optional<std::string> replaced(std::string_view name, std::string_view from, std::string_view to) {
  std::vector<std::string_view> words;
  for (const char c : from) {
    if (c == '*') {
      const std::size_t dot = name.find('.');
      if (dot == 0 || dot == std::string_view::npos) return std::nullopt;
      words.push_back(name.substr(0, dot));
      name.remove_prefix(dot);
    } else {
      if (!name.starts_with(c)) return std::nullopt;
      name.remove_prefix(1);
    }
  }
  std::string out;
  std::size_t next = 0;
  for (const char c : to) {
    if (c == '*') out += words[next++];
    else out += c;
  }
  return out.append(name);
}

template <std::size_t n> std::string renamed_by(const std::string& name, const NamePair (&table)[n], bool to_ours) {
  for (const auto& [theirs, ours] : table)
    if (const auto found = to_ours ? replaced(name, theirs, ours) : replaced(name, ours, theirs)) return *found;
  return name;
}

// The number after `list` in a name, "decoder.up.3.block.0.": begin and length of its digits. Length 0 if there is none.
std::pair<std::size_t, std::size_t> level_in(std::string_view name, std::string_view list) {
  if (!name.starts_with(list)) return {0, 0};
  const std::size_t end = std::min(name.find_first_not_of("0123456789", list.size()), name.size());
  return {list.size(), std::min<std::size_t>(end - list.size(), 6)};
}

// Counts the levels of the decoder from the other end: level i of n becomes n - 1 - i.
void reverse_levels(NamedTensors& tensors, std::string_view list) {
  int last = 0;
  for (const auto& entry : tensors)
    if (const auto [at, length] = level_in(entry.first, list); length > 0) last = std::max(last, std::stoi(entry.first.substr(at, length)));
  for (auto& entry : tensors)
    if (const auto [at, length] = level_in(entry.first, list); length > 0)
      entry.first.replace(at, length, std::to_string(last - std::stoi(entry.first.substr(at, length))));
}

bool is_attention_weight(const std::string& name) {
  return name.find(attention_part) != std::string::npos && name.find(".group_norm.") == std::string::npos && name.ends_with(".weight");
}

// A 1x1 convolution is a linear layer.
Tensor as_matrix(const Tensor& t) { return t.rank() == 4 && t.dim(2) == 1 && t.dim(3) == 1 ? t.reshape({t.dim(0), t.dim(1)}) : t; }

NamedTensors autoencoder_of(const NamedTensors& tensors) {
  const std::string_view prefix = begins_with(tensors, stable_diffusion) ? stable_diffusion : "";
  NamedTensors out;
  for (const auto& [name, t] : tensors) {
    if (!name.starts_with(prefix)) continue;
    const std::string own = name.substr(prefix.size());
    if (std::any_of(roots.begin(), roots.end(), [&](std::string_view root) { return own.starts_with(root); })) out.emplace_back(own, t);
  }
  return out;
}

}  // namespace

bool has_diffusers_vae_names(const NamedTensors& tensors) {
  return begins_with(tensors, "encoder.down_blocks.0.resnets.") || begins_with(tensors, "decoder.up_blocks.0.resnets.");
}

bool has_compvis_vae_names(const NamedTensors& tensors) {
  const NamedTensors own = autoencoder_of(tensors);
  return begins_with(own, "encoder.down.0.block.") || begins_with(own, "decoder.up.0.block.");
}

NamedTensors vae_tensors(const NamedTensors& tensors) {
  const bool of_compvis = has_compvis_vae_names(tensors);
  NamedTensors out;
  for (const auto& [name, t] : autoencoder_of(tensors)) {
    const std::string ours = of_compvis ? renamed_by(name, compvis, true) : renamed_by(name, old_diffusers, true);
    out.emplace_back(ours, is_attention_weight(ours) ? as_matrix(t) : t);
  }
  if (of_compvis) reverse_levels(out, "decoder.up_blocks.");
  return out;
}

NamedTensors to_compvis_vae(const NamedTensors& tensors) {
  NamedTensors out;
  for (const auto& [name, t] : tensors)
    out.emplace_back(renamed_by(name, compvis, false), is_attention_weight(name) && t.rank() == 2 ? t.reshape({t.dim(0), t.dim(1), 1, 1}) : t);
  reverse_levels(out, "decoder.up.");
  return out;
}

}  // namespace fm
