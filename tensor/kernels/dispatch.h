// Returns the kernels for tensors on a device: those for the active instruction set of the CPU (cpu/isa.h), or those for the GPU.
#pragma once

#include "tensor/kernels/cpu/attention.h"
#include "tensor/kernels/cpu/conv.h"
#include "tensor/kernels/cpu/gemm.h"
#include "tensor/kernels/cpu/optimizer.h"
#include "tensor/kernels/cpu/reduce.h"
#include "tensor/kernels/cpu/rows.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/tensor.h"

namespace fm {

inline const kernels::ReduceKernels& reduce_kernels(Device d) { return d.is_cuda() ? cuda::on(d).reduce : cpu::reduce_kernels(); }
inline const kernels::RowKernels& row_kernels(Device d) { return d.is_cuda() ? cuda::on(d).rows : cpu::row_kernels(); }
inline const kernels::GemmKernels& gemm_kernels(Device d) { return d.is_cuda() ? cuda::on(d).gemm : cpu::gemm_kernels(); }
inline const kernels::AttentionKernels& attention_kernels(Device d) { return d.is_cuda() ? cuda::on(d).attention : cpu::attention_kernels(); }
inline const kernels::ConvKernels& conv_kernels(Device d) { return d.is_cuda() ? cuda::on(d).conv : cpu::conv_kernels(); }
inline const kernels::OptimizerKernels& optimizer_kernels(Device d) { return d.is_cuda() ? cuda::on(d).optimizer : cpu::optimizer_kernels(); }

// Calls f(T{}, S{}, table) with the row programs for activations of the type of x: stored in S, computed in T.
template <class F> void with_activations(const Tensor& x, F&& f) {
  const kernels::RowKernels& k = row_kernels(x.device());
  if (x.dtype() == DType::f64) f(double{}, double{}, static_cast<const kernels::ActivationTable<double>&>(k.f64));
  else if (x.dtype() == DType::bf16) f(float{}, bf16{}, k.half);
  else f(float{}, float{}, static_cast<const kernels::ActivationTable<float>&>(k.f32));
}

// Calls f(T{}, S{}, X{}, table) with the row programs for a residual stream of type X = `stream` and branches of type S = `branch`, computed in T.
// The two types must be a pair that check_stream() in tensor/ops/widen.h allows.
template <class F> void on_stream(Device device, DType stream, DType branch, F&& f) {
  using kernels::StreamTable;
  const kernels::RowKernels& k = row_kernels(device);
  if (stream == DType::f64) f(double{}, double{}, double{}, static_cast<const StreamTable<double>&>(k.f64));
  else if (branch == DType::f32) f(float{}, float{}, float{}, static_cast<const StreamTable<float>&>(k.f32));
  else if (stream == DType::f32) f(float{}, bf16{}, float{}, k.half_on_f32);
  else f(float{}, bf16{}, bf16{}, static_cast<const StreamTable<float, bf16>&>(k.half));
}

}  // namespace fm
