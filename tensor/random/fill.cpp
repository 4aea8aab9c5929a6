#include "tensor/random/fill.h"

#include <algorithm>
#include <numeric>

#include "tensor/error.h"
#include "tensor/kernels/cuda/backend.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr int row_bits = 24;                     // a row has at most 2^24 blocks of four numbers

void uniform_block(const PhiloxBlock& b, float* out) {
  for (int i = 0; i < 4; ++i) out[i] = uniform_from_bits(b[i]);
}

void normal_block(const PhiloxBlock& b, float* out) {
  const NormalPair p = normal_from_bits(b[0], b[1]), q = normal_from_bits(b[2], b[3]);
  out[0] = p.first;
  out[1] = p.second;
  out[2] = q.first;
  out[3] = q.second;
}

// Writes n numbers, from blocks first, first + 1, ...
template <class Block> void fill(float* out, std::int64_t n, RandomKey key, std::uint64_t first, std::uint32_t draw, Block&& block) {
  constexpr std::int64_t piece = 1024;           // blocks of four numbers per job
  const std::int64_t blocks = (n + 3) / 4;
  parallel_for((blocks + piece - 1) / piece, piece * 64, [&](std::int64_t job) {
    const std::int64_t end = std::min(blocks, (job + 1) * piece);
    for (std::int64_t i = job * piece; i < end; ++i) {
      float four[4];
      block(key.block(first + static_cast<std::uint64_t>(i), draw), four);
      std::copy_n(four, std::min<std::int64_t>(4, n - 4 * i), out + 4 * i);
    }
  });
}

// A distribution: block() makes four numbers on the CPU, kernel() is the kernel for a GPU.
struct Uniform {
  static void block(const PhiloxBlock& b, float* out) { uniform_block(b, out); }
  static auto kernel(Device device) { return cuda::on(device).random.uniform; }
};
struct Normal {
  static void block(const PhiloxBlock& b, float* out) { normal_block(b, out); }
  static auto kernel(Device device) { return cuda::on(device).random.normal; }
};

void check_floating(DType dtype) {
  if (!is_floating(dtype))
    throw DTypeError(std::string("random numbers: elements of type ") + name_of(dtype) + " cannot hold them: use f32, f64 or bf16");
}

template <class Distribution> Tensor flat(const Shape& shape, RandomKey key, std::uint32_t draw, DType dtype, Device device) {
  check_floating(dtype);
  Tensor out = Tensor::empty(shape, DType::f32, device);
  if (device.is_cuda()) Distribution::kernel(device)(out.data<float>(), 1, out.numel(), nullptr, key, draw);
  else fill(out.data<float>(), out.numel(), key, 0, draw, Distribution::block);
  return out.to(dtype);
}

template <class Distribution>
Tensor by_rows(const Samples& samples, const Shape& row, RandomKey key, std::uint32_t draw, DType dtype, Device device) {
  check_floating(dtype);
  const std::int64_t rows = std::ssize(samples);
  Tensor out = Tensor::empty(row.rows(rows), DType::f32, device);
  const std::int64_t n = row.numel();
  if ((n + 3) / 4 >= std::int64_t{1} << row_bits) throw ShapeError("random rows: a row of " + to_string(row) + " has 2^26 elements or more");
  const auto first = [&](std::size_t r) { return static_cast<std::uint64_t>(samples[r]) << row_bits; };
  if (device.is_cuda()) {
    std::vector<std::int64_t> blocks(samples.size());
    for (std::size_t r = 0; r < samples.size(); ++r) blocks[r] = static_cast<std::int64_t>(first(r));
    const Tensor at = Tensor::from(blocks, {rows}).to(device);
    Distribution::kernel(device)(out.data<float>(), rows, n, at.data<std::int64_t>(), key, draw);
    return out.to(dtype);
  }
  for (std::size_t r = 0; r < samples.size(); ++r)
    fill(out.data<float>() + static_cast<std::int64_t>(r) * n, n, key, first(r), draw, Distribution::block);
  return out.to(dtype);
}

}  // namespace

Tensor random_uniform(const Shape& shape, RandomKey key, std::uint32_t draw, DType dtype, Device device) {
  return flat<Uniform>(shape, key, draw, dtype, device);
}
Tensor random_normal(const Shape& shape, RandomKey key, std::uint32_t draw, DType dtype, Device device) {
  return flat<Normal>(shape, key, draw, dtype, device);
}

Tensor random_uniform_rows(const Samples& samples, const Shape& row, RandomKey key, std::uint32_t draw, DType dtype, Device device) {
  return by_rows<Uniform>(samples, row, key, draw, dtype, device);
}
Tensor random_normal_rows(const Samples& samples, const Shape& row, RandomKey key, std::uint32_t draw, DType dtype, Device device) {
  return by_rows<Normal>(samples, row, key, draw, dtype, device);
}

Samples consecutive(std::int64_t first, std::int64_t n) {
  if (n < 0) throw ShapeError("consecutive: " + std::to_string(n) + " samples were requested");
  Samples s(static_cast<std::size_t>(n));
  std::iota(s.begin(), s.end(), first);
  return s;
}

}  // namespace fm
