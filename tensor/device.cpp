#include "tensor/device.h"

#include <charconv>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"

namespace fm {

std::string to_string(Device device) { return device.is_cuda() ? "cuda:" + std::to_string(device.index) : "cpu"; }

Device parse_device(const std::string& text) {
  if (text == "cpu") return {};
  if (text == "cuda") return Device::cuda(0);
  int index = 0;
  const char *begin = text.data() + 5, *end = text.data() + text.size();
  if (text.starts_with("cuda:") && begin != end) {
    const auto [stop, error] = std::from_chars(begin, end, index);
    if (error == std::errc{} && stop == end && index >= 0) return Device::cuda(index);
  }
  throw ConfigError("device '" + text + "' is not known; use cpu, cuda or cuda:N");
}

int cuda_device_count(std::string* why) {
  if (const cuda::Backend* b = cuda::backend()) return b->device_count(why);
  if (why) *why = "this build is without CUDA: build with meson setup -Dcuda=enabled (needs the CUDA Toolkit)";
  return 0;
}

void require_device(Device device) {
  if (!device.is_cuda()) return;
  std::string why;
  const int count = cuda_device_count(&why);
  if (count == 0) throw DeviceError("no CUDA device: " + why);
  if (device.index >= count) throw DeviceError("device " + to_string(device) + " was requested; this machine has " + std::to_string(count) + " GPUs, counted from 0");
}

namespace {
thread_local Device made_on;
}

Device default_device() { return made_on; }

DefaultDevice::DefaultDevice(Device device) : outer_(made_on) {
  require_device(device);
  made_on = device;
}
DefaultDevice::~DefaultDevice() { made_on = outer_; }

void synchronise(Device device) {
  if (device.is_cuda()) cuda::on(device).synchronise();
}

const cuda::Backend& cuda::on(Device device) {
  const Backend* b = backend();
  if (!b) require_device(device);
  b->use(device.index);
  return *b;
}

}  // namespace fm
