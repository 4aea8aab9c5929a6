// Checks for operations that write through views. If two elements of a destination are one place in memory (an expanded view, overlapping
// windows), no value can be right for both. A source that shares memory with the destination may be overwritten before it is read.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// True if two elements of x are one place in memory. Exact, for any strides.
bool overlaps_itself(const Tensor& x);
// True if the address ranges of a and b, each from the first to the last element, overlap. Also true if their elements only interleave.
bool shares_addresses(const Tensor& a, const Tensor& b);
// ShapeError, with `op` and the strides, if two elements of `to` are one place in memory.
void check_writable(const Tensor& to, const char* op);

// Returns x, or a copy if it shares addresses with `to`. For an operation that reads x while it writes into `to`.
Tensor apart_from(const Tensor& x, const Tensor& to);

}  // namespace fm
