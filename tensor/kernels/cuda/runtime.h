// The GPUs of this process: a compute stream and a copy stream each, memory, transfers, and the word by which kernels report errors.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/kernels/cuda/backend.h"

namespace fm::cuda {

// Throws DeviceError with the call and CUDA's reason unless status is cudaSuccess: check(cudaFoo(...), "cudaFoo").
void check(cudaError_t status, const char* call);

int device_count(std::string* why);  // 0 and the reason if there is no driver or no GPU
void use(int device);                // selects the device of this thread
int current_device();
cudaStream_t current_stream();       // the compute stream of current_device()

// Waits for the compute stream. ShapeError if a kernel has reported an index out of range since the last call.
void synchronise();

// Returns a word in the memory of this device: 0, or what report_index() (report.cuh) wrote about an index out of range.
unsigned long long* error_word();

void* take_memory(std::size_t bytes);
void give_back_memory(void* p);
void zero_memory(void* p, std::size_t bytes);
void upload(void* device, const void* host, std::size_t bytes);
void download(void* host, const void* device, std::size_t bytes);
void* ask(const void* device, std::size_t bytes);
void receive(void* answer, void* host, std::size_t bytes);
void* begin_upload(void* device, const void* host, std::size_t bytes);
void arrive(void* upload);
void begin_recording();
void* end_recording(bool wanted);
void launch_graph(void* graph);
void drop_graph(void* graph);
bool recording();
Counts counts();

}  // namespace fm::cuda
