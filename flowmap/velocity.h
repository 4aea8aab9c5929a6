// Velocities that a target may be built from. A source sees the batch on the path and gives w (B, ...) without history.
//
//   one-point   w = eps - z0                                    unbiased, noisy: MeanFlow training (MFT)
//   teacher     w = v_phi(z_t, t)                               no variance, the teacher's bias: MeanFlow distillation (MFD)
//   blend       w = (1-l)(eps - z0) + l v_phi(z_t, t)           the dial between them (MF-RAE, Prop. 3.1)
#pragma once

#include "flowmap/batch.h"

namespace fm {

using VelocitySource = std::function<Tensor(const PathBatch&)>;

VelocitySource one_point();
VelocitySource teacher(VelocityNet v);
VelocitySource blend(double lambda, VelocitySource teacher);       // lambda 0 and 1 cost nothing more than their one term

// By name: "teacher", "one-point" (or empty), "blend=L". The teacher may be empty where it is not called.
VelocitySource velocity_source(const std::string& name, const VelocityNet& teacher);
// Of such a name, how much of w the teacher gives: 1, 0, L. ConfigError for another name.
double teacher_share(const std::string& name);

// Guidance acts where low <= t <= high.
struct Interval {
  double low = 0, high = 1;
};

// Classifier-free guidance:  v_null + scale (v_y - v_null), both in one call on twice the rows. Scale 1 is v itself.
VelocityNet cfg(VelocityNet v, double scale, std::int64_t null_label, Interval interval = {});
// Autoguidance (Karras et al. 2024):  v_weak + scale (v - v_weak), both with the same labels.
VelocityNet autoguidance(VelocityNet v, VelocityNet weak, double scale, Interval interval = {});

}  // namespace fm
