#include "flowmap/training/chain/gpu_table.h"

#include "tensor/error.h"

namespace fm {

// Data sheets give twice these numbers for tensor cores (with 2:4 sparsity) and for NVLink (both directions together). Data sheets give the rates of
// network adapters, one adapter for each GPU of a DGX, in bits. Gigabytes are 10^9 bytes.
const std::vector<Gpu>& known_gpus() {
  static const std::vector<Gpu> list = {
      {"a100", 312e12, 156e12, 19.5e12, 80e9, 2.039e12, 300e9, 25e9, "NVIDIA A100 80GB SXM data sheet; DGX A100: ConnectX-6, 200 Gb/s"},
      {"h100", 989.4e12, 494.7e12, 66.9e12, 80e9, 3.35e12, 450e9, 50e9,
       "NVIDIA H100 SXM5 data sheet, figures before rounding from the H100 architecture paper; DGX H100: ConnectX-7, 400 Gb/s"},
      {"h200", 989.4e12, 494.7e12, 66.9e12, 141e9, 4.8e12, 450e9, 50e9,
       "NVIDIA H200 SXM data sheet, peaks as H100; DGX H200: ConnectX-7, 400 Gb/s"},
      {"b200", 2250e12, 1125e12, 75e12, 180e9, 8e12, 900e9, 50e9,
       "NVIDIA HGX B200 and DGX B200 data sheets, an eighth each; ConnectX-7, 400 Gb/s"},
  };
  return list;
}

const Gpu& known_gpu(const std::string& name) {
  std::string names;
  for (const Gpu& gpu : known_gpus()) {
    if (gpu.name == name) return gpu;
    names += (names.empty() ? "" : ", ") + gpu.name;
  }
  throw ConfigError("--gpu " + name + ": not in the table; known are " + names);
}

}  // namespace fm
