// The Inception-v3 whose features FID, sFID, KID and the Inception Score use: the network of TensorFlow's graph inception-2015-12-05 (Szegedy et al.
// 2015, arXiv:1512.00567), with the names of pytorch-fid and torch-fidelity. Unlike torchvision's Inception it averages without counting the padding,
// takes the maximum in its last block, and has 1008 classes. Features only: there are no gradients. Facts: evaluation.md 1.1, 1.2, 1.4.
//
//   every convolution   y = max(0, gamma (W * x - mean) / sqrt(variance + 0.001) + beta),  stored as one product with bias (nn/models/inception_file.h)
//   stem                1a 2a 2b, max pool, 3b 4a, max pool            299x299 -> 35x35
//   block A             5b 5c 5d        35x35                          1x1 | 5x5 | 3x3 3x3 | average pool
//   block B             6a              35x35 -> 17x17                 3x3 | 3x3 3x3 | max pool
//   block C             6b 6c 6d 6e     17x17                          1x1 | 1x7 7x1 | 7x1 1x7 7x1 1x7 | average pool
//   block D             7a              17x17 -> 8x8                   3x3 | 1x7 7x1 3x3 | max pool
//   block E             7b 7c           8x8                            1x1 | (1x3, 3x1) | 3x3 (1x3, 3x1) | average (7b) or max pool (7c)
//
// The branches of a block fill ranges of channels of its result in this order.
#pragma once

#include "nn/module.h"
#include "tensor/ops/conv.h"

namespace fm {

// A convolution with the batch norm folded in, and the ReLU.
struct InceptionConv {
  Parameter weight, bias;                        // (out, in, kh, kw), (out)
  ConvStep step;

  InceptionConv(std::int64_t in, std::int64_t out, std::int64_t kernel_h, std::int64_t kernel_w, ConvStep step = {});
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  Tensor before_relu(const Tensor& x) const { return conv2d(x, weight.value, bias.value, step); }
  Tensor operator()(const Tensor& x) const;      // (B,in,H,W) -> (B,out,H',W')
};

struct InceptionA {
  InceptionConv branch1x1, branch5x5_1, branch5x5_2, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3, branch_pool;

  InceptionA(std::int64_t in, std::int64_t pool);
  template <class V> void visit(V&& v) {
    v("branch1x1", branch1x1);
    v("branch5x5_1", branch5x5_1);
    v("branch5x5_2", branch5x5_2);
    v("branch3x3dbl_1", branch3x3dbl_1);
    v("branch3x3dbl_2", branch3x3dbl_2);
    v("branch3x3dbl_3", branch3x3dbl_3);
    v("branch_pool", branch_pool);
  }
  Tensor operator()(const Tensor& x) const;      // (B,in,H,W) -> (B,224+pool,H,W)
};

struct InceptionB {
  InceptionConv branch3x3, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3;

  explicit InceptionB(std::int64_t in);
  template <class V> void visit(V&& v) {
    v("branch3x3", branch3x3);
    v("branch3x3dbl_1", branch3x3dbl_1);
    v("branch3x3dbl_2", branch3x3dbl_2);
    v("branch3x3dbl_3", branch3x3dbl_3);
  }
  Tensor operator()(const Tensor& x) const;      // (B,in,H,W) -> (B,480+in,H',W')
};

struct InceptionC {
  InceptionConv branch1x1, branch7x7_1, branch7x7_2, branch7x7_3, branch7x7dbl_1, branch7x7dbl_2, branch7x7dbl_3, branch7x7dbl_4, branch7x7dbl_5, branch_pool;

  InceptionC(std::int64_t in, std::int64_t c7);
  template <class V> void visit(V&& v) {
    v("branch1x1", branch1x1);
    v("branch7x7_1", branch7x7_1);
    v("branch7x7_2", branch7x7_2);
    v("branch7x7_3", branch7x7_3);
    v("branch7x7dbl_1", branch7x7dbl_1);
    v("branch7x7dbl_2", branch7x7dbl_2);
    v("branch7x7dbl_3", branch7x7dbl_3);
    v("branch7x7dbl_4", branch7x7dbl_4);
    v("branch7x7dbl_5", branch7x7dbl_5);
    v("branch_pool", branch_pool);
  }
  Tensor operator()(const Tensor& x) const;      // (B,in,H,W) -> (B,768,H,W)
};

struct InceptionD {
  InceptionConv branch3x3_1, branch3x3_2, branch7x7x3_1, branch7x7x3_2, branch7x7x3_3, branch7x7x3_4;

  explicit InceptionD(std::int64_t in);
  template <class V> void visit(V&& v) {
    v("branch3x3_1", branch3x3_1);
    v("branch3x3_2", branch3x3_2);
    v("branch7x7x3_1", branch7x7x3_1);
    v("branch7x7x3_2", branch7x7x3_2);
    v("branch7x7x3_3", branch7x7x3_3);
    v("branch7x7x3_4", branch7x7x3_4);
  }
  Tensor operator()(const Tensor& x) const;      // (B,in,H,W) -> (B,512+in,H',W')
};

struct InceptionE {
  InceptionConv branch1x1, branch3x3_1, branch3x3_2a, branch3x3_2b, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3a, branch3x3dbl_3b, branch_pool;
  bool max_pools;

  InceptionE(std::int64_t in, bool max_pools);
  template <class V> void visit(V&& v) {
    v("branch1x1", branch1x1);
    v("branch3x3_1", branch3x3_1);
    v("branch3x3_2a", branch3x3_2a);
    v("branch3x3_2b", branch3x3_2b);
    v("branch3x3dbl_1", branch3x3dbl_1);
    v("branch3x3dbl_2", branch3x3dbl_2);
    v("branch3x3dbl_3a", branch3x3dbl_3a);
    v("branch3x3dbl_3b", branch3x3dbl_3b);
    v("branch_pool", branch_pool);
  }
  Tensor operator()(const Tensor& x) const;      // (B,in,H,W) -> (B,2048,H,W)
};

struct InceptionOutput {
  Tensor pool3;                                  // (N,2048) the mean over the last 8x8 positions: FID, KID, precision and recall
  Tensor spatial;                                // (N,2023) channels 0..6 of Mixed_6d.branch1x1 at 17x17 positions, element (y 17 + x) 7 + c: sFID
  Tensor logits_unbiased;                        // (N,1008) without the bias of the last layer: the Inception Score
};

struct Inception {
  InceptionConv conv1a, conv2a, conv2b, conv3b, conv4a;
  InceptionA mixed5b, mixed5c, mixed5d;
  InceptionB mixed6a;
  InceptionC mixed6b, mixed6c, mixed6d, mixed6e;
  InceptionD mixed7a;
  InceptionE mixed7b, mixed7c;
  Parameter fc_weight, fc_bias;                  // (1008,2048), (1008)

  Inception();                                   // sets shapes only: values come from inception_from (nn/models/inception_file.h)
  Inception(Inception&&) = default;
  Inception& operator=(Inception&&) = default;
  template <class V> void visit(V&& v) {
    v("Conv2d_1a_3x3", conv1a);
    v("Conv2d_2a_3x3", conv2a);
    v("Conv2d_2b_3x3", conv2b);
    v("Conv2d_3b_1x1", conv3b);
    v("Conv2d_4a_3x3", conv4a);
    v("Mixed_5b", mixed5b);
    v("Mixed_5c", mixed5c);
    v("Mixed_5d", mixed5d);
    v("Mixed_6a", mixed6a);
    v("Mixed_6b", mixed6b);
    v("Mixed_6c", mixed6c);
    v("Mixed_6d", mixed6d);
    v("Mixed_6e", mixed6e);
    v("Mixed_7a", mixed7a);
    v("Mixed_7b", mixed7b);
    v("Mixed_7c", mixed7c);
    v("fc.weight", fc_weight);
    v("fc.bias", fc_bias);
  }

  // Images (N,3,299,299) from prepare_for_inception (nn/models/inception_input.h), in the type of the weights. ShapeError for other shapes. Needs about 25 MB
  // of memory for each image of the batch (f32), besides the weights.
  InceptionOutput operator()(const Tensor& images) const;
  Tensor logits(const InceptionOutput& of) const;        // (N,1008) with the bias

 private:
  Inception(const Inception&) = default;
};

}  // namespace fm
