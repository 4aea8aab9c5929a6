#include "flowmap/labels.h"

namespace fm {

Labels drop_labels(const Labels& y, const LabelDropout& config, const Draws& draws, Purpose purpose, std::uint32_t copy) {
  if (!y.defined() || config.probability <= 0) return y;
  std::vector<std::int64_t> labels = y.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (draws.uniform(purpose, i, copy) < config.probability) labels[i] = config.null_label;
  return Tensor::from(labels, y.shape());
}

std::vector<bool> is_null(const Labels& y, std::int64_t null_label) {
  std::vector<bool> out;
  if (y.defined())
    for (std::int64_t label : y.to_vector<std::int64_t>()) out.push_back(label == null_label);
  return out;
}

}  // namespace fm
