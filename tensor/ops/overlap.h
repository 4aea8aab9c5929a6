// Writing through views. Memory that a tensor holds twice (a broadcast destination, overlapping windows) has no one value to be given; a
// source that lies where the destination does is overwritten before it is read.
#pragma once

#include "tensor/tensor.h"

namespace fm {

// Whether two elements of x are one place in memory. Exact, for any strides.
bool overlaps_itself(const Tensor& x);
// Whether the address ranges from the first to the last element of a and of b overlap: true also if their elements only interleave.
bool shares_addresses(const Tensor& a, const Tensor& b);
// ShapeError, with `op` and the strides, if two elements of `to` are one place in memory.
void check_writable(const Tensor& to, const char* op);

// x, or a copy of it if it lies where `to` does: for an operation that writes into `to` and reads x.
Tensor apart_from(const Tensor& x, const Tensor& to);

}  // namespace fm
