#include "nn/models/inception_file.h"

#include <fmt/format.h>

#include <map>
#include <string_view>
#include <vector>

#include "nn/models/published_names.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr double inception_eps = 0.001;
constexpr std::string_view conv_weight = ".conv.weight", gamma_name = ".bn.weight", beta_name = ".bn.bias", mean_name = ".bn.running_mean",
                           variance_name = ".bn.running_var", folded_weight = ".weight", folded_bias = ".bias";

std::string joined(std::string_view conv, std::string_view rest) { return std::string(conv).append(rest); }

// Removes prefixes of wrappers, and the tensors that are not used.
NamedTensors used_tensors(const NamedTensors& published) {
  NamedTensors out;
  for (auto& [name, t] : to_our_names(published, ""))
    if (!name.ends_with(".num_batches_tracked") && !name.starts_with("AuxLogits.")) out.emplace_back(name, t);
  return out;
}

void refuse_other_inceptions(const NamedTensors& tensors) {
  constexpr std::int64_t imagenet_classes = 1000;
  for (const auto& [name, t] : tensors) {
    if (name == "fc.weight" && t.rank() == 2 && t.dim(0) == imagenet_classes)
      throw FileError("fc.weight has 1000 classes: these are the weights of torchvision's inception_v3_google, whose features give another distance than FID; use " +
                      inception_file_text());
    if (name.find("conv2d_params") != std::string::npos || name.find("batchnorm/") != std::string::npos || name.starts_with("softmax/"))
      throw FileError(fmt::format("{} is a name of TensorFlow's graph, which is not translated; use {}", name, inception_file_text()));
  }
}

// The convolutions of the network, by name, in order.
std::vector<std::string> convolutions(const StateDict& network) {
  std::vector<std::string> names;
  for (const auto& [name, t] : network)
    if (t.rank() == 4) names.push_back(name.substr(0, name.size() - folded_weight.size()));
  return names;
}

// The tensors of a published file, by name. FileError unless they are those that the network needs.
std::map<std::string, Tensor> matched(const NamedTensors& tensors, const StateDict& network) {
  std::map<std::string, Tensor> all;
  std::vector<detail::StateEntry> entries;
  const auto need = [&](const std::string& name, const Shape& shape) {
    const ShapesOnly shapes;
    entries.push_back({name, &(all[name] = make_parameter(shape).value)});
  };
  for (const auto& [name, t] : network) {
    if (name.starts_with("fc.")) need(name, t.shape());
    if (t.rank() != 4) continue;
    const std::string conv = name.substr(0, name.size() - folded_weight.size());
    need(joined(conv, conv_weight), t.shape());
    for (const std::string_view of_norm : {gamma_name, beta_name, mean_name, variance_name}) need(joined(conv, of_norm), {t.dim(0)});
  }
  detail::adopt_entries(entries, tensors, true);
  return all;
}

// The one place where a batch norm becomes part of its convolution.
void fold(const std::map<std::string, Tensor>& file, const std::string& conv, DType type, NamedTensors& out) {
  const auto read = [&](std::string_view name) { return file.at(joined(conv, name)).to(DType::f64); };
  const Tensor variance = read(variance_name), weight = read(conv_weight);
  for (const double v : variance.to_vector<double>())
    if (!(v >= 0)) throw FileError(fmt::format("{}{} has the value {}: a variance cannot be negative; fetch the file again", conv, variance_name, v));
  const Tensor a = read(gamma_name) / sqrt(variance + inception_eps);
  out.emplace_back(joined(conv, folded_weight), (weight * a.reshape({-1, 1, 1, 1})).to(type));
  out.emplace_back(joined(conv, folded_bias), (read(beta_name) - read(mean_name) * a).to(type));
}

}  // namespace

std::string inception_file_text() {
  return "pt_inception-2015-12-05-6726825d.pth (release fid_weights of pytorch-fid) or weights-inception-2015-12-05-6726825d.pth (release v0.2.0 of "
         "torch-fidelity), whose sha256 begins with 6726825d";
}

Inception inception_from(const NamedTensors& published, DType type) {
  const NamedTensors tensors = used_tensors(published);
  refuse_other_inceptions(tensors);
  Inception net = [] {
    const ShapesOnly shapes;
    return Inception();
  }();
  const StateDict network = state_dict(net);
  const std::map<std::string, Tensor> file = matched(tensors, network);
  NamedTensors folded;
  for (const std::string& conv : convolutions(network)) fold(file, conv, type, folded);
  for (const char* name : {"fc.weight", "fc.bias"}) folded.emplace_back(name, file.at(name).to(type).contiguous().clone());   // no longer the file's memory
  adopt_state(net, folded);
  return net;
}

Inception load_inception(const std::string& where, const Warn& warn, DType type) {
  Weights weights;
  try {
    weights = load_weights(where, warn);
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}; the Inception of FID is read from {}", e.what(), inception_file_text()));
  }
  try {
    return inception_from(weights.tensors, type);
  } catch (const NotFiniteError& e) {
    throw NotFiniteError(fmt::format("{}: {}", weights.file.string(), e.what()));
  } catch (const FileError& e) {
    throw FileError(fmt::format("{}: {}{}", weights.file.string(), e.what(), unread_text(weights.unread)));
  }
}

}  // namespace fm
