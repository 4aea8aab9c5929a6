#include "apps/train/latents.h"

#include <algorithm>

#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"

namespace fm {

Tensor image_rows(const Dataset& data, const std::vector<std::int64_t>& rows) {
  Tensor out = Tensor::empty({static_cast<std::int64_t>(rows.size()), data.channels, data.height, data.width});
  float* to = out.data<float>();
  for (std::int64_t row : rows) {
    const std::uint8_t* from = data.sample(row);
    for (std::int64_t i = 0; i < data.sample_size(); ++i) *to++ = static_cast<float>(from[i]) / 255.0f;
  }
  return out;
}

Tensor label_rows(const Dataset& data, const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> labels;
  for (std::int64_t row : rows) labels.push_back(data.labels[static_cast<std::size_t>(row)]);
  return Tensor::from(labels, {static_cast<std::int64_t>(rows.size())});
}

LatentSet encode_dataset(const Rae& rae, const Dataset& data, const std::function<void(std::int64_t)>& progress) {
  constexpr std::int64_t block = 512;
  LatentSet set;
  std::vector<std::int64_t> all(static_cast<std::size_t>(data.count));
  for (std::int64_t i = 0; i < data.count; ++i) all[static_cast<std::size_t>(i)] = i;
  set.labels = label_rows(data, all);
  for (std::int64_t i = 0; i < data.count; i += block) {
    const std::int64_t end = std::min(data.count, i + block);
    const Tensor z = rae.encode(image_rows(data, {all.begin() + i, all.begin() + end}));
    if (!set.latents.defined()) set.latents = Tensor::empty({data.count, z.dim(1), z.dim(2), z.dim(3)});
    set.latents.slice(0, i, end).copy_from(z);
    progress(end);
  }
  return set;
}

LatentStats latent_statistics(const Tensor& latents) {
  constexpr std::int64_t block = 1024;
  const Shape one = latents.select(0, 0).shape();
  Tensor total = Tensor::zeros(one, DType::f64), squares = Tensor::zeros(one, DType::f64);
  for (std::int64_t i = 0; i < latents.dim(0); i += block) {
    const Tensor z = latents.slice(0, i, std::min(latents.dim(0), i + block)).to(DType::f64);
    add_into(total, sum(z, {0}));
    add_into(squares, sum(square(z), {0}));
  }
  const double n = static_cast<double>(latents.dim(0));
  const Tensor m = total / n;
  return {m.to(DType::f32), maximum(squares / n - square(m), Tensor::scalar(0, DType::f64)).to(DType::f32)};
}

}  // namespace fm
