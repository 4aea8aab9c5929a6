// The networks that a config can name. A new one is its model and its entry (nn/backbones/, or wherever the model is), and a word in BackboneList;
// docs/extending.md adds one.
//
// An entry describes a backbone (network.h) beyond calling it:
//
//   struct FlowMlpBackbone {
//     using Model = FlowMlp;
//     static constexpr std::string_view name = "mlp";            // the value of the key `network`
//     static constexpr std::string_view section = "mlp";         // of the config: the settings of Model
//     static constexpr std::string_view says = "an MLP ...";     // help of that section
//     static void fit(FlowMlpConfig&, const Modeled&);           // sizes that follow from the samples. ConfigError with a remedy for samples that it cannot model
//     static void complete(const FlowMlp& map, Weights&);        // extends a one-time teacher's weights for a two-time map that begins as the teacher
//     static Weights read(const std::string& where, const Warn&);                              // if published files need more than load_weights; optional
//     static void check(const Weights&, bool two_times, const std::string& role);              // FileError for weights of the other kind; optional
//     static std::string block_name(const FlowMlpConfig&, std::int64_t number);                // if its blocks have several sizes; optional
//   };
//
// and, as functions on the config's type: size_text(config), cost_table(config) and activation_bytes(config, rows).
#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "flowmap/training/network.h"
#include "nn/backbones/dit_dh.h"
#include "nn/backbones/flow_mlp.h"
#include "nn/backbones/residual_mlp.h"

namespace fm {

template <class E>
concept BackboneEntry = Backbone<typename E::Model> &&
    requires(const typename E::Model& model, decltype(E::Model::config)& config, const Modeled& samples, Weights& weights) {
      { E::name } -> std::convertible_to<std::string_view>;
      { E::section } -> std::convertible_to<std::string_view>;
      { E::says } -> std::convertible_to<std::string_view>;
      E::fit(config, samples);
      E::complete(model, weights);
      { size_text(config) } -> std::convertible_to<std::string>;
      { cost_table(config) } -> std::same_as<CostTable>;
      { activation_bytes(config, std::int64_t{}) } -> std::same_as<ActivationBytes>;
    };

using BackboneList = std::tuple<DitDhBackbone, FlowMlpBackbone, ResidualMlpBackbone>;

std::vector<std::string> backbone_names();               // in the order of the list
bool is_backbone_section(std::string_view section);      // of the config, for any chosen network

// The cost of a network, computed without allocating weights.
struct NetworkCost {
  struct Parameter {
    std::int64_t values;
    bool trained;
  };
  std::vector<Parameter> parameters;
  double flops = 0;                                      // of one sample, forward
  bool recompute = false;                                // as configured
  std::function<ActivationBytes(std::int64_t rows, bool recompute)> activations;

  std::int64_t all() const;
  std::int64_t trained() const;
};

// The settings of every network, one of which is chosen by name: a section of a training's config.
//
//   template <class V> void visit(V&& v) {
//     v("network", network.name, "network of teacher and student", ChoiceRule{backbone_names()});
//     network.visit_sections(v);
//   }
//
// `two_times`: a flow map; else a velocity. All members but visit_sections() and of() concern the chosen network: ConfigError if the list lacks its name.
class NetworkConfig {
 public:
  std::string name = backbone_names().front();

  template <class V> void visit_sections(V&& v) {
    std::apply([&](auto&... s) { (v(s.entry.section, s.config, s.entry.says), ...); }, settings_);
  }

  // The settings of a model, chosen or not.
  template <class M> decltype(M::config)& of() { return find<M>(*this); }
  template <class M> const decltype(M::config)& of() const { return find<M>(*this); }

  void fit(const Modeled& samples);                                    // takes the sizes that follow from the samples; ConfigError: it cannot model them
  std::string section() const;                                         // of the config: "dit"
  bool decides(std::string_view key) const;                            // whether results follow from this key of its section; not so from "dit.recompute"

  Network make(bool two_times, std::uint64_t seed) const;              // with the initial values of this seed
  Network load(bool two_times, Weights weights) const;                 // of these weights, frozen. FileError as from frozen_model
  Weights read(const std::string& where, const Warn& warn) const;      // its weights in a file, run or checkpoint; published names too
  void check(const Weights& weights, bool two_times, const std::string& role) const;    // FileError for a flow map in place of a velocity, or the reverse
  // Copies weights into a network. Those of a network of one time may go into one of two, which then begins as that velocity, as far as its kind
  // allows. Else strict: FileError.
  void start(const Network& network, Weights weights) const;

  std::string size(bool two_times) const;                              // "DiT^DH 128x4 + 128x2, flow map u(z, s, t)"
  std::string block_name(std::int64_t number) const;                   // of blocks.NUMBER in sums over like blocks: "head blocks"
  NetworkCost cost(bool two_times) const;

  std::string precision() const;                                       // its blocks compute in: "f32", "bf16"
  void set_precision(const std::string& precision);                    // ConfigError if the network has only one

 private:
  template <BackboneEntry E> struct Settings {
    using Entry = E;
    E entry;
    decltype(E::Model::config) config;
  };
  template <class... E> static std::tuple<Settings<E>...> settings_of(const std::tuple<E...>*);

  template <class M, class Self> static auto& find(Self& self) {
    return std::apply([](auto&... s) -> auto& { return pick<M>(s...); }, self.settings_);
  }
  template <class M, class First, class... Rest> static auto& pick(First& first, Rest&... rest) {
    if constexpr (std::is_same_v<M, typename First::Entry::Model>) return first.config;
    else return pick<M>(rest...);
  }

  template <class F> decltype(auto) chosen(F&& f) const;               // f(settings)
  template <class F> decltype(auto) chosen(F&& f);

  decltype(settings_of(static_cast<const BackboneList*>(nullptr))) settings_;
};

}  // namespace fm
