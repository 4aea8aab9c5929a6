// Numbers of GPUs from their vendor's data sheets, for plans (plan.h). None of them was measured.
#pragma once

#include <string>
#include <vector>

namespace fm {

struct Gpu {
  std::string name;
  double bf16, tf32, f32;    // FLOP/s of dense products: bf16 and tf32 on tensor cores, f32 on ordinary units
  double memory, bandwidth;  // bytes, bytes/s
  double nvlink, network;    // bytes/s that a GPU sends to GPUs of its machine, and through its own network adapter to other machines
  std::string source;        // the data sheets with these numbers

  double peak(const std::string& precision) const { return precision == "bf16" ? bf16 : precision == "tf32" ? tf32 : f32; }
};

constexpr int gpus_a_machine = 8;

const std::vector<Gpu>& known_gpus();

// The GPU of this name. ConfigError lists the known names if it is unknown.
const Gpu& known_gpu(const std::string& name);

}  // namespace fm
