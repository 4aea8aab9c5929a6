// Records the compute stream's work as a CUDA graph. Other threads and other streams continue meanwhile.
#include "tensor/kernels/cuda/gpu.h"

namespace fm::cuda {

void begin_recording() {
  Gpu& gpu = here();
  refuse_recording(gpu, "another recording");
  check(cudaStreamBeginCapture(gpu.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  gpu.recording = true;
  gpu.borrowed = false;
}

void* end_recording(bool wanted) {
  Gpu& gpu = here();
  gpu.recording = false;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(gpu.stream, &graph);
  if (gpu.borrowed) in_order(gpu, gpu.copies, gpu.stream);
  if (wanted) check(ended, "cudaStreamEndCapture");
  const cudaError_t status = wanted ? cudaGraphInstantiate(&ready, graph, 0) : cudaSuccess;
  if (graph) cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  return ready;
}

void launch_graph(void* graph) { check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), current_stream()), "cudaGraphLaunch"); }

// Waits, because the graph may still run. A failure is reported by the next call.
void drop_graph(void* graph) {
  Gpu& gpu = here();
  ++gpu.waits;
  cudaStreamSynchronize(gpu.stream);
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

bool recording() { return here().recording; }

}  // namespace fm::cuda
