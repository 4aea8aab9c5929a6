#include "tensor/graph.h"

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"

namespace fm {

Graph::Graph(Device device) : device_(device), memory_(device) {
  require_device(device);
  if (!device.is_cuda()) throw DeviceError("Graph: only work on a GPU can be recorded, not on " + to_string(device));
}

// Frees the memory of the graph. Work that still runs precedes the next use of that memory on the stream. Errors are ignored: the next call to
// the device reports them.
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
  if (!graph_) throw Error("Graph: replay() was called before record()");
  cuda::on(device_).graph.launch(graph_);
}

bool Graph::recording(Device device) { return device.is_cuda() && cuda::on(device).graph.recording(); }

void Graph::drop() {
  if (graph_) cuda::on(device_).graph.drop(graph_);
  graph_ = nullptr;
}

}  // namespace fm
