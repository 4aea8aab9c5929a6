// Work on a GPU that is recorded once and then repeated with a single call: a training step is some thousands of launches, which the host has to
// make again at each step otherwise.
//
//   Graph step;
//   step.record([&] { Tape tape; optimizer.step(backward(loss(batch)), request); });     // the first step
//   batch.z.copy_from(...), optimizer.repeat(request);                                   // new contents of the same tensors
//   step.replay();                                                                       // the second
//
// A repetition does what was done to the same memory: what it reads must lie in tensors that live as long and are overwritten in place, and what
// the host decided (shapes, branches, numbers given by value) stays as it was. So a graph is of one shape: of one number of rows with s < t, say.
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

  // Calls f twice: once as it is, so that the device has all memory and every product its algorithm, then to record what it asks of the device,
  // which does none of that. f must not wait for the device, read from it or send to it. Tensors that f leaves behind are overwritten by replay().
  void record(const std::function<void()>& f);
  void replay();                                      // Error before record()

  static bool recording(Device device);               // inside f for the second time: whatever f counts, it has counted

 private:
  void drop();

  Device device_;
  Reserve memory_;
  void* graph_ = nullptr;
};

}  // namespace fm
