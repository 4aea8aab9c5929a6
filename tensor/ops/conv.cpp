#include "tensor/ops/conv.h"

#include <string>

#include "tensor/error.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/devices.h"
#include "tensor/profile.h"

namespace fm {
namespace {

std::string padding_text(ConvStep step) { return "padding " + std::to_string(step.pad_h) + " in height and " + std::to_string(step.pad_w) + " in width"; }

kernels::ConvShape conv_shape(const Shape& x, const Shape& w, ConvStep step) {
  if (x.rank() != 4 || w.rank() != 4 || x[1] != w[1])
    throw ShapeError("conv2d: x of shape " + to_string(x) + " (B, C, H, W) does not fit a weight of shape " + to_string(w) + " (O, C, kh, kw)");
  if (step.stride < 1 || step.pad_h < 0 || step.pad_w < 0)
    throw ShapeError("conv2d: stride " + std::to_string(step.stride) + ", " + padding_text(step) + ": the stride must be 1 or more, the padding 0 or more");
  kernels::ConvShape s{};
  s.batch = x[0];
  s.in_channels = x[1];
  s.height = x[2];
  s.width = x[3];
  s.out_channels = w[0];
  s.kernel_h = w[2];
  s.kernel_w = w[3];
  s.stride_h = s.stride_w = step.stride;
  s.pad_h = step.pad_h;
  s.pad_w = step.pad_w;
  if (s.out_height() < 1 || s.out_width() < 1)
    throw ShapeError("conv2d: a kernel of " + std::to_string(w[2]) + "x" + std::to_string(w[3]) + " does not fit into x" + to_string(x) + " with " + padding_text(step));
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

// The type of the computation for images x and y in memory. DTypeError for images that do not go together.
DType compute_type_of(DType x, DType y) {
  if (!is_floating(x)) throw DTypeError(std::string("conv2d: needs f32, f64 or bf16, got ") + name_of(x));
  if (x != y && !(x == DType::bf16 && y == DType::f32))
    throw DTypeError(std::string("conv2d: x in ") + name_of(x) + " and its result in " + name_of(y) + ": use one type, or f32 for the result of x in bf16");
  return x == DType::f64 ? DType::f64 : DType::f32;
}

// A weight or bias in the type of the computation.
Tensor parameter(const Tensor& p, DType compute, DType x) {
  if (p.dtype() != compute && !(x == DType::bf16 && p.dtype() == DType::bf16))
    throw DTypeError(std::string("conv2d: operands must have one type, but are ") + name_of(x) + " and " + name_of(p.dtype()));
  return p.to(compute).contiguous();
}

// Calls f(T, X, Y, kernels) with the element types of the computation, of x and of y.
template <class F> void with_kernels(Device device, DType x, DType y, F&& f) {
  const auto& k = conv_kernels(device);
  if (x == DType::f64) f(double{}, double{}, double{}, k.f64);
  else if (x == DType::f32) f(float{}, float{}, float{}, k.f32);
  else if (y == DType::bf16) f(float{}, bf16{}, bf16{}, k.half);
  else f(float{}, bf16{}, float{}, k.half_to_f32);
}

// GPUs have no kernels for bf16 images: there they are widened before the call, and results rounded after it, with the same meaning.
bool widened(Device device, DType x) { return device.is_cuda() && x == DType::bf16; }

void count_conv(const kernels::ConvShape& s, const Tensor& x, const Tensor& weight, const Tensor& y) {
  count_work(2 * static_cast<double>(s.batch * s.out_height() * s.out_width()) * static_cast<double>(weight.numel()), 0);
  count_traffic({&x, &weight, &y});
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvStep step) {
  return conv2d(x, weight, bias, step, x.defined() ? x.dtype() : DType::f32);
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, ConvStep step, DType result) {
  const OpName scope("conv2d");
  check_defined(x, weight);
  const kernels::ConvShape s = conv_shape(x.shape(), weight.shape(), step);
  if (bias.defined() && bias.shape() != Shape{s.out_channels})
    throw ShapeError("conv2d: a bias of shape " + to_string(bias.shape()) + " must have one number for each output channel of a weight of shape " + to_string(weight.shape()));
  const DType compute = compute_type_of(x.dtype(), result);
  const Device device = common_device("conv2d", {&x, &weight, &bias});
  const Tensor w = parameter(weight, compute, x.dtype()), b = bias.defined() ? parameter(bias, compute, x.dtype()) : bias;
  if (widened(device, x.dtype())) return conv2d(x.to(compute), w, b, step).to(result);
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(output_shape(s), result, device);
  count_conv(s, x, weight, y);
  with_kernels(device, x.dtype(), result, [&]<class T, class X, class Y>(T, X, Y, const auto& k) {
    k.forward(s, in.data<X>(), w.data<T>(), b.defined() ? b.data<T>() : nullptr, y.data<Y>(), false);
  });
  return y;
}

Tensor conv2d_grad_input(const Tensor& gy, const Tensor& weight, const Shape& x_shape, ConvStep step) {
  return conv2d_grad_input(gy, weight, x_shape, step, gy.defined() ? gy.dtype() : DType::f32);
}

Tensor conv2d_grad_input(const Tensor& gy, const Tensor& weight, const Shape& x_shape, ConvStep step, DType result) {
  const OpName scope("conv2d");
  check_defined(gy, weight);
  const kernels::ConvShape s = conv_shape(x_shape, weight.shape(), step);
  check_cotangent(gy, s);
  const DType compute = compute_type_of(result, gy.dtype());
  const Device device = common_device("conv2d", {&gy, &weight});
  const Tensor w = parameter(weight, compute, result);
  if (widened(device, result)) return conv2d_grad_input(gy.to(compute), w, x_shape, step).to(result);
  const Tensor g = gy.contiguous();
  Tensor gx = Tensor::empty(x_shape, result, device);
  count_conv(s, gx, weight, gy);
  with_kernels(device, result, gy.dtype(), [&]<class T, class X, class Y>(T, X, Y, const auto& k) { k.grad_input(s, g.data<Y>(), w.data<T>(), gx.data<X>(), false); });
  return gx;
}

Tensor conv2d_grad_weight(const Tensor& x, const Tensor& gy, const Shape& weight_shape, ConvStep step) {
  const OpName scope("conv2d");
  check_defined(x, gy);
  const kernels::ConvShape s = conv_shape(x.shape(), weight_shape, step);
  check_cotangent(gy, s);
  const DType compute = compute_type_of(x.dtype(), gy.dtype());
  const Device device = common_device("conv2d", {&x, &gy});
  if (widened(device, x.dtype())) return conv2d_grad_weight(x.to(compute), gy.to(compute), weight_shape, step);
  const Tensor in = x.contiguous(), g = gy.contiguous();
  Tensor gw = Tensor::empty(weight_shape, compute, device);
  count_conv(s, x, gw, gy);
  with_kernels(device, x.dtype(), gy.dtype(), [&]<class T, class X, class Y>(T, X, Y, const auto& k) { k.grad_weight(s, in.data<X>(), g.data<Y>(), gw.data<T>(), false); });
  return gw;
}

}  // namespace fm
