// Scratch memory for kernels: buffers of the calling thread, kept between calls so that a steady state takes no page faults. The buffer
// of the caller serves all threads of its parallel region: it is requested before the region, and each thread gets a part. So a lack of memory
// throws where the exception can be caught.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fm::cpu {

// A kernel that calls other kernels needs several buffers at the same time, so there is one for each use.
enum class Scratch { kernel, product, partial_sums, patches };

// At least `bytes` bytes, 64-byte aligned, uninitialized; valid until this thread's next call for the same use. Throws std::bad_alloc.
void* thread_scratch(std::int64_t bytes, Scratch use = Scratch::kernel);

// Frees the calling thread's buffers and returns their bytes. Must not be called while a kernel of this thread runs.
std::size_t release_thread_scratch();

}  // namespace fm::cpu
