// A learned log variance l(s, t), one number per row: objectives with a learned weight divide their rows' losses by it,  e^-l L + l.  At its minimum l is
// log L, so every (s, t) contributes the same to the gradient (Kendall, Gal and Cipolla 2018; EDM2 and sCM use it over t).
//
//   h = W_in [ phi(t), phi(t - s) ] + b_in,      l = W_out silu(h) + b_out         phi: sines and cosines, as in flow_mlp.h
//
// W_out and b_out begin at 0: every row's weight begins at 1.
#pragma once

#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"

namespace fm {

struct RowWeight {
  Buffer frequencies;                    // (8)
  Linear in, out;

  explicit RowWeight(std::uint64_t seed = 0);
  RowWeight(RowWeight&&) = default;      // clone() copies
  RowWeight& operator=(RowWeight&&) = default;
  template <class V> void visit(V&& v) {
    v("frequencies", frequencies);
    v("in", in);
    v("out", out);
  }

  Var operator()(const Tensor& s, const Tensor& t) const;        // (B), (B) -> (B)

 private:
  template <class M> friend M clone(const M& module);
  RowWeight(const RowWeight&) = default;
};

}  // namespace fm
