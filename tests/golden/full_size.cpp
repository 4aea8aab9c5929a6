// The program that full_size.py compares with PyTorch: a model at full size with the weights and inputs of a folder.
//
//   full_size CASE IMAGE_SIZE PRECISION FOLDER
//
// reads FOLDER/weights.safetensors and inputs.safetensors, writes FOLDER/output.safetensors. CASE: rae-dinov2, rae-siglip2, rae-mae,
// dit-teacher, dit-mean-flow.
#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <string>

#include "autodiff/jvp.h"
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

NamedTensors run_dit(bool mean_flow, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  DitDhConfig c = dit_dh("XL", image_size, mean_flow);
  c.precision = precision;
  DitDh model = [&] {
    const ShapesOnly shapes;
    return DitDh(c);
  }();
  adopt_state(model, folder.weights("dit"));
  const Tensor x = folder.input("x"), r = folder.input("r"), t = folder.input("t"), labels = folder.input("labels").to(DType::i64);
  if (!mean_flow) return {{"velocity", model(x, t, labels).value()}};
  const auto u = [&](const Var& z, const Var& a, const Var& b) { return model(z, a, b, labels); };
  const auto [value, derivative] = jvp(u, at(x, r, t), along(folder.input("v"), zero, 1.0));
  return {{"average velocity", value.value()}, {"derivative", derivative}};
}

void run(const std::string& name, std::int64_t image_size, const std::string& precision, const Folder& folder) {
  const bool is_rae = name.starts_with("rae-"), mean_flow = name == "dit-mean-flow";
  if (!is_rae && !mean_flow && name != "dit-teacher") throw ConfigError("no case '" + name + "'");
  NamedTensors output = is_rae ? run_rae(name.substr(4), image_size, precision, folder) : run_dit(mean_flow, image_size, precision, folder);
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
