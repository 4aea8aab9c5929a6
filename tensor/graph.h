// Records work on a GPU once and then repeats it with a single call. Without a graph the host repeats the thousands of launches of a training step
// at each step.
//
//   Graph step;
//   step.record([&] { Tape tape; optimizer.step(backward(loss(batch)), request); });     // the first step
//   batch.z.copy_from(...), optimizer.repeat(request);                                   // new contents of the same tensors
//   step.replay();                                                                       // the second step
//
// replay() repeats the same work on the same memory. Its inputs must lie in tensors that live as long as the graph and are overwritten in place.
// The host's decisions (shapes, branches, numbers given by value) are those of the recording. So a graph serves batches of one shape only, with
// one number of rows with s < t.
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

  // Calls f twice. The first call runs normally: it allocates all memory and chooses an algorithm for each product. The second call only records
  // the requests to the device. f must not wait for the device, read from it or send to it. Tensors that f leaves behind are overwritten by replay().
  void record(const std::function<void()>& f);
  void replay();                                      // Error before record()

  static bool recording(Device device);               // true in the second call of f, in which f must not update counters again

 private:
  void drop();

  Device device_;
  Reserve memory_;
  void* graph_ = nullptr;
};

}  // namespace fm
