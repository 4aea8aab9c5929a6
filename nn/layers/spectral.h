// A convolution over sequences (B, C, L) whose weight W is divided by an estimate of its largest singular value (spectral normalization, Miyato et
// al. 2018). W is seen as a matrix (out, in k), u and v are unit vectors:
//
//   power iteration   v <- W^T u / |W^T u|,   u <- W v / |W v|           |x| is at least 1e-12
//   convolution       y = (W / s) * x + b,    s = u^T W v                u and v are constants, s has a gradient
//
// Names, values and gradients are those of torch.nn.utils.spectral_norm. The ends of a sequence are joined (circular padding), so y is as long as x.
#pragma once

#include "nn/init.h"
#include "nn/module.h"

namespace fm {

struct SpectralConv1d {
  Parameter weight, bias;                       // (out, in, k) before the division, (out)
  Buffer u, v;                                  // (out), (in k)

  SpectralConv1d() = default;
  // ConfigError unless `kernel` is odd.
  SpectralConv1d(std::int64_t in, std::int64_t out, std::int64_t kernel);
  template <class V> void visit(V&& v_) {
    v_("bias", bias);
    v_("weight_orig", weight);
    v_("weight_u", u);
    v_("weight_v", v);
  }
  void reset(const Init& init);                 // PyTorch's default for W and b, random unit vectors for u and v

  // Makes one power iteration, in place. Training calls this before each forward pass, inference never. A recorded convolution keeps its own u and v.
  void iterate();
  Var normalised_weight() const;                // W / s
  // (B, in, L) -> (B, out, L). ShapeError if L is smaller than half of the kernel, rounded down.
  Var operator()(const Var& x) const;
};

}  // namespace fm
