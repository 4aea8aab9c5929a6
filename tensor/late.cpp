#include "tensor/late.h"

#include <utility>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"

namespace fm {

std::int64_t host_waits(Device device) { return device.is_cuda() ? cuda::on(device).counts().waits : 0; }

Arriving::Arriving(const std::vector<Late>& numbers) {
  Device device;
  for (const Late& x : numbers)
    if (!x.known()) device = x.tensor().device();
  if (!device.is_cuda()) {
    for (const Late& x : numbers) known_.push_back(double(x));
    return;
  }
  const auto n = static_cast<std::int64_t>(numbers.size());
  sent_ = Tensor::empty({n}, DType::f64, device);
  for (std::int64_t i = 0; i < n; ++i) {
    const Late& x = numbers[static_cast<std::size_t>(i)];
    const Tensor place = sent_.slice(0, i, i + 1);
    if (x.known()) place.fill(double(x));
    else place.copy_from(x.tensor().reshape({1}));
  }
  answer_ = cuda::on(device).memory.ask(sent_.raw(), sent_.bytes());
}

Arriving::Arriving(Arriving&& other) noexcept
    : known_(std::move(other.known_)), sent_(std::exchange(other.sent_, {})), answer_(std::exchange(other.answer_, nullptr)) {}

Arriving& Arriving::operator=(Arriving&& other) noexcept {
  std::swap(known_, other.known_);
  std::swap(sent_, other.sent_);
  std::swap(answer_, other.answer_);
  return *this;
}

// Drops numbers that were not read. Errors are ignored: the next read from the device reports them.
Arriving::~Arriving() {
  if (!answer_) return;
  try {
    cuda::on(sent_.device()).memory.receive(answer_, nullptr, 0);
  } catch (...) {
  }
}

std::vector<double> Arriving::values() {
  if (!sent_.defined()) return known_;
  if (!answer_) throw Error("Arriving: values() was called twice");
  std::vector<double> out(static_cast<std::size_t>(sent_.numel()));
  cuda::on(sent_.device()).memory.receive(std::exchange(answer_, nullptr), out.data(), sent_.bytes());
  return out;
}

}  // namespace fm
