#include "nn/layers/attention.h"

#include "autodiff/rules/attention.h"
#include "autodiff/rules/linear.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

std::int64_t head_width(std::int64_t width, std::int64_t heads) {
  if (heads < 1 || width % heads != 0)
    throw ConfigError("attention: width " + std::to_string(width) + " is not a multiple of the number of heads (" + std::to_string(heads) + ")");
  return width / heads;
}

Var split_heads(const Var& x, std::int64_t heads) {                                 // (B,N,C) -> (B,H,N,dh), a view
  return transpose(reshape(x, {x.dim(0), x.dim(1), heads, x.dim(2) / heads}), 1, 2);
}

}  // namespace

FusedAttention::FusedAttention(std::int64_t width, std::int64_t heads_, bool qk_norm)
    : qkv(width, 3 * width), proj(width, width), heads(heads_) {
  const std::int64_t dh = head_width(width, heads);
  if (qk_norm) q_norm.emplace(dh), k_norm.emplace(dh);
}

Var FusedAttention::mixed(Var h, const Tensor& rope_cos, const Tensor& rope_sin) const {
  if (q_norm) {
    const std::int64_t b = h.dim(0), n = h.dim(1), c = h.dim(2) / 3;
    const auto normed = [&](const RmsNorm& norm, std::int64_t begin) {
      const Var part = slice(h, 2, begin, begin + c);
      return reshape(norm(reshape(part, {b, n, heads, c / heads})), {b, n, c});
    };
    h = concat({normed(*q_norm, 0), normed(*k_norm, c), slice(h, 2, 2 * c, 3 * c)}, 2);
  }
  if (rope_cos.defined()) h = rope_qkv(h, narrow<int>(heads), rope_cos, rope_sin);
  return proj(attention_qkv(h, narrow<int>(heads)));
}

VitAttention::VitAttention(std::int64_t width, std::int64_t heads_)
    : query(width, width), key(width, width), value(width, width), output(width, width), heads(heads_) {
  head_width(width, heads);
}

Var VitAttention::operator()(const Var& x, DType result) const {
  const Var h = attention(split_heads(query(x), heads), split_heads(key(x), heads), split_heads(value(x), heads));
  return linear(reshape(transpose(h, 1, 2), x.shape()), output.weight, operand(output.bias), result);
}

}  // namespace fm
