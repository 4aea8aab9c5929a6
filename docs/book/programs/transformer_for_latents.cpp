// Chapter 9: the parts of DiT^DH, the effect of its modulation, and loading weights by name.
//   transformer_for_latents [FOLDER]        FOLDER gets transformer_for_latents.csv and .svg
#include <algorithm>
#include <map>

#include "autodiff/rules/elementwise.h"
#include "docs/book/programs/figure.h"
#include "nn/backbones/dit_dh.h"
#include "nn/models/presets.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

DitDhConfig small() {
  DitDhConfig c;
  c.input_size = 4, c.channels = 8, c.classes = 10, c.width = 64, c.depth = 4, c.heads = 4, c.head_width = 128, c.head_depth = 2, c.head_heads = 4;
  return c;
}

// Sums the rows of cost_table() by part of the model: "backbone mlp", "head attn", "final layer", "embedders" and so on.
CostTable by_part(const DitDhConfig& config) {
  CostTable parts;
  for (ModuleCost row : cost_table(config)) {
    const std::string kind = row.module.substr(row.module.rfind('.') + 1);
    row.module = row.module.starts_with("blocks.0-") ? "backbone " + kind : row.module.starts_with("blocks.") ? "head " + kind
                 : row.module.starts_with("final_layer") ? "final layer" : "embedders";
    const auto same = std::find_if(parts.begin(), parts.end(), [&](const ModuleCost& p) { return p.module == row.module; });
    if (same == parts.end()) parts.push_back(row);
    else same->parameters += row.parameters, same->macs_linear += row.macs_linear, same->macs_attention += row.macs_attention;
  }
  return parts;
}

double percent(std::int64_t x, std::int64_t of) { return 100.0 * static_cast<double>(x) / static_cast<double>(of); }

std::string print_costs(const CostTable& parts) {                     // returns them as CSV
  const ModuleCost all = total(parts);
  std::string csv = "part,parameters,macs\n";
  fmt::print("DiT^DH-XL, one image of 256 pixels\n{:<26} {:>12} {:>6} {:>7} {:>6}\n", "part", "parameters", "%", "GMAC", "%");
  const auto line = [&](const ModuleCost& p) {
    fmt::print("{:<26} {:12} {:6.1f} {:7.2f} {:6.1f}\n", p.module, p.parameters, percent(p.parameters, all.parameters), 1e-9 * static_cast<double>(p.macs()),
               percent(p.macs(), all.macs()));
    csv += fmt::format("{},{},{}\n", p.module, p.parameters, p.macs());
  };
  for (const ModuleCost& p : parts) line(p);
  line(all);
  return csv;
}

struct Example {                                                      // four noisy latents with labels 0 to 3
  Tensor x = random_normal({4, 8, 4, 4}, {.seed = 1}), y = Tensor::arange(4, DType::i64), target = random_normal({4, 8, 4, 4}, {.seed = 2});
  Tensor output(const DitDh& net, double t) const { return net(x, Tensor::full({4}, t), y).value(); }
};

double largest(const Tensor& x) { return max(abs(x).reshape({-1}), 0).item(); }
Tensor normal_like(const Tensor& x, std::uint32_t number) { return random_normal(x.shape(), RandomKey{7, number}); }

// Makes steps of gradient descent from fresh weights. Prints how many tensors of each part have a gradient that is not 0.
void print_first_steps(DitDh& net, const Example& e) {
  const auto part = [&](const std::string& name) -> std::string {
    if (name.starts_with("blocks.")) return std::stoll(name.substr(7)) < net.config.depth ? "backbone" : "head";
    return name.starts_with("final_layer") ? "final layer" : "embedders";
  };
  fmt::print("tensors with a gradient\nstep  final layer      head  backbone  embedders\n");
  for (int step = 1; step <= 4; ++step) {
    std::map<std::string, int> moved, all;
    Tape tape;
    Gradients g = backward(mean(square(net(e.x, Tensor::full({4}, 0.5), e.y) - e.target)));
    for_each_parameter(net, [&](const std::string& name, Parameter& p) {
      if (!p.trainable) return;
      ++all[part(name)], moved[part(name)] += largest(g[p]) > 0 ? 1 : 0;
      p.value = p.value - 0.1 * g[p];
    });
    const auto of = [&](const std::string& name) { return fmt::format("{} of {}", moved[name], all[name]); };
    fmt::print("{:4}  {:>11}  {:>8}  {:>8}  {:>9}\n", step, of("final layer"), of("head"), of("backbone"), of("embedders"));
  }
}

std::string bars(const CostTable& parts) {                            // the share of parameters and of multiply-adds of each part
  const ModuleCost all = total(parts);
  std::string out = "<text class=\"title\" x=\"360\" y=\"19\" text-anchor=\"middle\">DiT^DH-XL by part, percent of the whole</text>\n";
  double y = 36;
  const auto bar = [&](double value, const char* colour) {
    out += fmt::format("<rect x=\"190\" y=\"{}\" width=\"{:.1f}\" height=\"11\" fill=\"{}\"/><text x=\"{:.1f}\" y=\"{}\">{:.1f}</text>\n", y, 10 * value, colour,
                       196 + 10 * value, y + 10, value);
    y += 12;
  };
  for (const ModuleCost& p : parts) {
    out += fmt::format("<text x=\"184\" y=\"{}\" text-anchor=\"end\">{}</text>\n", y + 16, p.module);
    bar(percent(p.parameters, all.parameters), plane_blue), bar(percent(p.macs(), all.macs()), plane_orange);
    y += 6;
  }
  out += fmt::format("<text x=\"190\" y=\"{0}\" style=\"fill: {1}\">parameters</text><text x=\"290\" y=\"{0}\" style=\"fill: {2}\">multiply-adds</text>\n", y + 20, plane_blue, plane_orange);
  return fmt::format("<svg class=\"plot\" viewBox=\"0 0 720 {}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n{}</svg>\n", y + 32, out);
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    const CostTable parts = by_part(dit_dh("XL", 256));
    const std::string csv = print_costs(parts);

    const Example e;
    DitDh net(small(), 1);
    fmt::print("\na small one: {} parameters counted, {} in the model; block 0 has\n", total(cost_table(small())).parameters, parameter_count(net));
    for (const auto& [name, tensor] : state_dict(net))
      if (name.starts_with("blocks.0.")) fmt::print("{} {}\n", name, to_string(tensor.shape()));

    const Tensor tokens = random_normal({4, 16, 64}, {.seed = 3}), condition = random_normal({4, 64}, {.seed = 4});
    const Tensor after = net.blocks[0](tokens, condition, net.backbone_cos.value, net.backbone_sin.value).value();
    fmt::print("\nfresh weights: largest output {}, largest change by block 0 {}\n", largest(e.output(net, 0.5)), largest(after - tokens));
    print_first_steps(net, e);

    std::uint32_t number = 0;                                         // weights as after a long training: none is 0
    for_each_parameter(net, [&](const std::string&, Parameter& p) { p.value = p.value + 0.05 * normal_like(p.value, number++); });
    const StateDict file = state_dict(clone(net));
    fmt::print("\noutputs at t = 0.2 and t = 0.8 differ by {:.4f}", distance(e.output(net, 0.2), e.output(net, 0.8)));
    for_each_parameter(net, [&](const std::string& name, Parameter& p) { if (name.find("adaLN_modulation") != name.npos) p.value = p.value * 0.0; });
    fmt::print(", with all modulations 0 by {}\n", distance(e.output(net, 0.2), e.output(net, 0.8)));

    DitDh other(small(), 2);
    load_state(other, file);
    load_state(net, file);
    fmt::print("another model with the same file: outputs differ by {}\n", distance(e.output(net, 0.5), e.output(other, 0.5)));
    StateDict renamed = file;
    for (auto& [name, tensor] : renamed) if (name == "blocks.0.attn.qkv.weight") name = "blocks.0.attn.to_qkv.weight";
    try { load_state(other, renamed); } catch (const FileError& error) { fmt::print("one name changed: {}\n", error.what()); }
    if (!folder.empty()) write_figure(folder, "transformer_for_latents", csv, bars(parts));
  });
}
