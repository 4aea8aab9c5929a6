#include "tensor/ops/conv.h"

#include "tensor/error.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/profile.h"

namespace fm {
namespace {

kernels::ConvShape conv_shape(const Shape& x, const Shape& w, ConvStep step) {
  if (x.rank() != 4 || w.rank() != 4 || x[1] != w[1])
    throw ShapeError("conv2d: x of shape " + to_string(x) + " (B, C, H, W) does not fit a weight of shape " + to_string(w) + " (O, C, kh, kw)");
  if (step.stride < 1 || step.padding < 0)
    throw ShapeError("conv2d: stride " + std::to_string(step.stride) + ", padding " + std::to_string(step.padding) + ": the stride must be 1 or more, the padding 0 or more");
  kernels::ConvShape s{};
  s.batch = x[0];
  s.in_channels = x[1];
  s.height = x[2];
  s.width = x[3];
  s.out_channels = w[0];
  s.kernel_h = w[2];
  s.kernel_w = w[3];
  s.stride_h = s.stride_w = step.stride;
  s.pad_h = s.pad_w = step.padding;
  if (s.out_height() < 1 || s.out_width() < 1)
    throw ShapeError("conv2d: a kernel of " + std::to_string(w[2]) + "x" + std::to_string(w[3]) + " does not fit into x" + to_string(x));
  return s;
}

Shape output_shape(const kernels::ConvShape& s) { return {s.batch, s.out_channels, s.out_height(), s.out_width()}; }

void check_defined(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) throw Error("conv2d: an undefined tensor was given");
}

void check_cotangent(const Tensor& gy, const kernels::ConvShape& s) {
  if (gy.shape() != output_shape(s))
    throw ShapeError("conv2d: a cotangent of shape " + to_string(gy.shape()) + " does not fit a result of shape " + to_string(output_shape(s)));
}

template <class F> void with_kernels(const Tensor& a, const Tensor& b, F&& f) {
  if (a.dtype() != b.dtype())
    throw DTypeError(std::string("conv2d: operands must have one type, but are ") + name_of(a.dtype()) + " and " + name_of(b.dtype()));
  if (a.dtype() == DType::f64) f(double{}, conv_kernels(a.device()).f64);
  else if (a.dtype() == DType::f32) f(float{}, conv_kernels(a.device()).f32);
  else throw DTypeError(std::string("conv2d: needs f32 or f64, got ") + name_of(a.dtype()));
}

void count_conv(const kernels::ConvShape& s, const Tensor& x, const Tensor& weight, const Tensor& y) {
  count_work(2 * static_cast<double>(s.batch * s.out_height() * s.out_width()) * static_cast<double>(weight.numel()), 0);
  count_traffic({&x, &weight, &y});
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvStep step) {
  const OpName scope("conv2d");
  check_defined(x, weight);
  const kernels::ConvShape s = conv_shape(x.shape(), weight.shape(), step);
  if (bias.defined() && (bias.shape() != Shape{s.out_channels} || bias.dtype() != x.dtype()))
    throw ShapeError("conv2d: a bias of shape " + to_string(bias.shape()) +
                     " must have x's type and one number for each output channel of a weight of shape " + to_string(weight.shape()));
  const Tensor in = x.contiguous(), w = weight.contiguous(), b = bias.defined() ? bias.contiguous() : bias;
  Tensor y = Tensor::empty(output_shape(s), x.dtype(), common_device("conv2d", {&x, &weight, &bias}));
  count_conv(s, x, weight, y);
  with_kernels(x, weight, [&]<class T>(T, const auto& k) {
    k.forward(s, in.data<T>(), w.data<T>(), b.defined() ? b.data<T>() : nullptr, y.data<T>(), false);
  });
  return y;
}

Tensor conv2d_grad_input(const Tensor& gy, const Tensor& weight, const Shape& x_shape, ConvStep step) {
  const OpName scope("conv2d");
  check_defined(gy, weight);
  const kernels::ConvShape s = conv_shape(x_shape, weight.shape(), step);
  check_cotangent(gy, s);
  const Tensor g = gy.contiguous(), w = weight.contiguous();
  Tensor gx = Tensor::empty(x_shape, gy.dtype(), common_device("conv2d", {&gy, &weight}));
  count_conv(s, gx, weight, gy);
  with_kernels(gy, weight, [&]<class T>(T, const auto& k) { k.grad_input(s, g.data<T>(), w.data<T>(), gx.data<T>(), false); });
  return gx;
}

Tensor conv2d_grad_weight(const Tensor& x, const Tensor& gy, const Shape& weight_shape, ConvStep step) {
  const OpName scope("conv2d");
  check_defined(x, gy);
  const kernels::ConvShape s = conv_shape(x.shape(), weight_shape, step);
  check_cotangent(gy, s);
  const Tensor in = x.contiguous(), g = gy.contiguous();
  Tensor gw = Tensor::empty(weight_shape, x.dtype(), common_device("conv2d", {&x, &gy}));
  count_conv(s, x, gw, gy);
  with_kernels(x, gy, [&]<class T>(T, const auto& k) { k.grad_weight(s, in.data<T>(), g.data<T>(), gw.data<T>(), false); });
  return gw;
}

}  // namespace fm
