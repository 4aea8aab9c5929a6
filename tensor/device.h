// The device of a tensor's memory and of operations on it.
#pragma once

#include <cstdint>
#include <string>

namespace fm {

struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;  // number of the GPU in the CUDA runtime

  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  bool is_cuda() const { return kind == Kind::cuda; }
  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);             // "cpu", "cuda:1"
Device parse_device(const std::string& text);     // accepts "cpu", "cuda" (the first GPU) and "cuda:1"; else ConfigError

// Returns the number of GPUs that this process can use. If there are none (a build without CUDA, no driver, no GPU), *why gets the reason.
int cuda_device_count(std::string* why = nullptr);
// Throws DeviceError with the reason if no tensor can be made on `device`.
void require_device(Device device);
// Returns the device of tensors that this thread makes without naming a device (Tensor::zeros, Tensor::from, random_normal, ...). This is the CPU,
// or the device of the DefaultDevice that this thread made last and that still lives.
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
