// Family `random` on a GPU, bit for bit the numbers of tensor/random/fill.cpp: a thread makes the four numbers of a Philox block. Integers
// are the same everywhere. Normals are too, because philox.h computes them in operations that nvcc may not fuse (Uncontracted).
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"
#include "tensor/kernels/cuda/walk.cuh"
#include "tensor/random/philox.h"

namespace fm::cuda {
namespace {

using Count = std::int64_t;

struct alignas(16) Four {
  float x[4];
};

struct Uniform {
  __device__ static Four of(const PhiloxBlock& b) {
    return {{uniform_from_bits(b[0]), uniform_from_bits(b[1]), uniform_from_bits(b[2]), uniform_from_bits(b[3])}};
  }
};
struct Normal {
  __device__ static Four of(const PhiloxBlock& b) {
    const NormalPair p = normal_from_bits(b[0], b[1]), q = normal_from_bits(b[2], b[3]);
    return {{p.first, p.second, q.first, q.second}};
  }
};

// `wide`: the four numbers of a block may be stored at once.
template <class Distribution>
__global__ void fill_kernel(float* out, Count rows, Count n, const Count* first, RandomKey key, std::uint32_t draw, bool wide) {
  const Count blocks = (n + 3) / 4;
  for (Count i = first_element(); i < rows * blocks; i += element_step()) {
    const Count row = i / blocks, block = i - row * blocks, begin = 4 * block;
    const Four four = Distribution::of(key.block(static_cast<std::uint64_t>((first ? first[row] : 0) + block), draw));
    float* to = out + row * n + begin;
    if (wide && begin + 4 <= n)
      *reinterpret_cast<Four*>(to) = four;
    else
      for (int j = 0; j < 4; ++j)
        if (begin + j < n) to[j] = four.x[j];
  }
}

template <class Distribution>
void fill(float* out, Count rows, Count n, const Count* first, RandomKey key, std::uint32_t draw) {
  if (rows <= 0 || n <= 0) return;
  const bool wide = reinterpret_cast<std::uintptr_t>(out) % sizeof(Four) == 0 && (rows == 1 || n % 4 == 0);
  launch(current_stream(), grid_for(rows * ((n + 3) / 4), 1), dim3(threads_per_block), 0, fill_kernel<Distribution>, out, rows, n, first,
         key, draw, wide);
}

}  // namespace

const RandomKernels& random_kernels() {
  static constexpr RandomKernels table{fill<Uniform>, fill<Normal>};
  return table;
}

}  // namespace fm::cuda
