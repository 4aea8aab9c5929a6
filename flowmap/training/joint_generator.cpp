#include "flowmap/training/joint_generator.h"

#include <vector>

#include "autodiff/rules/linear.h"
#include "flowmap/path.h"
#include "flowmap/row_noise.h"
#include "tensor/ops/copy.h"

namespace fm {

VelocityNet on_joined_rows(JointVelocityNet net, Shape z, Shape k) {
  return [net = std::move(net), z = std::move(z), k = std::move(k)](const Var& rows, const Var& t, const Labels& y) {
    const std::int64_t n = rows.dim(0), end = z.numel();
    const auto velocities = net(reshape(slice(rows, 1, 0, end), z.rows(n)), reshape(slice(rows, 1, end, end + k.numel()), k.rows(n)), t, y);
    return concat({reshape(velocities.first, {n, end}), reshape(velocities.second, {n, k.numel()})}, 1);
  };
}

TeacherVelocity teacher_velocity(const Network& network, const Shape& z) {
  const std::int64_t numbers = network.beside();
  if (numbers == 0) return {network.v()};
  return {on_joined_rows(network.joint(), z, {numbers}), numbers};
}

LatentGenerator first_of_joined(LatentGenerator joined, Shape z, Shape k) {
  return [joined = std::move(joined), z = std::move(z), k = std::move(k)](const Tensor& noise, const Labels& y) {
    const std::int64_t n = noise.dim(0);
    return first_of_both(joined(with_second(noise, RowNoise(noise).beside(k).reshape({n, k.numel()})), y), z.rows(n));
  };
}

}  // namespace fm
