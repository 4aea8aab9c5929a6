#include "tensor/graph.h"

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"

namespace fm {

Graph::Graph(Device device) : device_(device), memory_(device) {
  require_device(device);
  if (!device.is_cuda()) throw DeviceError("Graph: only work on a GPU is recorded, this is for " + to_string(device));
}

// Its memory is then free for others: running work still precedes the next user of that memory.
// The next call to the device reports its errors.
Graph::~Graph() {
  try {
    drop();
  } catch (...) {
  }
}

void Graph::record(const std::function<void()>& f) {
  const cuda::GraphCalls& calls = cuda::on(device_).graph;
  drop();
  const Reserve::Use own(memory_);
  f();
  calls.begin();
  try {
    f();
  } catch (...) {
    calls.end(false);
    throw;
  }
  graph_ = calls.end(true);
}

void Graph::replay() {
  if (!graph_) throw Error("Graph: replay() before record()");
  cuda::on(device_).graph.launch(graph_);
}

bool Graph::recording(Device device) { return device.is_cuda() && cuda::on(device).graph.recording(); }

void Graph::drop() {
  if (graph_) cuda::on(device_).graph.drop(graph_);
  graph_ = nullptr;
}

}  // namespace fm
