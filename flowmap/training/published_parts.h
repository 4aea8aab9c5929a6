// Shared by the parts of published.h: models whose weights stay in the mapped file, and a check of settings.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "flowmap/training/published.h"
#include "nn/checkpoint.h"
#include "nn/loaded.h"
#include "nn/precision.h"

namespace fm {

using Say = std::function<void(const std::string&)>;

// Makes a model whose weights stay in the mapped file, if they are f32 there; other weights are converted. `size`: the model's size in words.
template <class M> std::unique_ptr<M> model_of(const std::string& role, Weights weights, const decltype(M::config)& config, const std::string& size, const Say& say) {
  const LoadedFrom from(weights);
  for (auto& entry : weights.tensors) entry.second = entry.second.to(DType::f32).contiguous();
  std::unique_ptr<M> model;
  {
    const ShapesOnly shapes;
    model = std::make_unique<M>(config);
  }
  try {
    adopt_state(*model, weights.tensors);
  } catch (const NotFiniteError& e) {
    throw NotFiniteError(weights.file.string() + ": " + e.what());
  } catch (const FileError& e) {
    throw FileError(weights.file.string() + ": " + e.what() + unread_text(weights.unread));
  }
  set_trainable(*model, false);
  say(loaded_line(role, size, state_dict(*model), from));
  if constexpr (requires { config.precision; }) {
    if (config.precision != "bf16") return model;
    store_weights_as_bf16(*model);
    // Copies the other tensors too, so that no memory of the mapped file stays in use.
    for_each_tensor(*model, [](const std::string&, Tensor& t) { t = t.dtype() == DType::bf16 ? t : t.clone(); });
  }
  return model;
}

// Refuses a weak teacher that guidance of scale 1 would not use: ConfigError.
void refuse_weak_without_guidance(const PublishedConfig& config, const DrawConfig& draw);

// Settings of a teacher's solver, which a flow map does not have: ConfigError. `weak`: whether --weak is given.
void refuse_settings_of_teacher(const DrawConfig& draw, bool weak);

}  // namespace fm
