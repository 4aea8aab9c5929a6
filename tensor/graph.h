// Work on a GPU that is recorded once and then repeated with a single call. A training step is some thousands of launches, which the host would
// otherwise repeat at each step.
//
//   Graph step;
//   step.record([&] { Tape tape; optimizer.step(backward(loss(batch)), request); });     // the first step
//   batch.z.copy_from(...), optimizer.repeat(request);                                   // new contents of the same tensors
//   step.replay();                                                                       // the second
//
// A repetition repeats the same work on the same memory. Its inputs must lie in tensors that live as long and are overwritten in place, and
// the host's decisions (shapes, branches, numbers given by value) stay the same. So a graph has one shape, including the number of rows with s < t.
#pragma once

#include <functional>

#include "tensor/device.h"
#include "tensor/memory/allocator.h"

namespace fm {

class Graph {
 public:
  explicit Graph(Device device = default_device());   // DeviceError unless it is a GPU
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Calls f twice: first normally, so that the device has all memory and every product its algorithm, then to record its requests to the device
  // without executing them. f must not wait for the device, read from it or send to it. Tensors that f leaves behind are overwritten by replay().
  void record(const std::function<void()>& f);
  void replay();                                      // Error before record()

  static bool recording(Device device);               // during the second call of f: counters of f were already updated by the first

 private:
  void drop();

  Device device_;
  Reserve memory_;
  void* graph_ = nullptr;
};

}  // namespace fm
