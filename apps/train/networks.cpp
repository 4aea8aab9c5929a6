#include "apps/train/networks.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/flops/count.h"
#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"

namespace fm {
namespace {

Tensor* find(NamedTensors& list, const std::string& name) {
  const auto it = std::find_if(list.begin(), list.end(), [&](const auto& entry) { return entry.first == name; });
  return it == list.end() ? nullptr : &it->second;
}

// R(t - s) keeps its initial values. Entries of the file that could not be read may have been it.
void complete_dit(const Network& network, Weights& weights) {
  const auto is_second_time = [](const std::string& name) { return name.starts_with("r_embedder."); };
  const bool has_some = std::any_of(weights.tensors.begin(), weights.tensors.end(), [&](const auto& entry) { return is_second_time(entry.first); }) ||
      std::any_of(weights.unread.begin(), weights.unread.end(), [&](const UnreadEntry& entry) { return is_second_time(entry.name); });
  if (has_some) return;
  for (const auto& [name, t] : network.state())
    if (is_second_time(name)) weights.tensors.emplace_back(name, t.clone());
}

// phi(t - s) is the last part of the first layer's input.
void complete_mlp(const Network& network, Weights& weights) {
  NamedTensors own = network.state();
  Tensor *stored = find(weights.tensors, "in.weight"), *wanted = find(own, "in.weight");
  if (stored == nullptr || wanted == nullptr || stored->rank() != 2 || stored->dim(0) != wanted->dim(0)) return;
  const std::int64_t missing = wanted->dim(1) - stored->dim(1);
  const auto& config = network.as<FlowMlp>()->config;
  if (!config.mean_flow || missing != 2 * config.frequencies) return;
  *stored = concat(std::vector<Tensor>{*stored, Tensor::zeros({stored->dim(0), missing}, stored->dtype(), stored->device())}, 1);
}

// A row of the table: M is the model, Config gives its config for a recipe.
template <class M, auto Config> struct Row {
  static Network fresh(const Recipe& r, bool two_times, std::uint64_t seed) { return Network(std::make_shared<M>((r.*Config)(two_times), seed)); }
  static Network loaded(const Recipe& r, bool two_times, Weights weights) {
    return Network(std::make_shared<M>(frozen_model<M>((r.*Config)(two_times), std::move(weights))));
  }
  static std::string size(const Recipe& r, bool two_times) { return size_text((r.*Config)(two_times)); }
  static NetworkCost cost(const Recipe& r, bool two_times) {
    const auto config = (r.*Config)(two_times);
    const ShapesOnly shapes;
    const M model(config);
    NetworkCost out;
    for_each_parameter(model, [&](const std::string&, const Parameter& p) { out.parameters.push_back({p.value.numel(), p.trainable}); });
    out.flops = 2 * static_cast<double>(total(cost_table(config)).macs());
    if constexpr (requires { config.recompute; }) out.recompute = config.recompute;
    out.activations = [config](std::int64_t rows, [[maybe_unused]] bool recompute) {
      auto c = config;
      if constexpr (requires { c.recompute; }) c.recompute = recompute;
      return activation_bytes(c, rows);
    };
    return out;
  }
};

struct Kind {
  const char* name;                      // recipe.network
  Network (*fresh)(const Recipe&, bool, std::uint64_t);
  Network (*loaded)(const Recipe&, bool, Weights);
  void (*complete)(const Network&, Weights&);      // weights of one time, for a network of two
  std::string (*size)(const Recipe&, bool);
  NetworkCost (*cost)(const Recipe&, bool);
};

template <class R> constexpr Kind kind(const char* name, void (*complete)(const Network&, Weights&)) {
  return {name, R::fresh, R::loaded, complete, R::size, R::cost};
}

constexpr Kind kinds[] = {
    kind<Row<DitDh, &Recipe::dit_net>>("dit_dh", complete_dit),
    kind<Row<FlowMlp, &Recipe::mlp_net>>("mlp", complete_mlp),
};

const Kind& kind_of(const Recipe& r) {
  for (const Kind& k : kinds)
    if (r.network == k.name) return k;
  throw ConfigError(fmt::format("network '{}': want one of those that --help lists", r.network));
}

}  // namespace

Network make_network(const Recipe& recipe, bool two_times, std::uint64_t seed) { return kind_of(recipe).fresh(recipe, two_times, seed); }
Network load_network(const Recipe& recipe, bool two_times, Weights weights) { return kind_of(recipe).loaded(recipe, two_times, std::move(weights)); }
std::string network_size(const Recipe& recipe, bool two_times) { return kind_of(recipe).size(recipe, two_times); }
NetworkCost network_cost(const Recipe& recipe, bool two_times) { return kind_of(recipe).cost(recipe, two_times); }

void start_from(const Network& network, const Recipe& recipe, Weights weights) {
  if (network.two_times()) kind_of(recipe).complete(network, weights);
  network.load(weights);
}

std::int64_t NetworkCost::all() const {
  std::int64_t n = 0;
  for (const Parameter& p : parameters) n += p.values;
  return n;
}
std::int64_t NetworkCost::trained() const {
  std::int64_t n = 0;
  for (const Parameter& p : parameters) n += p.trained ? p.values : 0;
  return n;
}

}  // namespace fm
