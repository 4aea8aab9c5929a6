// The interface between the engine and a GPU: one table of plain functions per family of kernels, and a few calls that move memory.
//
// The families and their arguments are those of the CPU (tensor/kernels/*.h), so the code of an operation is the same for both, except that the
// device of its operands selects the table. Element-wise operations, copies, indices and random numbers have other tables: a GPU processes whole
// arrays, the CPU pieces that fit into a cache.
//
// All functions work on the device that this thread selected by use(), in order on its only compute stream. Unless noted otherwise they return before
// the work is done. Pointers point to memory of that device. backend() is null in a build without CUDA.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/kernels/attention.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/optimizer.h"
#include "tensor/kernels/pool.h"
#include "tensor/kernels/reduce.h"
#include "tensor/kernels/rows.h"
#include "tensor/ops/walk.h"
#include "tensor/random/philox.h"

namespace fm::cuda {

using namespace kernels;

// The type of scalar arguments of an operation on elements of T.
template <class T> struct ScalarOf { using type = T; };
template <> struct ScalarOf<bf16> { using type = float; };
template <class T> using Scalar = typename ScalarOf<T>::type;

// f32, f64 and bf16 (computed in f32, rounded once).
template <class T> struct MapTable {
  UnaryKernels<T> unary[UnaryOps::count];
  void (*binary[BinaryOps::count])(const T* a, const T* b, T* y, const Walk& walk);            // y contiguous; the walk is over its shape
  void (*affine)(const T* x, Scalar<T> scale, Scalar<T> shift, T* y, std::int64_t n);          // y = scale x + shift
  void (*axpy)(Scalar<T> alpha, const T* x, T* y, const Walk& walk);                           // y += alpha x; walk.a belongs to x, walk.b to y
  void (*select)(const T* condition, const T* a, const T* b, T* y, std::int64_t n);            // y = condition != 0 ? a : b
};

struct MapKernels {
  MapTable<float> f32;
  MapTable<double> f64;
  MapTable<bf16> half;
};

struct CopyKernels {
  void (*copy)(DType from, const void* a, DType to, void* b, const Walk& walk);                // converts; any strides
  void (*fill)(DType dtype, void* y, double value, const Walk& walk);                          // walk.b belongs to y
  void (*arange)(DType dtype, void* y, std::int64_t n);                                        // 0, 1, ..., n - 1
};

// Rows of `row` elements. An index outside [0, limit) writes or adds nothing and is reported by the next synchronise().
struct IndexKernels {
  void (*gather)(DType dtype, const void* x, const std::int64_t* index, void* y, std::int64_t rows, std::int64_t row, std::int64_t limit);
  // y (limit, row) += x (rows, row) at index; rows that share an index are added in order, so results do not vary.
  void (*scatter_add)(DType dtype, const void* x, const std::int64_t* index, void* y, std::int64_t rows, std::int64_t row, std::int64_t limit);
  void (*one_hot)(DType dtype, const std::int64_t* index, void* y, std::int64_t rows, std::int64_t classes);   // y is set to 0 and 1
  void (*check)(const std::int64_t* index, std::int64_t n, std::int64_t limit);                // only reports an index out of range
  void (*argmax)(const double* x, std::int64_t* y, std::int64_t rows, std::int64_t n);         // the first index of the largest element
};

// Random numbers, bit for bit those of tensor/random on the CPU. out (rows, n): row r comes from blocks first[r], first[r] + 1, ... of the key, or
// from block 0 on if first is null. A block has four numbers.
struct RandomKernels {
  void (*uniform)(float* out, std::int64_t rows, std::int64_t n, const std::int64_t* first, RandomKey key, std::uint32_t draw);
  void (*normal)(float* out, std::int64_t rows, std::int64_t n, const std::int64_t* first, RandomKey key, std::uint32_t draw);
};

// y[a, o, i] = sum_j w[begin[o] + j] x[a, first[o] + j, i], x (outer, in, inner), y (outer, out, inner); begin has out + 1 entries.
template <class T> struct ResampleArgs {
  std::int64_t outer, in, out, inner;
  const std::int64_t *first, *begin;
  const double* weights;
  const T* x;
  T* y;
};
struct ResampleKernels {
  void (*f32)(const ResampleArgs<float>&);
  void (*f64)(const ResampleArgs<double>&);
};

struct MemoryCalls {
  void* (*take)(std::size_t bytes);                                              // null if the device has no such block
  void (*give_back)(void* p);
  void (*zero)(void* p, std::size_t bytes);
  void (*upload)(void* device, const void* host, std::size_t bytes);             // the host's memory may be reused on return
  void (*download)(void* host, const void* device, std::size_t bytes);           // waits; throws the errors of synchronise()
  // A download in two parts, which does not wait for work that is requested after `ask`. Every answer must be received; if `host` is null, the
  // answer is dropped.
  void* (*ask)(const void* device, std::size_t bytes);
  void (*receive)(void* answer, void* host, std::size_t bytes);
  // An upload on the copy stream. It waits for all work requested of the compute stream so far, which may use that memory, and runs beside later
  // work. Work that is requested after `arrive` waits for the upload. Every upload must arrive before its memory is given back.
  void* (*begin_upload)(void* device, const void* host, std::size_t bytes);
  void (*arrive)(void* upload);
};

// Requests to the compute stream between begin and end are recorded instead of executed. Uploads, downloads and waits throw Error meanwhile.
struct GraphCalls {
  void (*begin)();
  void* (*end)(bool wanted);                                                     // returns the recording, or null if `wanted` is false
  void (*launch)(void* graph);
  void (*drop)(void* graph);
  bool (*recording)();
};

// Counts since the program began, on this device.
struct Counts {
  std::int64_t waits = 0;              // times that the host waited for the device
  std::int64_t allocations = 0;        // requests for memory: of the device, or pinned
};

struct Backend {
  int (*device_count)(std::string* why);
  void (*use)(int device);
  void (*synchronise)();                                                         // waits; ShapeError if a kernel found an index out of range
  Counts (*counts)();
  MemoryCalls memory;
  GraphCalls graph;
  MapKernels map;
  CopyKernels copy;
  IndexKernels index;
  RandomKernels random;
  ResampleKernels resample;
  PoolKernels pool;
  ReduceKernels reduce;
  RowKernels rows;
  GemmKernels gemm;
  AttentionKernels attention;
  ConvKernels conv;
  OptimizerKernels optimizer;
};

const Backend* backend();
const Backend& on(Device device);      // after use(device.index)

}  // namespace fm::cuda
