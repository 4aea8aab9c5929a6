// The networks that a config can name. To add a network, write its model and its entry (see nn/backbones/), and append the entry to BackboneList.
// docs/extending.md adds one as an example.
//
// An entry has everything that programs need of a backbone (network.h), except the call of the network itself:
//
//   struct FlowMlpBackbone {
//     using Model = FlowMlp;
//     static constexpr std::string_view name = "mlp";            // the value of the key `network`
//     static constexpr std::string_view section = "mlp";         // the config's section with the settings of Model
//     static constexpr std::string_view says = "an MLP ...";     // help of that section
//     static void fit(FlowMlpConfig&, const Modeled&);           // sets sizes that follow from the samples. ConfigError with a remedy if it cannot model the samples
//     static void complete(const FlowMlp& map, Weights&);        // turns weights of a teacher (one time) into those of a map (two times) that begins as the teacher
//     static Weights read(const std::string& where, const Warn&);                              // optional: reads published files for which load_weights does not suffice; may take the config first
//     static void check(const Weights&, bool two_times, const std::string& role);              // optional: FileError if the weights are of a flow map but must be of a velocity, or the reverse
//     static void take_size(FlowMlpConfig&, std::string_view size);                            // optional: takes widths and depths of a published size. ConfigError for unknown names
//     static void take_weights(FlowMlpConfig&, const Weights&);                                // optional: takes what only a frozen network's weights tell
//     static std::string leave_out(Weights&);                                                  // optional: leaves out what a trained network lacks; returns a line for the log, or ""
//     static std::string block_name(const FlowMlpConfig&, std::int64_t number);                // optional: name of the kind of block NUMBER, if the model has several kinds
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
#include "nn/backbones/dit.h"
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

using BackboneList = std::tuple<DitDhBackbone, FlowMlpBackbone, ResidualMlpBackbone, DitBackbone>;

std::vector<std::string> backbone_names();               // the names in the order of BackboneList
bool is_backbone_section(std::string_view section);      // whether the config's section belongs to any network, chosen or not

// The cost of a network, computed without allocating weights.
struct NetworkCost {
  struct Parameter {
    std::int64_t values;
    bool trained;
  };
  std::vector<Parameter> parameters;
  double flops = 0;                                      // FLOPs of a forward pass of one sample
  std::int64_t macs_linear = 0;                          // its multiply-adds in linear layers and convolutions, without attention's products (nn/flops/count.h)
  bool recompute = false;                                // whether the config asks for recomputed activations
  std::function<ActivationBytes(std::int64_t rows, bool recompute)> activations;

  std::int64_t all() const;
  std::int64_t trained() const;
};

// The settings of all networks, each in a section of its own in a training's config, and the name of the chosen network.
//
//   template <class V> void visit(V&& v) {
//     v("network", network.name, "network of teacher and student", ChoiceRule{backbone_names()});
//     network.visit_sections(v);
//   }
//
// `two_times`: true for a flow map, false for a velocity. All members but visit_sections() and of() use the chosen network: ConfigError if its name is not
// in the list.
class NetworkConfig {
 public:
  std::string name = backbone_names().front();

  template <class V> void visit_sections(V&& v) {
    std::apply([&](auto&... s) { (v(s.entry.section, s.config, s.entry.says), ...); }, settings_);
  }

  // Returns the settings of the model M, whether or not it is the chosen network.
  template <class M> decltype(M::config)& of() { return find<M>(*this); }
  template <class M> const decltype(M::config)& of() const { return find<M>(*this); }

  void fit(const Modeled& samples);                                    // sets sizes that follow from the samples. ConfigError if they cannot be modeled
  void take_size(std::string_view size);                               // takes widths and depths of a published size. ConfigError if the network has no such size
  std::string section() const;                                         // the network's section of the config: "dit"
  bool decides(std::string_view key) const;                            // whether this key is in the network's section and changes results; false for "dit.recompute"

  Network make(bool two_times, std::uint64_t seed) const;              // makes a network with initial values from this seed
  Network load(bool two_times, Weights weights) const;                 // makes a frozen network with these weights. Throws the FileError of frozen_model()
  Weights read(const std::string& where, const Warn& warn) const;      // reads weights from a file, run or checkpoint, also with published names
  void check(const Weights& weights, bool two_times, const std::string& role) const;    // FileError if the weights are of a flow map but must be of a velocity, or the reverse
  // Copies weights into a network. Weights of a velocity (one time) may go into a flow map (two times), which then begins as that velocity, as far as its
  // kind of network allows. Any other difference of names or shapes is a FileError. Returns what a log should say about parts that were left out, or "".
  std::string start(const Network& network, Weights weights) const;

  std::string size(bool two_times) const;                              // "DiT^DH 128x4 + 128x2, flow map u(z, s, t)"
  std::string block_name(std::int64_t number) const;                   // name of all blocks of the same kind as blocks.NUMBER: "head blocks"
  NetworkCost cost(bool two_times) const;

  std::string precision() const;                                       // the number format of the network's blocks: "f32" or "bf16"
  void set_precision(const std::string& precision);                    // ConfigError if the network computes only in f32

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
