// The families of the CUDA backend, each defined in the .cu file of its name. backend.cpp collects them.
#pragma once

#include "tensor/kernels/cuda/backend.h"

namespace fm::cuda {

const MapKernels& map_kernels();
const CopyKernels& copy_kernels();
const IndexKernels& index_kernels();
const RandomKernels& random_kernels();
const ResampleKernels& resample_kernels();
const PoolKernels& pool_kernels();
const ReduceKernels& reduce_kernels();
const RowKernels& row_kernels();
const GemmKernels& gemm_kernels();
const AttentionKernels& attention_kernels();
const ConvKernels& conv_kernels();
const OptimizerKernels& optimizer_kernels();

}  // namespace fm::cuda
