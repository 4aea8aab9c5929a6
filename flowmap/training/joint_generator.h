// A network that moves two variables together, such as the latent z and the class token k of REG (nn/models/dit.h): their velocities depend on both, and
// only one is the sample.
//
// Solvers, the SDE and guidance know one state. Here it is a row with the numbers of z, then those of k, so that all of them apply as they are. As a teacher
// the network gives w at the k of each image (joint_teacher in flowmap/velocity.h).
#pragma once

#include <functional>
#include <utility>

#include "flowmap/training/generator.h"
#include "flowmap/training/network.h"

namespace fm {

// The velocity of rows (B, numbers of z and k). `z` and `k`: shapes of one sample.
VelocityNet on_joined_rows(JointVelocityNet net, Shape z, Shape k);

// A network's velocity as samplers and trainings call it: v(z, t, y), or, with `beside` numbers of k above 0, that of rows (z | k). `z`: shape of one sample.
struct TeacherVelocity {
  VelocityNet v;
  std::int64_t beside = 0;
};
TeacherVelocity teacher_velocity(const Network& network, const Shape& z);

// A generator of z from one of joined rows: gives k noise of its own, N(0, I), and leaves its result out. The noise of a sample's k follows from that of
// its z, so a sample is the same in any batch.
LatentGenerator first_of_joined(LatentGenerator joined, Shape z, Shape k);

}  // namespace fm
