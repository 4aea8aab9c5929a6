// The compute stream's work recorded as a CUDA graph. Other threads and other streams go on meanwhile.
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
  check(cudaStreamEndCapture(gpu.stream, &graph), "cudaStreamEndCapture");
  if (gpu.borrowed) in_order(gpu, gpu.copies, gpu.stream);
  cudaGraphExec_t ready = nullptr;
  const cudaError_t status = wanted ? cudaGraphInstantiate(&ready, graph, 0) : cudaSuccess;
  if (graph) check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  check(status, "cudaGraphInstantiate");
  return ready;
}

void launch_graph(void* graph) { check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), current_stream()), "cudaGraphLaunch"); }

void drop_graph(void* graph) { check(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)), "cudaGraphExecDestroy"); }

bool recording() { return here().recording; }

}  // namespace fm::cuda
