// A learned log variance l(s, t), one number per row. Objectives with a learned weight replace the loss L of each row by  e^-l L + l.  At the minimum over l,
// l = log L, so every (s, t) contributes equally to the gradient (Kendall, Gal and Cipolla 2018; EDM2 and sCM use such a weight over t).
//
//   h = W_in [ phi(t), phi(t - s) ] + b_in,      l = W_out silu(h) + b_out         phi: sines and cosines, as in flow_mlp.h
//
// W_out and b_out are initially 0, so every row initially has the weight e^-l = 1.
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
