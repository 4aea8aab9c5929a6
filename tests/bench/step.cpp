// Whole steps of training and sampling for tests/peers/steps.py, which alternates them with the same steps in PyTorch and JAX.
//
//   bench_step --folder DIR --precision f32|bf16 --width 384 --depth 12 --heads 6 --head-width 2048 --head-depth 2 --head-heads 16
//              --grid 16 --channels 768 --classes 1000 [--threads N]
//
// With --heads 0 the network is an MLP of this width and depth (mlp.h), not DiT^DH.
//
// DIR contains weights.safetensors (two times; DiT^DH has its published names), teacher.safetensors (one time) and batch.safetensors: z0, eps
// (B,C,g,g), t, s (B; rows with s < t first), y (B). Each line of standard input is one step: its kind, and perhaps "save" or "profile":
//
//   fm      | u(z,t,t) - (eps - z0) |^2                       all rows          with backward, clipping, AdamW and average
//   jvp     MeanFlow, w = eps - z0, exact derivative          of the rows s < t
//   fd      MeanFlow, w = eps - z0, central difference        of the rows s < t, two passes without history
//   mfd     MeanFlow, w = teacher(z, t), exact derivative
//   cmt     four Euler steps of the teacher from eps, then u(z_1, t_3, t_1) against the chord
//   sample  eps - u(eps, 0, 1)                                no history
//   euler   eps - v(eps, 1) / 50                              no history, the teacher
//
// "save" takes no optimizer step but writes KIND.safetensors into DIR: the gradients by name (or the sample) in f32. "profile" prints the
// times of the step's parts to standard error. Each step prints
//
//   seconds S peak MiB loss L
//
// where S is the time of the step, and peak the largest resident memory during the step minus that before the models were made.
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>

#include "autodiff/rules/elementwise.h"
#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/mean_flow.h"
#include "flowmap/sampler.h"
#include "nn/models/dit_dh.h"
#include "nn/optim/adamw.h"
#include "tensor/io/safetensors.h"
#include "tensor/profile.h"
#include "tests/bench/mlp.h"

namespace {

using namespace fm;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The value of a key in /proc/self/status, in MiB.
double status_mib(const std::string& key) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key + ":")) return std::atof(line.c_str() + key.size() + 1) / 1024;
  return 0;
}

void reset_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

template <class Net>
struct Steps {
  Net model, average, teacher_net;
  AdamW optimizer;
  PathBatch batch;
  std::string folder;

  Steps(const DitDhConfig& config, const DitDhConfig& teacher_config, std::string dir)
      : model(config),
        average(config),
        teacher_net(teacher_config),
        optimizer(named_parameters(model), {.clip = 1.0}),
        folder(std::move(dir)) {
    load_state(model, Safetensors(folder + "/weights.safetensors").tensors());
    load_state(average, Safetensors(folder + "/weights.safetensors").tensors());
    load_state(teacher_net, Safetensors(folder + "/teacher.safetensors").tensors());
    for (const auto& p : named_parameters(average)) p.parameter->trainable = false;
    for (const auto& p : named_parameters(teacher_net)) p.parameter->trainable = false;
    optimizer.add_average(named_parameters(average), 0.9995);

    const Safetensors file(folder + "/batch.safetensors");
    batch.z0 = file["z0"].clone(), batch.eps = file["eps"].clone();
    batch.s = file["s"].clone(), batch.t = file["t"].clone(), batch.y = file["y"].clone();
    batch.z = interpolate(batch.z0, batch.eps, batch.t);
    batch.draws = {1, 0, consecutive(0, batch.z0.dim(0))};
    for (std::int64_t i = 0; i < batch.rows(); ++i) batch.off_diagonal += batch.s.select(0, i).item() < batch.t.select(0, i).item();
  }

  FlowMapNet map() const {
    return [this](const Var& z, const Var& s, const Var& t, const Labels& y) { return model(z, s, t, y); };
  }
  VelocityNet velocity() const {
    return [this](const Var& z, const Var& t, const Labels& y) { return teacher_net(z, t, y); };
  }

  Var loss(const std::string& kind) const {
    if (kind == "fm") return measure(model(batch.z, batch.t, batch.t, batch.y) - conditional_velocity(batch.z0, batch.eps), {}).loss;
    if (kind == "cmt") {
      const std::vector<Tensor> states = trajectory(velocity(), batch.eps, batch.y, plain_grid(4));
      const Tensor t = Tensor::full({batch.rows()}, 0.75, DType::f32), s = Tensor::full({batch.rows()}, 0.25, DType::f32);
      return measure(model(states[1], s, t, batch.y) - (states[1] - states[3]) / 0.5, {}).loss;
    }
    MeanFlowConfig config;
    config.derivative.kind = kind == "fd" ? "fd" : "jvp";
    return mean_flow(map(), batch, kind == "mfd" ? ::fm::teacher(velocity()) : one_point(), config).loss;
  }

  double train(const std::string& kind, bool save) {
    Tape tape;
    const Var l = loss(kind);
    const double value = l.value().item();
    const Gradients gradients = backward(l);
    if (!save) return optimizer.step(gradients, {.lr = 1e-6}), value;
    NamedTensors named;
    for (const auto& p : named_parameters(model))
      if (gradients[*p.parameter].defined()) named.emplace_back(p.name, gradients[*p.parameter]);
    save_safetensors(folder + "/" + kind + ".safetensors", named);
    return value;
  }

  double draw(const std::string& kind, bool save) const {
    const Tensor out = kind == "sample"
                           ? sample_flow_map(map(), batch.eps, batch.y, plain_grid(1))
                           : batch.eps - evaluate(velocity(), batch.eps, Tensor::ones({batch.rows()}, DType::f32), batch.y) * 0.02;
    if (save) save_safetensors(folder + "/" + kind + ".safetensors", {{"z", out}});
    return 0;
  }
};

// Prints the times of a step's parts, the largest first.
void tell(const std::map<ProfileKey, ProfileCost>& costs) {
  std::map<std::string, ProfileCost> groups;
  for (const auto& [key, c] : costs) groups[key.phase + " " + key.op] += c;
  std::vector<std::pair<std::string, ProfileCost>> rows(groups.begin(), groups.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  for (const auto& [name, c] : rows)
    fmt::print(stderr, "{:<36} {:>5} calls {:>9.3f} ms {:>8.1f} GFLOP/s {:>7.1f} GB/s\n", name, c.calls, 1e3 * c.seconds, 1e-9 * c.flops / c.seconds,
               1e-9 * c.bytes / c.seconds);
}

// Runs the steps that standard input names.
template <class Net>
void serve(const DitDhConfig& c, const std::string& folder) {
  const double before = status_mib("VmRSS");
  DitDhConfig one_time = c;
  one_time.mean_flow = false;
  Steps<Net> steps(c, one_time, folder);
  fmt::print("ready\n");
  std::cout.flush();
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string kind, also;
    words >> kind >> also;
    std::optional<Profile> profile;
    if (also == "profile") profile.emplace(ModulePath::current());
    reset_peak();
    const double start = now();
    const double loss = kind == "sample" || kind == "euler" ? steps.draw(kind, also == "save") : steps.train(kind, also == "save");
    const double spent = now() - start;
    if (profile) tell(profile->costs());
    fmt::print("seconds {:.5f} peak {:.1f} loss {:.8g}\n", spent, status_mib("VmHWM") - before, loss);
    std::cout.flush();
  }
}

}  // namespace

int main(int argc, char** argv) {
  DitDhConfig c{.mean_flow = true};
  std::string folder;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], text = argv[i + 1];
    const std::int64_t number = std::atoll(text.c_str());
    if (key == "--folder")
      folder = text;
    else if (key == "--precision")
      c.precision = text;
    else if (key == "--width")
      c.width = number;
    else if (key == "--depth")
      c.depth = number;
    else if (key == "--heads")
      c.heads = number;
    else if (key == "--head-width")
      c.head_width = number;
    else if (key == "--head-depth")
      c.head_depth = number;
    else if (key == "--head-heads")
      c.head_heads = number;
    else if (key == "--grid")
      c.input_size = number;
    else if (key == "--channels")
      c.channels = number;
    else if (key == "--classes")
      c.classes = number;
    else if (key == "--threads")
      omp_set_num_threads(static_cast<int>(number));
    else
      return fmt::print(stderr, "bench_step: unknown option {}\n", key), 2;
  }
  if (folder.empty()) return fmt::print(stderr, "bench_step: --folder DIR is needed (tests/peers/steps.py makes it)\n"), 2;
  c.heads > 0 ? serve<DitDh>(c, folder) : serve<bench::Mlp>(c, folder);
}
