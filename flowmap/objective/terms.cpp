#include "flowmap/objective/terms.h"

namespace fm {

ObjectiveLoss report_terms(const std::vector<Term>& terms, const Tensor& s, const Tensor& t, std::int64_t off_diagonal) {
  const std::int64_t rows = s.dim(0);
  Measured sum{Var(), Tensor::zeros({rows}, s.dtype())};
  for (const Term& term : terms) {
    const std::int64_t k = term.measured.raw.dim(0);
    const Var loss = k == rows ? term.measured.loss : term.measured.loss * (static_cast<double>(k) / static_cast<double>(rows));
    sum.loss = sum.loss.defined() ? sum.loss + loss : loss;
    sum.raw = with_first_rows(sum.raw, first_rows(sum.raw, k) + term.measured.raw);
  }
  ObjectiveLoss out = report(sum, s, t, off_diagonal);
  for (const Term& term : terms) {
    const bool all = term.measured.raw.dim(0) == rows;
    out.metrics["residual_" + term.name] = {mean(term.measured.raw), all ? Over::all : Over::off_diagonal};
  }
  return out;
}

}  // namespace fm
