// Velocity sources: the velocity w in a target. A source is called with the batch on the path and returns w (B, ...) without history.
//
//   one-point   w = eps - z0                                    unbiased, noisy: MeanFlow training (MFT)
//   teacher     w = v_phi(z_t, t)                               no variance, the teacher's bias: MeanFlow distillation (MFD)
//   joint       w = v_phi(z_t, k_t, t), the velocity of z       a little variance, that of k_t given z_t: a teacher that moves z and k together (REG)
//   blend       w = (1-l)(eps - z0) + l v_phi(z_t, t)           the trade-off between them (MF-RAE, Prop. 3.1)
#pragma once

#include <cmath>

#include "flowmap/batch.h"

namespace fm {

using VelocitySource = std::function<Tensor(const PathBatch&)>;

VelocitySource one_point();
VelocitySource teacher(VelocityNet v);
// A teacher of rows (z | k), (B, numbers of z and k). k_t = (1-t) k + t noise, with PathBatch::beside and its noise. The mean of w over k_t given z_t
// and the label is the velocity of z alone (the tower property), so a network of z learns the same as from a teacher of z. With guidance this holds only where
// k says nothing about the label: of v(null) the mean is taken over the k of this label, not of all. Error if the batch has no k.
VelocitySource joint_teacher(VelocityNet rows);
VelocitySource blend(double lambda, VelocitySource teacher);       // with lambda 0 or 1 only one term is computed

// The source of this name: "teacher", "one-point" (or empty), "blend=L". `teacher` may be empty if the source does not call it; `joint`: it is one of rows
// (z | k).
VelocitySource velocity_source(const std::string& name, const VelocityNet& teacher, bool joint = false);
// The teacher's share of w in the source of this name: 1, 0 or L. ConfigError for another name.
double teacher_share(const std::string& name);

// Guidance acts where low <= t <= high, with the bounds rounded to the type of t.
struct Interval {
  double low = 0, high = 1;
};

// Guidance inside a target, by the trained network itself. If t is outside the interval or the row has no label, w is `given`. Otherwise
//   w = omega given + kappa v(z, t, y) + (1 - omega - kappa) v(z, t, null)
// v is trained towards w, so its fixed point has guidance of scale omega / (1 - kappa):  v = null + omega / (1 - kappa) (given - null).
struct SelfGuidance {
  double omega = 1, kappa = 0;           // 1 and 0: no guidance
  Interval interval = {};
  std::int64_t null_label = 1000;

  // Exactly 0 also where 1 - omega - kappa leaves a rounding error, as at 0.7 and 0.3: the velocity without a label is then not computed.
  double of_null() const { return std::abs(1 - omega - kappa) < 1e-12 ? 0 : 1 - omega - kappa; }
  bool acts() const { return kappa != 0 || of_null() != 0; }
  double calls() const { return (kappa != 0 ? 1 : 0) + (of_null() != 0 ? 1 : 0); }       // calls of the trained network, each on all rows
};

// ConfigError if the interval is empty, or if w contains the network's velocity without a label and no label is ever dropped. `keys`: the objective's path in
// the config, whose settings low, high and labels.probability the message names.
void check_guidance(const SelfGuidance& guidance, const LabelDropout& labels, const std::string& keys);

// The network's own velocities at all points, with and without labels, computed in one call and without history. A velocity whose factor in w is 0 stays
// undefined. ConfigError for a batch without labels.
struct OwnVelocities {
  Tensor labelled, unlabelled;           // (B, ...)
};
OwnVelocities own_velocities(const VelocityNet& v, const PathBatch& p, const SelfGuidance& guidance);
// The guided w of p's rows (B, ...). Reads nothing back from the device.
Tensor guided(const PathBatch& p, const Tensor& given, const OwnVelocities& own, const SelfGuidance& guidance);
// The source that computes own_velocities(), then guided().
VelocitySource self_guided(VelocityNet v, VelocitySource given, const SelfGuidance& guidance);

// Classifier-free guidance:  v_null + scale (v_y - v_null), both in one call on twice the rows. Scale 1 is v itself.
VelocityNet cfg(VelocityNet v, double scale, std::int64_t null_label, Interval interval = {});
// Autoguidance (Karras et al. 2024):  v_weak + scale (v - v_weak), both with the same labels.
VelocityNet autoguidance(VelocityNet v, VelocityNet weak, double scale, Interval interval = {});

}  // namespace fm
