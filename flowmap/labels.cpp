#include "flowmap/labels.h"

#include "tensor/ops/elementwise.h"

namespace fm {

Labels replaced_where(const Labels& y, const std::vector<double>& mask, std::int64_t label) {
  const Tensor here = Tensor::from(mask, y.shape()).to(y.device());
  return where(here, Tensor::scalar(static_cast<double>(label), DType::f64, y.device()), y.to(DType::f64)).to(DType::i64);
}

Labels drop_labels(const Labels& y, const LabelDropout& config, const Draws& draws, Purpose purpose, std::uint32_t copy) {
  if (!y.defined() || config.probability <= 0) return y;
  std::vector<double> dropped;
  for (std::size_t i = 0; i < draws.rows(); ++i) dropped.push_back(draws.uniform(purpose, i, copy) < config.probability);
  return replaced_where(y, dropped, config.null_label);
}

std::vector<bool> is_null(const Labels& y, std::int64_t null_label) {
  std::vector<bool> out;
  if (y.defined())
    for (std::int64_t label : y.to_vector<std::int64_t>()) out.push_back(label == null_label);
  return out;
}

}  // namespace fm
