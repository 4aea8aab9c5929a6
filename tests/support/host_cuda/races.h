// The race checker's side of what the compiler tells it (compiler_calls.cpp).
#pragma once

#include <cstddef>

namespace host_cuda {

enum class Access { read, write, atomic };

extern thread_local bool watching;  // a kernel's thread runs on this thread of the host

void check_access(const void* p, std::size_t bytes, Access access);  // ends the kernel with a Report

}  // namespace host_cuda
