// Label dropout: a label is replaced by the null label with a small probability, once per sample, so that every evaluation of
// that sample (teacher, student, both sides of a finite difference) has the same label.
#pragma once

#include "flowmap/draws.h"
#include "flowmap/network.h"
#include "nn/config/visit.h"

namespace fm {

struct LabelDropout {
  double probability = 0.1;
  std::int64_t null_label = 1000;        // the number of classes: the last row of the label table
  template <class V> void visit(V&& v) {
    v("probability", probability, "probability that a sample's label is dropped", range(0, 1));
    v("null_label", null_label, "label that stands for 'no label': the number of classes", range(0, 1e7));
  }
};

// Returns y after dropout. Each `copy` drops labels independently, for the released MF-RAE code, which drops labels again in each evaluation (compat.h).
// Undefined labels stay undefined.
Labels drop_labels(const Labels& y, const LabelDropout& config, const Draws& draws, Purpose purpose = Purpose::label_drop,
                   std::uint32_t copy = 0);

// y with `label` in the rows where mask is not 0. y may be on any device: its values are not read back.
Labels replaced_where(const Labels& y, const std::vector<double>& mask, std::int64_t label);

// Labels of y's shape that are all null.
inline Labels null_labels(const Labels& y, std::int64_t null_label) {
  return Tensor::full(y.shape(), static_cast<double>(null_label), DType::i64);
}
std::vector<bool> is_null(const Labels& y, std::int64_t null_label);     // empty if y is undefined

}  // namespace fm
