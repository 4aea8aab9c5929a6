// Matrix products of the CPU, for every instruction set (isa.h).
//
// The method is the packed product of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008):
//   gemm_tile.h     the innermost loop: a small block of C in registers
//   gemm_pack.h     copies of A and B in the order in which that loop reads them
//   gemm_blocks.h   where a product is cut into blocks
//   gemm_product.h  one product: packs and multiplies its blocks, on a team of threads
//   gemm_split.h    products with a long sum and a small result: the sum is cut too
//   gemm_batch.h    batches of products
// The order of the sum over k does not depend on the number of threads, so results have the same bits for any number.
#pragma once

#include "tensor/kernels/cpu/isa.h"
#include "tensor/kernels/gemm.h"

namespace fm::cpu {

using namespace kernels;
FM_KERNEL_FAMILY(GemmKernels, gemm_kernels)

}  // namespace fm::cpu
