// The judge: a small convolutional classifier that scores generated images. No generator is trained with it. Frechet distance, precision and
// recall are computed from its penultimate features, the conditional accuracy from its predicted classes.
//
//   3x3 conv (w) - 3x3 conv /2 (2w) - 3x3 conv (2w) - 3x3 conv /2 (4w) - 3x3 conv (4w), each with ReLU - means over square blocks, so that at most
//   8x8 positions remain - linear + ReLU (features) - linear (classes)
//
// The means do not cover the whole image, so the features depend on the position of an object's parts, not only on their presence.
#pragma once

#include "nn/config/visit.h"
#include "nn/init.h"
#include "nn/layers/linear.h"
#include "nn/module.h"

namespace fm {

struct JudgeConfig {
  std::int64_t channels = 1, size = 28, width = 16, features = 128, classes = 10;
  template <class V> void visit(V&& v) {
    v("channels", channels, "channels of the images", range(1, 4));
    v("size", size, "side of the images", range(4, 4096), unit("pixels"));
    v("width", width, "channels of the first convolution; later ones have two and four times as many", range(1, 1024));
    v("features", features, "width of the penultimate layer, from whose outputs the Frechet distance is computed", range(2, 4096));
    v("classes", classes, "number of classes", range(2, 100000));
  }
};

struct JudgeConv {
  Parameter weight, bias;                            // (out, in, 3, 3), (out)
  int stride = 1;
  JudgeConv() = default;
  JudgeConv(std::int64_t in, std::int64_t out, int stride_of);
  Var operator()(const Var& x) const;                // padding 1, ReLU
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init& init);                      // He: U(+-sqrt(6/fan_in)), bias 0
};

struct Judge {
  std::vector<JudgeConv> convs;
  Linear hidden, classify;
  std::int64_t block = 1;                            // side of the square blocks over which means are taken

  Judge() = default;
  explicit Judge(const JudgeConfig& config);
  Judge(Judge&&) = default;                          // clone() copies
  Judge& operator=(Judge&&) = default;
  Var features(const Var& x) const;                  // x (B, C, H, W) in [0, 1] -> (B, features)
  Var operator()(const Var& x) const { return classify(features(x)); }   // logits (B, classes)

  template <class V> void visit(V&& v) {
    v("convs", convs);
    v("hidden", hidden);
    v("classify", classify);
  }

 private:
  template <class M> friend M clone(const M& module);
  Judge(const Judge&) = default;
};

std::string size_text(const JudgeConfig& config);      // "convolutional classifier, width 16, 128 features"

}  // namespace fm
