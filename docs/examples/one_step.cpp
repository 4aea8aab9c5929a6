// One-step sampling from a checkpoint: the averaged weights of a trained flow map take noise to points in ONE call.
//
//   one_step RUN SAMPLES.npy [COUNT]
//
// RUN is the folder of a training of FlowMlp on points in the plane, for example runs/toy/mfd after
//   flowmap_train pipeline --config configs/toy.toml --out runs/toy
// Writes the points (COUNT, 2) for numpy.load and prints their distance from the data of that config. README.md beside this file explains the program.
//   c++ -std=c++20 one_step.cpp -o one_step $(pkg-config --cflags --libs flowmap)              (CMake: README.md)
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <flowmap/flowmap.h>

using namespace fm;

int main(int argc, char** argv) try {
  const std::int64_t count = argc > 3 ? std::atoll(argv[3]) : 4000;
  if (argc < 3 || count < 1) return std::fprintf(stderr, "one_step RUN SAMPLES.npy [COUNT]\n"), 2;
  const auto warn = [](const std::string& line) { std::fprintf(stderr, "warning: %s\n", line.c_str()); };

  FlowMlpConfig config;                                             // the sizes of configs/toy.toml; weights of other names or shapes are an error
  config.mean_flow = true;                                          // u(z, s, t): a flow map
  const Weights weights = load_weights(std::string(argv[1]) + ":ema", warn);       // of the newest whole checkpoint
  const auto u = std::make_shared<FlowMlp>(frozen_model<FlowMlp>(config, weights));
  std::printf("%s, step %lld\n", weights.file.c_str(), static_cast<long long>(weights.step));

  const Samples samples = consecutive(0, count);
  const Tensor noise = random_normal_rows(samples, {2}, {.seed = 7});
  const Tensor x = sample_flow_map(u, noise, {}, plain_grid(1));    // x = e - u(e, 0, 1)
  const auto values = x.to_vector<float>();
  write_npy<float>(argv[2], {count, 2}, values);

  const Points test({.name = "8gaussians"}, Split::test);
  std::printf("energy distance %.4f\n", energy_distance(x, test.rows(samples)));
  std::printf("map error %.4f\n", map_error(u, eight_gaussians(), noise));
} catch (const std::exception& e) {
  std::fprintf(stderr, "one_step: %s\n", e.what());
  return 1;
}
