// The program that full_size.py and inception_modules.py compare with PyTorch: a model at full size with the weights and inputs of a folder.
//
//   full_size CASE IMAGE_SIZE PRECISION FOLDER
//
// reads FOLDER/weights.safetensors and inputs.safetensors, writes FOLDER/output.safetensors. CASE: rae-dinov2, rae-siglip2, rae-mae,
// dit-teacher, dit-mean-flow (DiT^DH), vae, dit-xl-2, sit-xl-2, mean-flow-xl-2, inception-tf1, inception-half-pixel, inception-clean (f32 alone).
#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <string>

#include "autodiff/jvp.h"
#include "autodiff/rules/linear.h"
#include "nn/models/autoencoder_kl.h"
#include "nn/models/inception_file.h"
#include "nn/models/inception_input.h"
#include "nn/models/presets.h"
#include "nn/models/published_weights.h"
#include "tensor/error.h"

namespace {

using namespace fm;

struct Folder {
  std::filesystem::path path;
  Tensor input(const std::string& name) const { return Safetensors(path / "inputs.safetensors")[name].clone(); }
  NamedTensors weights(const std::string& part) const { return load_part((path / "weights.safetensors").string(), part, {}).tensors; }
};

NamedTensors run_rae(const std::string& kind, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  RaeConfig c = rae(kind + "-B", "XL", image_size);
  c.encoder.precision = c.decoder.precision = precision;
  Rae model(c);
  load_state(model.encoder, folder.weights("encoder"));
  load_state(model.decoder, folder.weights("decoder"));
  LatentStats stats;
  stats.variance = folder.input("var");
  if (kind != "dinov2") stats.mean = folder.input("mean");   // the published file of DINOv2-B has no mean
  const Tensor z = stats.normalise(model.encode(folder.input("images")));
  const auto decoded = [&](const Tensor& latents) { return model.decode(stats.restore(latents)); };
  return {{"latent", z}, {"decoded", decoded(folder.input("z"))}, {"round trip", decoded(z)}};
}

struct FlowInputs {
  Tensor x, r, t, labels;
  explicit FlowInputs(const Folder& f) : x(f.input("x")), r(f.input("r")), t(f.input("t")), labels(f.input("labels").to(DType::i64)) {}
};

template <class M> NamedTensors with_derivative(const M& model, const FlowInputs& in, const Folder& folder) {
  const auto u = [&](const Var& z, const Var& a, const Var& b) { return model(z, a, b, in.labels); };
  const auto [value, derivative] = jvp(u, at(in.x, in.r, in.t), along(folder.input("v"), zero, 1.0));
  return {{"average velocity", value.value()}, {"derivative", derivative}};
}

// A model whose values are never drawn, because the file has all of them.
template <class M, class C> M adopted(const C& config, const NamedTensors& tensors) {
  M model = [&] {
    const ShapesOnly shapes;
    return M(config);
  }();
  adopt_state(model, tensors);
  return model;
}

NamedTensors run_dit(bool mean_flow, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  DitDhConfig c = dit_dh("XL", image_size, mean_flow);
  c.precision = precision;
  const DitDh model = adopted<DitDh>(c, folder.weights("dit"));
  const FlowInputs in(folder);
  if (mean_flow) return with_derivative(model, in, folder);
  return {{"velocity", model(in.x, in.t, in.labels).value()}};
}

NamedTensors run_plain_dit(const std::string& kind, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  DitConfig c = dit("XL/2", image_size, kind == "mean-flow");
  c.precision = precision;
  c.learn_sigma = kind == "dit";
  const Dit model = adopted<Dit>(c, Safetensors(folder.path / "weights.safetensors").tensors());
  const FlowInputs in(folder);
  if (c.mean_flow) return with_derivative(model, in, folder);
  return {{c.learn_sigma ? "all channels" : "velocity", model.all_channels(in.x, in.t, in.labels).value()}};
}

NamedTensors run_vae(const std::string& precision, const Folder& folder) {
  AutoencoderKLConfig c;
  c.precision = precision;
  const AutoencoderKL model = adopted<AutoencoderKL>(c, folder.weights("vae"));
  const Tensor moments = model.moments(folder.input("images")).value();
  const auto decoded = [&](const Tensor& z) { return model.decode(z).value(); };
  return {{"moments", moments}, {"decoded", decoded(folder.input("z"))}, {"round trip", decoded(DiagonalGaussian(moments).mean.value())}};
}

NamedTensors run_inception(const std::string& preparation, const std::string& precision, const Folder& folder) {
  if (precision != "f32") throw ConfigError("case inception: precision " + precision + ", but the features are computed in f32 alone");
  const Inception net = inception_from(Safetensors(folder.path / "weights.safetensors").tensors());
  const InceptionOutput y = net(prepare_for_inception(folder.input("images"), inception_input(preparation)));
  return {{"pool3", y.pool3}, {"spatial", y.spatial}, {"logits_unbiased", y.logits_unbiased}};
}

NamedTensors outputs(const std::string& name, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  if (name.starts_with("rae-")) return run_rae(name.substr(4), image_size, precision, folder);
  if (name == "dit-teacher" || name == "dit-mean-flow") return run_dit(name == "dit-mean-flow", image_size, precision, folder);
  if (name == "vae") return run_vae(precision, folder);
  if (name.starts_with("inception-")) return run_inception(name.substr(10), precision, folder);
  for (const std::string kind : {"dit", "sit", "mean-flow"})
    if (name == kind + "-xl-2") return run_plain_dit(kind, image_size, precision, folder);
  throw ConfigError("no case '" + name + "'");
}

void run(const std::string& name, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  NamedTensors output = outputs(name, image_size, precision, folder);
  for (auto& entry : output) entry.second = entry.second.contiguous();
  save_safetensors(folder.path / "output.safetensors", output);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return fmt::print(stderr, "full_size CASE IMAGE_SIZE PRECISION FOLDER\n"), 2;
  try {
    run(argv[1], std::stoll(argv[2]), argv[3], {argv[4]});
  } catch (const std::exception& e) {
    return fmt::print(stderr, "full_size: {}\n", e.what()), 1;
  }
  return 0;
}
