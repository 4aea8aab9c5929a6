// Where a tensor's memory lies and where operations on it run.
#pragma once

#include <cstdint>
#include <string>

namespace fm {

struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;  // of the GPU, as the CUDA runtime counts them

  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  bool is_cuda() const { return kind == Kind::cuda; }
  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);             // "cpu", "cuda:1"
Device parse_device(const std::string& text);     // "cpu", "cuda" (the first), "cuda:1"; ConfigError for anything else

// How many GPUs this process can use: 0 in a build without CUDA, without a driver and without a GPU, with the reason in *why.
int cuda_device_count(std::string* why = nullptr);
// DeviceError that says why, unless tensors can be made on `device`.
void require_device(Device device);
// Where this thread makes tensors when it does not say (Tensor::zeros, Tensor::from, random_normal, ...): the CPU unless a DefaultDevice lives.
Device default_device();
class DefaultDevice {
 public:
  explicit DefaultDevice(Device device);      // DeviceError where there is no such device
  ~DefaultDevice();
  DefaultDevice(const DefaultDevice&) = delete;
  DefaultDevice& operator=(const DefaultDevice&) = delete;

 private:
  Device outer_;
};

// Waits until everything asked of the device is done, and throws what its kernels reported (an index out of range, say). The CPU is never behind.
void synchronise(Device device);

}  // namespace fm
