#include "nn/flops/count.h"

namespace fm {

ModuleCost& ModuleCost::values(std::int64_t count) {
  parameters += count;
  return *this;
}

ModuleCost& ModuleCost::linear(std::int64_t in, std::int64_t out, std::int64_t rows) { return conv(in, out, 1, rows); }

ModuleCost& ModuleCost::conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t places) {
  const std::int64_t weight = in * out * kernel * kernel;
  parameters += weight + out;
  macs_linear += weight * places;
  return *this;
}

ModuleCost& ModuleCost::attention(std::int64_t tokens, std::int64_t width) {
  macs_attention += 2 * tokens * tokens * width;
  return *this;
}

ModuleCost& ModuleCost::times(std::int64_t count) {
  parameters *= count;
  macs_linear *= count;
  macs_attention *= count;
  return *this;
}

ModuleCost total(const CostTable& modules) {
  ModuleCost sum("total");
  for (const ModuleCost& m : modules) {
    sum.parameters += m.parameters;
    sum.macs_linear += m.macs_linear;
    sum.macs_attention += m.macs_attention;
  }
  return sum;
}

std::string block_range(const std::string& blocks, std::int64_t first, std::int64_t count, const std::string& part) {
  const std::string last = count > 1 ? "-" + std::to_string(first + count - 1) : "";
  return blocks + "." + std::to_string(first) + last + part;
}

}  // namespace fm
