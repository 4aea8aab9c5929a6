// The device of a tensor's memory and of operations on it.
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
// DeviceError with the reason, unless tensors can be made on `device`.
void require_device(Device device);
// The device for this thread's tensors without an explicit one (Tensor::zeros, Tensor::from, random_normal, ...): the CPU unless a DefaultDevice lives.
Device default_device();
class DefaultDevice {
 public:
  explicit DefaultDevice(Device device);      // DeviceError if the device does not exist
  ~DefaultDevice();
  DefaultDevice(const DefaultDevice&) = delete;
  DefaultDevice& operator=(const DefaultDevice&) = delete;

 private:
  Device outer_;
};

// Waits until all requested work of the device is done, and throws the errors of its kernels (an index out of range, say). No effect on the CPU.
void synchronise(Device device);

}  // namespace fm
