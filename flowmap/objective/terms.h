// Losses that are a sum of terms, each with a residual of its own.
#pragma once

#include <string>
#include <vector>

#include "flowmap/objective/objective.h"

namespace fm {

struct Term {
  std::string name;
  Measured measured;                     // of all rows, or of the first off_diagonal rows alone; the term is then 0 on the other rows
};

// loss and raw are the sums over the terms. The metric residual_<name> is the mean square of one term, over the rows that have it.
ObjectiveLoss report_terms(const std::vector<Term>& terms, const Tensor& s, const Tensor& t, std::int64_t off_diagonal);

}  // namespace fm
