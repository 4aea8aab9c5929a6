#include "nn/models/flax_dit_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

constexpr std::string_view mark = "x_embedder/proj/kernel", network = "net/", list = "layers_", wrapper = "_flax_";
constexpr std::string_view checkpoint_parts[] = {"ema_params/", "params/", ""};        // in the order of preference

bool has(const NamedTensors& tensors, const std::string& name) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; });
}

// What stands before the names of the network; no value if the file has no such network.
const std::string* prefix_in(const NamedTensors& tensors) {
  static const std::vector<std::string> prefixes = [] {
    std::vector<std::string> out;
    for (const std::string_view part : checkpoint_parts)
      for (const std::string_view inner : {network, std::string_view()}) out.push_back(std::string(part) + std::string(inner));
    return out;
  }();
  for (const std::string& p : prefixes)
    if (has(tensors, p + std::string(mark))) return &p;
  return nullptr;
}

std::vector<std::string_view> words_of(std::string_view name) {
  std::vector<std::string_view> out;
  for (std::size_t from = 0; from <= name.size();) {
    const std::size_t end = std::min(name.find('/', from), name.size());
    out.push_back(name.substr(from, end - from));
    from = end + 1;
  }
  return out;
}

// "blocks/layers_3/attn/qkv/_flax_linear/kernel" -> "blocks.3.attn.qkv.weight"
std::string torch_name(std::string_view name) {
  std::string out;
  std::vector<std::string_view> words = words_of(name);
  const std::string_view kind = words.back();
  words.pop_back();
  for (const std::string_view word : words) {
    if (word.starts_with(wrapper)) continue;
    out.append(word.starts_with(list) ? word.substr(list.size()) : word) += '.';
  }
  if (kind == "kernel" || kind == "embedding") return out + "weight";
  if (kind == "bias") return out + "bias";
  throw FileError(fmt::format("tensor {} is not a name of MeanFlow's Flax network, whose names end in kernel, bias or embedding", one_line(std::string(name))));
}

void check_kernel(const std::string& name, const Tensor& kernel, const NamedTensors& tensors) {
  if (kernel.rank() != 2 && kernel.rank() != 4)
    throw FileError(fmt::format("{} has shape {}: a Flax kernel is (in, out), or (p, p, channels, width) for patches", name, to_string(kernel.shape())));
  const std::string bias = name.substr(0, name.rfind('/') + 1) + "bias";
  for (const auto& [other, t] : tensors)
    if (other == bias && t.numel() != kernel.dim(kernel.rank() - 1))
      throw FileError(fmt::format("{} has shape {}, but its bias has {} numbers: a Flax kernel ends with the outputs, so this one is transposed or of another layer", name,
                                  to_string(kernel.shape()), t.numel()));
}

}  // namespace

bool has_flax_dit_names(const NamedTensors& tensors) { return prefix_in(tensors) != nullptr; }

NamedTensors flax_dit_tensors(const NamedTensors& tensors) {
  const std::string* prefix = prefix_in(tensors);
  if (prefix == nullptr) throw FileError(fmt::format("{} is missing", mark));
  NamedTensors out;
  for (const auto& [name, t] : tensors) {
    if (!name.starts_with(*prefix)) continue;
    Tensor ours = t;
    if (name.ends_with("/kernel")) {
      check_kernel(name, t, tensors);
      ours = t.rank() == 2 ? t.transpose(0, 1) : t.permute({3, 2, 0, 1});
    }
    out.emplace_back(torch_name(std::string_view(name).substr(prefix->size())), ours);
  }
  return out;
}

}  // namespace fm
