#include "flowmap/training/backbones.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>

#include "tensor/error.h"

namespace fm {
namespace {

template <class... E> std::vector<std::string> names_of(const std::tuple<E...>*) { return {std::string(E::name)...}; }

// Returns f(s) for the settings s of the entry with this name. f must return the same type for all entries.
template <class All, class F> auto with_name(const std::string& name, All& all, const F& f) {
  using Result = decltype(f(std::get<0>(all)));
  if constexpr (std::is_void_v<Result>) {
    with_name(name, all, [&](auto& s) { return f(s), true; });
  } else {
    std::optional<Result> out;
    const auto take = [&](auto& s) {
      if (s.entry.name == name) out.emplace(f(s));
    };
    std::apply([&](auto&... s) { (take(s), ...); }, all);
    if (!out) throw ConfigError(fmt::format("there is no network '{}': known are {}", name, fmt::join(backbone_names(), ", ")));
    return *std::move(out);
  }
}

template <class C> C with_times(C config, bool two_times) {
  config.mean_flow = two_times;
  return config;
}

template <class C> C with_recompute(C config, [[maybe_unused]] bool recompute) {
  if constexpr (requires { config.recompute; }) config.recompute = recompute;
  return config;
}

template <class M, class C> NetworkCost cost_of(const C& config) {
  const ShapesOnly shapes;
  const M model(config);
  NetworkCost out;
  for_each_parameter(model, [&](const std::string&, const Parameter& p) { out.parameters.push_back({p.value.numel(), p.trainable}); });
  const ModuleCost whole = total(cost_table(config));
  out.flops = 2 * static_cast<double>(whole.macs()), out.macs_linear = whole.macs_linear;
  if constexpr (requires { config.recompute; }) out.recompute = config.recompute;
  out.activations = [config](std::int64_t rows, bool recompute) { return activation_bytes(with_recompute(config, recompute), rows); };
  return out;
}

template <class S> using ModelOf = typename std::remove_cvref_t<S>::Entry::Model;

}  // namespace

std::vector<std::string> backbone_names() { return names_of(static_cast<const BackboneList*>(nullptr)); }

bool is_backbone_section(std::string_view section) {
  return std::apply([&](const auto&... entry) { return ((entry.section == section) || ...); }, BackboneList{});
}

template <class F> decltype(auto) NetworkConfig::chosen(F&& f) const { return with_name(name, settings_, f); }
template <class F> decltype(auto) NetworkConfig::chosen(F&& f) { return with_name(name, settings_, f); }

void NetworkConfig::fit(const Modeled& samples) {
  chosen([&](auto& s) { s.entry.fit(s.config, samples); });
}

void NetworkConfig::take_size(std::string_view size) {
  chosen([&](auto& s) {
    if constexpr (requires { s.entry.take_size(s.config, size); }) s.entry.take_size(s.config, size);
    else throw ConfigError(fmt::format("network {} has no published sizes: leave dit_size = \"{}\" out, and set the sizes in [{}]", name, size, s.entry.section));
  });
}

std::string NetworkConfig::section() const {
  return chosen([](const auto& s) { return std::string(s.entry.section); });
}

bool NetworkConfig::decides(std::string_view key) const {
  const std::string begin = section() + ".";
  return key.starts_with(begin) && key != begin + "recompute" && key != begin + "precision";
}

Network NetworkConfig::make(bool two_times, std::uint64_t seed) const {
  return chosen([&](const auto& s) { return Network(std::make_shared<ModelOf<decltype(s)>>(with_times(s.config, two_times), seed)); });
}

Network NetworkConfig::load(bool two_times, Weights weights) const {
  return chosen([&](const auto& s) {
    using M = ModelOf<decltype(s)>;
    auto config = with_times(s.config, two_times);
    if constexpr (requires { s.entry.take_weights(config, weights); }) s.entry.take_weights(config, weights);
    return Network(std::make_shared<M>(frozen_model<M>(config, std::move(weights))));
  });
}

Weights NetworkConfig::read(const std::string& where, const Warn& warn) const {
  return chosen([&](const auto& s) {
    if constexpr (requires { s.entry.read(s.config, where, warn); }) return s.entry.read(s.config, where, warn);
    else if constexpr (requires { s.entry.read(where, warn); }) return s.entry.read(where, warn);
    else return load_weights(where, warn);
  });
}

void NetworkConfig::check(const Weights& weights, bool two_times, const std::string& role) const {
  chosen([&](const auto& s) {
    if constexpr (requires { s.entry.check(weights, two_times, role); }) s.entry.check(weights, two_times, role);
  });
}

std::string NetworkConfig::start(const Network& network, Weights weights) const {
  const std::string left_out = chosen([&](const auto& s) -> std::string {
    if constexpr (requires { s.entry.leave_out(weights); }) return s.entry.leave_out(weights);
    else return "";
  });
  if (network.two_times())
    chosen([&](const auto& s) {
      if (const auto model = network.as<ModelOf<decltype(s)>>()) s.entry.complete(*model, weights);
    });
  network.load(weights);
  return left_out;
}

std::string NetworkConfig::size(bool two_times) const {
  return chosen([&](const auto& s) { return size_text(with_times(s.config, two_times)); });
}

std::string NetworkConfig::block_name(std::int64_t number) const {
  return chosen([&](const auto& s) -> std::string {
    if constexpr (requires { s.entry.block_name(s.config, number); }) return s.entry.block_name(s.config, number);
    else return "blocks";
  });
}

NetworkCost NetworkConfig::cost(bool two_times) const {
  return chosen([&](const auto& s) { return cost_of<ModelOf<decltype(s)>>(with_times(s.config, two_times)); });
}

std::string NetworkConfig::precision() const {
  return chosen([](const auto& s) -> std::string {
    if constexpr (requires { s.config.precision; }) return s.config.precision;
    else return "f32";
  });
}

void NetworkConfig::set_precision(const std::string& precision) {
  chosen([&](auto& s) {
    if constexpr (requires { s.config.precision; }) s.config.precision = precision;
    else if (precision != "f32") throw ConfigError(fmt::format("network {} computes only in f32: precision {} is not available", name, precision));
  });
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
