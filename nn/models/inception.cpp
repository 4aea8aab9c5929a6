#include "nn/models/inception.h"

#include <utility>

#include "tensor/ops/pool.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

constexpr ConvStep same_3x3{1, 1, 1}, same_5x5{1, 2, 2}, same_1x7{1, 0, 3}, same_7x1{1, 3, 0}, same_1x3{1, 0, 1}, same_3x1{1, 1, 0}, halving{2, 0, 0};

// The result of a block, whose branches fill ranges of channels one after another. The ReLU writes into the range, so it costs no copy.
class Branches {
 public:
  explicit Branches(std::int64_t channels) : channels_(channels) {}
  void add(const Tensor& before_relu) {
    const Shape& s = before_relu.shape();
    if (!all_.defined()) all_ = Tensor::empty(s.with(1, channels_), before_relu.dtype(), before_relu.device());
    relu_into(before_relu, all_.slice(1, filled_, filled_ + s[1]));
    filled_ += s[1];
  }
  void add(const InceptionConv& conv, const Tensor& x) { add(conv.before_relu(x)); }
  Tensor all() const { return all_; }

 private:
  std::int64_t channels_, filled_ = 0;
  Tensor all_;
};

Tensor mean_of_neighbors(const Tensor& x) { return avg_pool2d(x, PoolWindow{3, 1, 1}, PoolCount::inside); }
Tensor max_of_neighbors(const Tensor& x) { return max_pool2d(x, PoolWindow{3, 1, 1}); }
Tensor halved(const Tensor& x) { return max_pool2d(x, PoolWindow{3, 2, 0}); }

}  // namespace

InceptionConv::InceptionConv(std::int64_t in, std::int64_t out, std::int64_t kernel_h, std::int64_t kernel_w, ConvStep step_)
    : weight(make_parameter({out, in, kernel_h, kernel_w}, false)), bias(make_parameter({out}, false)), step(step_) {}

Tensor InceptionConv::operator()(const Tensor& x) const {
  const Tensor y = before_relu(x);
  relu_into(y, y);
  return y;
}

InceptionA::InceptionA(std::int64_t in, std::int64_t pool)
    : branch1x1(in, 64, 1, 1),
      branch5x5_1(in, 48, 1, 1),
      branch5x5_2(48, 64, 5, 5, same_5x5),
      branch3x3dbl_1(in, 64, 1, 1),
      branch3x3dbl_2(64, 96, 3, 3, same_3x3),
      branch3x3dbl_3(96, 96, 3, 3, same_3x3),
      branch_pool(in, pool, 1, 1) {}

Tensor InceptionA::operator()(const Tensor& x) const {
  Branches out(64 + 64 + 96 + branch_pool.bias.value.dim(0));
  out.add(branch1x1, x);
  out.add(branch5x5_2, branch5x5_1(x));
  out.add(branch3x3dbl_3, branch3x3dbl_2(branch3x3dbl_1(x)));
  out.add(branch_pool, mean_of_neighbors(x));
  return out.all();
}

InceptionB::InceptionB(std::int64_t in)
    : branch3x3(in, 384, 3, 3, halving),
      branch3x3dbl_1(in, 64, 1, 1),
      branch3x3dbl_2(64, 96, 3, 3, same_3x3),
      branch3x3dbl_3(96, 96, 3, 3, halving) {}

Tensor InceptionB::operator()(const Tensor& x) const {
  Branches out(384 + 96 + x.dim(1));
  out.add(branch3x3, x);
  out.add(branch3x3dbl_3, branch3x3dbl_2(branch3x3dbl_1(x)));
  out.add(halved(x));                            // x >= 0, so the ReLU changes nothing
  return out.all();
}

InceptionC::InceptionC(std::int64_t in, std::int64_t c7)
    : branch1x1(in, 192, 1, 1),
      branch7x7_1(in, c7, 1, 1),
      branch7x7_2(c7, c7, 1, 7, same_1x7),
      branch7x7_3(c7, 192, 7, 1, same_7x1),
      branch7x7dbl_1(in, c7, 1, 1),
      branch7x7dbl_2(c7, c7, 7, 1, same_7x1),
      branch7x7dbl_3(c7, c7, 1, 7, same_1x7),
      branch7x7dbl_4(c7, c7, 7, 1, same_7x1),
      branch7x7dbl_5(c7, 192, 1, 7, same_1x7),
      branch_pool(in, 192, 1, 1) {}

Tensor InceptionC::operator()(const Tensor& x) const {
  Branches out(4 * 192);
  out.add(branch1x1, x);
  out.add(branch7x7_3, branch7x7_2(branch7x7_1(x)));
  out.add(branch7x7dbl_5, branch7x7dbl_4(branch7x7dbl_3(branch7x7dbl_2(branch7x7dbl_1(x)))));
  out.add(branch_pool, mean_of_neighbors(x));
  return out.all();
}

InceptionD::InceptionD(std::int64_t in)
    : branch3x3_1(in, 192, 1, 1),
      branch3x3_2(192, 320, 3, 3, halving),
      branch7x7x3_1(in, 192, 1, 1),
      branch7x7x3_2(192, 192, 1, 7, same_1x7),
      branch7x7x3_3(192, 192, 7, 1, same_7x1),
      branch7x7x3_4(192, 192, 3, 3, halving) {}

Tensor InceptionD::operator()(const Tensor& x) const {
  Branches out(320 + 192 + x.dim(1));
  out.add(branch3x3_2, branch3x3_1(x));
  out.add(branch7x7x3_4, branch7x7x3_3(branch7x7x3_2(branch7x7x3_1(x))));
  out.add(halved(x));
  return out.all();
}

InceptionE::InceptionE(std::int64_t in, bool max_pools_)
    : branch1x1(in, 320, 1, 1),
      branch3x3_1(in, 384, 1, 1),
      branch3x3_2a(384, 384, 1, 3, same_1x3),
      branch3x3_2b(384, 384, 3, 1, same_3x1),
      branch3x3dbl_1(in, 448, 1, 1),
      branch3x3dbl_2(448, 384, 3, 3, same_3x3),
      branch3x3dbl_3a(384, 384, 1, 3, same_1x3),
      branch3x3dbl_3b(384, 384, 3, 1, same_3x1),
      branch_pool(in, 192, 1, 1),
      max_pools(max_pools_) {}

Tensor InceptionE::operator()(const Tensor& x) const {
  Branches out(2048);
  out.add(branch1x1, x);
  const Tensor once = branch3x3_1(x);
  out.add(branch3x3_2a, once);
  out.add(branch3x3_2b, once);
  const Tensor twice = branch3x3dbl_2(branch3x3dbl_1(x));
  out.add(branch3x3dbl_3a, twice);
  out.add(branch3x3dbl_3b, twice);
  out.add(branch_pool, max_pools ? max_of_neighbors(x) : mean_of_neighbors(x));
  return out.all();
}

Inception::Inception()
    : conv1a(3, 32, 3, 3, halving),
      conv2a(32, 32, 3, 3),
      conv2b(32, 64, 3, 3, same_3x3),
      conv3b(64, 80, 1, 1),
      conv4a(80, 192, 3, 3),
      mixed5b(192, 32),
      mixed5c(256, 64),
      mixed5d(288, 64),
      mixed6a(288),
      mixed6b(768, 128),
      mixed6c(768, 160),
      mixed6d(768, 160),
      mixed6e(768, 192),
      mixed7a(768),
      mixed7b(1280, false),
      mixed7c(2048, true),
      fc_weight(make_parameter({1008, 2048}, false)),
      fc_bias(make_parameter({1008}, false)) {}

InceptionOutput Inception::operator()(const Tensor& images) const {
  if (images.rank() != 4 || images.shape() != Shape{images.dim(0), 3, 299, 299})
    throw ShapeError("Inception: images of shape " + to_string(images.shape()) + " must be (N, 3, 299, 299): prepare_for_inception resizes them");
  Tensor h = halved(conv2b(conv2a(conv1a(images))));
  h = halved(conv4a(conv3b(h)));
  h = mixed6a(mixed5d(mixed5c(mixed5b(h))));
  h = mixed6d(mixed6c(mixed6b(h)));
  // The first branch of Mixed_6d is its 1x1 convolution, so that these are the first channels of the block.
  const Tensor spatial = h.slice(1, 0, 7).permute({0, 2, 3, 1}).contiguous().reshape({h.dim(0), -1});
  h = mixed7c(mixed7b(mixed7a(mixed6e(h))));
  const Tensor pool3 = mean(h, {2, 3});
  return {pool3, spatial, linear(pool3, fc_weight.value, {})};
}

Tensor Inception::logits(const InceptionOutput& of) const { return of.logits_unbiased + fc_bias.value; }

}  // namespace fm
