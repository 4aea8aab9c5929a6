// Scratch memory for kernels: buffers of the calling thread, kept between calls so that a steady state takes no page faults. The caller's
// buffer serves all threads of its parallel region (reserve before forking, give each thread a part), so that running out of memory is an
// exception where it can be caught.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fm::cpu {

// Kernels that call other kernels hold several buffers at a time: one for each use.
enum class Scratch { kernel, product, partial_sums, patches };

// At least `bytes` bytes, 64-byte aligned, uninitialized; valid until this thread's next call for the same use. Throws std::bad_alloc.
void* thread_scratch(std::int64_t bytes, Scratch use = Scratch::kernel);

// Frees the calling thread's buffers. Not while a kernel of this thread runs. Returns the bytes.
std::size_t release_thread_scratch();

}  // namespace fm::cpu
