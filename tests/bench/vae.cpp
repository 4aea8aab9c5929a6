// SD-VAE at full width: encodes an image and decodes its latent. Makes --calls calls, or without --calls one call per line of standard input ("encode"
// or "decode"), so that tests/peers/vae.py can alternate with PyTorch. Prints seconds, processor seconds of all threads and the peak memory of each call.
//
//   bench_vae --image-size 256 --precision f32|bf16 --calls 5 [--weights FOLDER]
//
// --weights: FOLDER contains vae.safetensors with the names of diffusers, and image.npy and latent.npy (f32). The results are written there as
// encode.npy and decode.npy. Without it weights and inputs are random. "profile" in a line prints the time of each operation to standard error.
#include <fmt/format.h>
#include <time.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <string>

#include "nn/checkpoint.h"
#include "nn/models/autoencoder_kl.h"
#include "nn/precision.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/memory/allocator.h"
#include "tensor/profile.h"
#include "tensor/random/fill.h"

namespace {

using namespace fm;

struct Options {
  std::int64_t image_size = 256, calls = 0;
  std::string precision = "f32", weights;
};

double wall() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double processor() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Of this program alone: getrusage counts the memory of the process that started it, too.
double peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::atof(line.c_str() + 6) / 1024;
  return 0;
}

void write_f32(const std::filesystem::path& path, const Tensor& x) {
  const Tensor c = x.to(DType::f32).contiguous();
  std::vector<std::int64_t> shape;
  for (int i = 0; i < c.rank(); ++i) shape.push_back(c.dim(i));
  write_npy(path.string(), shape, std::span<const float>(c.data<float>(), static_cast<std::size_t>(c.numel())));
}

Tensor input(const Options& o, const char* name, const Shape& shape) {
  return o.weights.empty() ? random_normal(shape, {.seed = 1}) : read_npy((std::filesystem::path(o.weights) / name).string());
}

AutoencoderKL make(const Options& o) {
  AutoencoderKLConfig config;
  config.precision = o.precision;
  if (o.weights.empty()) return AutoencoderKL(config, 1);
  AutoencoderKL model = [&] {
    const ShapesOnly shapes;
    return AutoencoderKL(config);
  }();
  adopt_state(model, Safetensors(std::filesystem::path(o.weights) / "vae.safetensors").tensors());
  return model;
}

// Prints the operations by time.
void print_profile(Profile& profile) {
  std::map<std::string, ProfileCost> by_op;
  for (const auto& [key, cost] : profile.costs()) by_op[key.op] += cost;
  for (const auto& [op, c] : by_op)
    fmt::print(stderr, "{:20} {:8.4f} s, {:7.1f} GFLOP/s, {:6.1f} GB/s, {} calls\n", op, c.seconds, c.flops / c.seconds / 1e9, c.bytes / c.seconds / 1e9, c.calls);
}

void call(const Options& o, const AutoencoderKL& model, const std::string& line, const Tensor& image, const Tensor& latent) {
  const bool encode = line.starts_with("encode");
  std::optional<Profile> profile;
  if (line.find("profile") != std::string::npos) profile.emplace(ModulePath::current());
  const double w = wall(), p = processor();
  const Tensor result = (encode ? model.moments(image) : model.decode(latent)).value();
  fmt::print("seconds {:.4f} processor {:.4f} peak {:.1f}\n", wall() - w, processor() - p, peak_mib());
  std::cout.flush();
  if (profile) print_profile(*profile);
  if (!o.weights.empty()) write_f32(std::filesystem::path(o.weights) / (encode ? "encode.npy" : "decode.npy"), result);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--image-size") o.image_size = std::atoi(argv[i + 1]);
    else if (key == "--precision") o.precision = argv[i + 1];
    else if (key == "--calls") o.calls = std::atoi(argv[i + 1]);
    else if (key == "--weights") o.weights = argv[i + 1];
    else return fmt::print(stderr, "bench_vae: unknown option {}\n", key), 2;
  }
  const AutoencoderKL model = make(o);
  const Tensor image = input(o, "image.npy", {1, 3, o.image_size, o.image_size}), latent = input(o, "latent.npy", {1, 4, o.image_size / 8, o.image_size / 8});
  fmt::print("loaded, peak {:.1f}\n", peak_mib());
  std::cout.flush();
  std::string line;
  for (std::int64_t i = 0; i < o.calls; ++i)
    for (const char* kind : {"encode", "decode"}) call(o, model, kind, image, latent);
  while (o.calls == 0 && std::getline(std::cin, line)) call(o, model, line, image, latent);
}
