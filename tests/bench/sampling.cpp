// One-step sampling at full size: DiT^DH-XL and the ViT-XL decoder with random weights, 256 x 256 pixels. Makes --calls calls, or without
// --calls one call per line of standard input, so that a script can alternate with another program. Prints the time of each call.
//
//   bench_sampling --size XL --decoder XL --batch 1 --precision bf16 --calls 5 [--weights FOLDER]
//
// --weights: FOLDER contains dit.safetensors and decoder.safetensors in the published names; the first call's noise and image are written there, as
// noise.npy and image.npy. Without it weights are random.
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>

#include "nn/models/presets.h"
#include "nn/precision.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tensor/random/fill.h"

namespace {

using namespace fm;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double peak_gib() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

void write_f32(const std::string& path, const Tensor& x) {
  const Tensor c = x.contiguous();
  std::vector<std::int64_t> shape;
  for (int i = 0; i < c.rank(); ++i) shape.push_back(c.dim(i));
  write_npy(path, shape, std::span<const float>(c.data<float>(), static_cast<std::size_t>(c.numel())));
}

// Replaces the published zeros by random values: zeros would make the output zero and hide errors.
template <class M> void fill_zeros(M& model) {
  for_each_parameter(model, [](const std::string& name, Parameter& p) {
    if (name.find("adaLN") != std::string::npos || name.starts_with("final_layer.linear"))
      p.value.copy_from(random_normal(p.value.shape(), {.seed = 5}) * 0.02);
  });
}

template <class M, class C> M make(C config, const std::string& precision, const std::string& weights) {
  config.precision = precision;
  if (weights.empty()) {
    M model(config, 1);
    fill_zeros(model);
    if (precision == "bf16") store_weights_as_bf16(model);
    return model;
  }
  const ShapesOnly shapes;
  M model(config);
  const Safetensors file(weights);
  adopt_state(model, file.tensors());
  if (precision == "bf16") store_weights_as_bf16(model);
  return model;
}

}  // namespace

int main(int argc, char** argv) {
  std::string size = "XL", decoder_size = "XL", precision = "f32", weights;
  std::int64_t batch = 1, calls = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--size") size = argv[i + 1];
    else if (key == "--decoder") decoder_size = argv[i + 1];
    else if (key == "--precision") precision = argv[i + 1];
    else if (key == "--batch") batch = std::atoi(argv[i + 1]);
    else if (key == "--calls") calls = std::atoi(argv[i + 1]);
    else if (key == "--weights") weights = argv[i + 1];
    else return fmt::print(stderr, "bench_sampling: unknown option {}\n", key), 2;
  }
  const auto file = [&](const char* name) { return weights.empty() ? "" : (std::filesystem::path(weights) / name).string(); };
  const double start = now();
  const DitDh dit = make<DitDh>(dit_dh(size, 256, true), precision, file("dit.safetensors"));
  const RaeDecoder decoder = make<RaeDecoder>(rae_decoder(decoder_size), precision, file("decoder.safetensors"));
  fmt::print("loaded {:.3f} s, peak {:.2f} GiB\n", now() - start, peak_gib());
  std::cout.flush();
  const Tensor noise = random_normal({batch, 768, 16, 16}, {.seed = 1});
  const Tensor zero = Tensor::zeros({batch}), one = Tensor::full({batch}, 1, DType::f32), labels = Tensor::full({batch}, 207, DType::i64);
  std::string line;
  for (std::int64_t call = 0; calls ? call < calls : static_cast<bool>(std::getline(std::cin, line)); ++call) {
    const double t0 = now();
    const Tensor z = noise - dit(noise, zero, one, labels).value();
    const double t1 = now();
    const Tensor image = decoder(z.reshape({batch, 768, 256}).transpose(1, 2)).value();
    const double t2 = now();
    if (call == 0 && !weights.empty()) write_f32(file("noise.npy"), noise), write_f32(file("image.npy"), image);
    fmt::print("dit {:.4f} decoder {:.4f} total {:.4f} peak {:.2f} mean {:.6g}\n", t1 - t0, t2 - t1, t2 - t0, peak_gib(), mean(abs(image)).item());
    std::cout.flush();
  }
}
