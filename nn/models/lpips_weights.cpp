#include "nn/models/lpips_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "nn/models/published_names.h"
#include "tensor/error.h"

namespace fm {
namespace {

// The tensors of a file under our names.
struct LpipsParts {
  NamedTensors trunk, heads, scaling;                 // `trunk` also has all tensors of unknown names, which are errors when it is loaded
  bool any_features = false;
};

const Tensor* named(const NamedTensors& tensors, const std::string& name) {
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first == name; });
  return at == tensors.end() ? nullptr : &at->second;
}

// net.slice3.10.weight -> features.10.weight
std::string feature_name(const std::string& name) {
  const std::string prefix = "net.slice";
  const std::size_t dot = name.find('.', prefix.size());
  return name.starts_with(prefix) && dot != std::string::npos ? "features" + name.substr(dot) : name;
}

// lin0.model.1.weight
bool is_head(const std::string& name) { return name.starts_with("lin") && name.ends_with(".model.1.weight"); }

// lins.0.model.1.weight, which holds the tensor of lin0.model.1.weight again
bool is_repeated(const NamedTensors& tensors, const std::string& name) {
  return name.starts_with("lins.") && named(tensors, "lin" + name.substr(5)) != nullptr;
}

LpipsParts parts_of(const NamedTensors& file) {
  const NamedTensors tensors = to_our_names(file, "");
  LpipsParts parts;
  for (const auto& [name, tensor] : tensors) {
    const std::string ours = feature_name(name);
    parts.any_features = parts.any_features || ours.starts_with("features.");
    if (is_repeated(tensors, name)) continue;
    if (name.starts_with("scaling_layer.")) parts.scaling.emplace_back(name, tensor);
    else if (is_head(name)) parts.heads.emplace_back(name, tensor);
    else parts.trunk.emplace_back(ours, tensor);
  }
  if (parts.any_features) std::erase_if(parts.trunk, [](const auto& entry) { return entry.first.starts_with("classifier."); });
  return parts;
}

// "vgg", "alex" or the name of another network in words.
std::string trunk_kind(const NamedTensors& trunk) {
  const Tensor* first = named(trunk, "features.0.weight");
  if (first == nullptr || first->rank() != 4) return "an unknown network";
  if (named(trunk, "features.1.running_mean") != nullptr || named(trunk, "features.1.weight") != nullptr) return "a network with batch norm";
  if (first->shape() == Shape{64, 3, 11, 11}) return "alex";
  if (first->shape() != Shape{64, 3, 3, 3}) return "an unknown network";
  if (named(trunk, "features.28.weight") != nullptr && named(trunk, "features.34.weight") == nullptr) return "vgg";
  return named(trunk, "features.34.weight") != nullptr ? "VGG19" : named(trunk, "features.3.squeeze.weight") != nullptr ? "SqueezeNet" : "an unknown network";
}

std::string heads_kind(const NamedTensors& heads) {
  const Tensor* second = named(heads, "lin1.model.1.weight");
  if (heads.size() == 7) return "SqueezeNet";
  if (heads.size() != 5 || second == nullptr || second->rank() != 4) return "an unknown network";
  return second->dim(1) == 128 ? "vgg" : second->dim(1) == 192 ? "alex" : "an unknown network";
}

std::string in_words(const std::string& kind) { return kind == "vgg" ? "VGG16" : kind == "alex" ? "AlexNet" : kind; }

std::string contents(const LpipsParts& parts) {
  const std::string trunk = parts.any_features ? "the features of " + in_words(trunk_kind(parts.trunk)) : "";
  const std::string heads = parts.heads.empty() ? "" : "heads for " + in_words(heads_kind(parts.heads));
  if (trunk.empty() && heads.empty()) return "neither features nor heads of LPIPS";
  return trunk + (trunk.empty() || heads.empty() ? "" : " and ") + heads;
}

[[noreturn]] void refuse(const Weights& weights, const std::string& why) { throw FileError(fmt::format("{}: {}{}", weights.file.string(), why, unread_text(weights.unread))); }

void check_trunk(const Weights& weights, const LpipsParts& parts, const LpipsConfig& config) {
  const char* const file = config.trunk == "vgg" ? "vgg16-397923af.pth" : "alexnet-owt-7be5be79.pth";
  if (!parts.any_features) refuse(weights, fmt::format("holds {}, but the features of {} are needed, such as torchvision's {}", contents(parts), in_words(config.trunk), file));
  const std::string kind = trunk_kind(parts.trunk);
  const bool other = kind != config.trunk && (kind == "vgg" || kind == "alex");
  if (other) refuse(weights, fmt::format("holds {}, but LPIPS is to use {}: choose trunk = \"{}\", or another file", contents(parts), in_words(config.trunk), kind));
  if (kind != config.trunk && kind != "an unknown network")            // for an unknown network the error lists the tensors that do not fit
    refuse(weights, fmt::format("holds {}, but LPIPS is to use {}, such as torchvision's {}", contents(parts), in_words(config.trunk), file));
}

void check_heads(const Weights& weights, const LpipsParts& parts, const LpipsConfig& config) {
  const std::string wanted = fmt::format("heads for {} are needed, lin0 to lin4, such as lpips' {}.pth of v0.1", in_words(config.trunk), config.trunk);
  if (parts.heads.empty()) refuse(weights, fmt::format("holds {}, but {}", contents(parts), wanted));
  const std::string kind = heads_kind(parts.heads);
  if (kind != config.trunk && kind != "an unknown network") refuse(weights, fmt::format("holds {}, but {}", contents(parts), wanted));
  for (const auto& [name, head] : parts.heads)
    for (const double w : head.to_vector<double>())
      if (w < 0) refuse(weights, fmt::format("{} has the element {}, but the weights of a distance must be 0 or more: fetch the file again", name, w));
}

// A whole module stores the shift and scale of the images. FileError unless they are ours.
void check_scaling(const Weights& weights, const LpipsParts& parts) {
  const std::vector<std::pair<std::string, std::vector<double>>> ours{{"scaling_layer.shift", {-.030, -.088, -.188}}, {"scaling_layer.scale", {.458, .448, .450}}};
  for (const auto& [name, tensor] : parts.scaling) {
    const auto at = std::find_if(ours.begin(), ours.end(), [&, wanted = name](const auto& entry) { return entry.first == wanted; });
    if (at == ours.end()) refuse(weights, fmt::format("{} is unknown: the scaling of images has a shift and a scale", name));
    const std::vector<double> values = tensor.to_vector<double>();
    for (std::size_t c = 0; c < 3; ++c)
      if (values.size() != 3 || !(std::abs(values[c] - at->second[c]) < 1e-6))
        refuse(weights, fmt::format("{} is [{}], but [{}] in LPIPS v0.1: the weights belong to another distance", name, fmt::join(values, ", "), fmt::join(at->second, ", ")));
  }
}

// For messages: torchvision's network, and the heads of the package lpips with their checksum.
std::string published_files(const std::string& trunk) {
  const bool vgg = trunk == "vgg";
  return fmt::format("{} of torchvision and {} of the package lpips (weights/v0.1, md5 {})", vgg ? "vgg16-397923af.pth" : "alexnet-owt-7be5be79.pth", vgg ? "vgg.pth" : "alex.pth",
                     vgg ? "d507d7349b931f0638a25a48a722f98a" : "9642209e2b57a85d20f86d812320f9e6");
}

// The same file with other tensors.
Weights with_tensors(const Weights& weights, NamedTensors tensors) {
  Weights part = weights;
  part.tensors = std::move(tensors);
  return part;
}

}  // namespace

Lpips lpips_from(Weights trunk, const Weights* heads, const LpipsConfig& config) {
  checked_config(config, "Lpips");
  LpipsParts parts = parts_of(trunk.tensors);
  trunk.tensors.clear();
  check_trunk(trunk, parts, config);
  check_scaling(trunk, parts);
  if (heads != nullptr && !parts.heads.empty()) refuse(trunk, fmt::format("holds {}: leave out the second file, {}", contents(parts), heads->file.string()));
  const LpipsParts of_heads = heads != nullptr ? parts_of(heads->tensors) : parts;
  const Weights& file = heads != nullptr ? *heads : trunk;
  check_scaling(file, of_heads);
  check_heads(file, of_heads, config);
  NamedTensors head_tensors = of_heads.heads;          // and, in a file of their own, all that does not belong to them
  if (heads != nullptr) head_tensors.insert(head_tensors.end(), of_heads.trunk.begin(), of_heads.trunk.end());
  LpipsHeads loaded_heads = frozen_model<LpipsHeads>(config, with_tensors(file, std::move(head_tensors)));
  return {frozen_model<LpipsTrunk>(config, with_tensors(trunk, std::move(parts.trunk))), std::move(loaded_heads)};
}

Lpips load_lpips(const LpipsFiles& files, const LpipsConfig& config, const Warn& warn) {
  const auto loaded = [&](const std::string& file) {
    try {
      return load_weights(file, warn);
    } catch (const FileError& e) {
      throw FileError(fmt::format("{}; LPIPS is read from {}", e.what(), published_files(config.trunk)));
    }
  };
  if (files.heads.empty()) return lpips_from(loaded(files.trunk), nullptr, config);
  const Weights heads = loaded(files.heads);
  return lpips_from(loaded(files.trunk), &heads, config);
}

LpipsText parse_lpips(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string trunk = text.substr(0, colon), rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (rest.empty() || (trunk != "vgg" && trunk != "alex"))
    throw ConfigError(fmt::format("LPIPS \"{}\" must be vgg:TRUNK,HEADS or alex:TRUNK,HEADS, with torchvision's weights of the network and LPIPS' heads, or one file of both", text));
  const std::size_t comma = rest.find(',');
  return {{.trunk = trunk}, {rest.substr(0, comma), comma == std::string::npos ? "" : rest.substr(comma + 1)}};
}

std::string to_text(const LpipsText& parsed) {
  return fmt::format("{}:{}{}{}", parsed.config.trunk, parsed.files.trunk, parsed.files.heads.empty() ? "" : ",", parsed.files.heads);
}

Lpips open_lpips(const std::string& text, const Warn& warn) {
  const LpipsText parsed = parse_lpips(text);
  return load_lpips(parsed.files, parsed.config, warn);
}

}  // namespace fm
