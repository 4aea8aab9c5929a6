// Simplified continuous-time consistency (sCM; Lu and Song 2025): sCT from data, sCD from a teacher. s = 0 on every row, so u(z, 0, t) alone is trained.
//
//   g_r = (c^2 (1-t)^2 / m) (w - u) + r (1-t) t [ ((t - c^2 (1-t)) / m) (w - u) - m du/dt ],      m(t) = sqrt(c^2 (1-t)^2 + t^2)
//   g^  = g_r, or g_r / (|g_r| + normalise)
//   L   = (1-t)/t mean_sq( (m/c) (u - sg u) - sg g^ ),      with row_weight  e^-l L + l,  l(t) learned
//
// sCM is published for networks F on TrigFlow's path x_tau = cos(tau) x0 + sin(tau) c eps, tan(tau) = sigma/c, of data with deviation c. With
// sigma = t/(1-t) its states are those of this project's path, scaled: x_tau = c z_t / m. F follows from u,
// c F(x_tau, tau) = m u(z_t, 0, t) + ((c^2 (1-t) - t)/m) z_t, and g_r is sCM's tangent of that F. So any network of u is suitable
// (tests/flowmap/scaled_cm.cpp compares both forms). At r = 1, g_r is (1-t) m (w - u - t du/dt), which is continuous_cm with other weights. While r rises,
// it differs from continuous_cm with tangent.warmup, because r also multiplies a part of w - u. At the true map g_r is 0 only for r = 1.
//
// w is the velocity source (sct; published with eps - z0), or the teacher (scd). The defaults are plain: the exact gradient, neither normalized nor
// weighed by l. Published settings are normalise = 0.1 and row_weight; normalise moves the minimum if w is noisy (claims()). With row_weight the loss is
// minimal at l = log L, so every t has the same share in the gradient, for any fixed weight. norm = "rms" (FastGen's form) divides |g| by sqrt(D) and L by D,
// where D is the number of a row's elements. Times are log-normal in sigma. The defaults are the published numbers (mean -1, deviation 1.4 at c = 0.5),
// converted to data of unit variance. Published codes compute g in f64; this code uses the network's type.
#pragma once

#include "flowmap/objective/entry.h"

namespace fm {

struct ScaledCmConfig {
  double data_deviation = 1;
  Ramp warmup = until(0.2);
  bool rcm_warmup = false;
  double normalise = 0;
  std::string norm = "row";
  bool sigma_weight = true;
  bool row_weight = false;
  TimeConfig time{"logit_normal", -0.307, 1.4};
  LabelDropout labels;
  DerivativeConfig derivative;
  template <class V> void visit(V&& v) {
    v("data_deviation", data_deviation, "standard deviation c of the data", above(0));
    v("warmup", warmup, "factor r of the tangent's part that contains du/dt");
    v("rcm_warmup", rcm_warmup,
      "rCM's form of the tangent's first coefficient while r (warmup) rises: c (1-t) sqrt(1 - (r t / m)^2), with m^2 = (c (1-t))^2 + t^2; false: sCM's, "
      "(c (1-t))^2 / m");
    v("normalise", normalise, "constant a: the tangent g is replaced by g / (|g| + a); 0: g is not replaced", at_least(0));
    v("norm", norm, "norm |g| in g / (|g| + a): the root of the sum (row) or of the mean (rms) of a row's squares", one_of({"row", "rms"}));
    v("sigma_weight", sigma_weight, "row weights 1 / sigma = (1-t) / t; false: equal weights");
    v("row_weight", row_weight, "row weights from a learned log variance of t; false: these weights are 1");
    v("time", time, "distribution of t");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "method for du/dt");
  }

  // r rises linearly from 0 to 1 until `end`, which is a share of the training or, above 1, a number of steps. Published: 10,000 steps.
  static Ramp until(double end);

  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  std::string not_recorded(const std::string& keys) const;
  // ConfigError if r leaves [0, 1] or its schedule does not fit this number of steps.
  void check(const std::string& keys, std::int64_t steps) const;
};

struct SctConfig : ScaledCmConfig {
  static constexpr std::string_view name = "sct", says = "sCM's consistency training: u(z, 0, t) alone, towards the velocity source (sCT)";
  Needs needs() const;
  static SctConfig published();
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
};

struct ScdConfig : ScaledCmConfig {
  static constexpr std::string_view name = "scd", says = "sCM's consistency distillation: u(z, 0, t) alone, towards the teacher (sCD)";
  Needs needs() const;
  static ScdConfig published();
  ObjectiveLoss loss(const Nets& nets, const Drawn& drawn) const;
};

// g_r without normalization, of rows with s = 0. t, r (B); w, u, dudt (B, ...).
Tensor scaled_cm_tangent(const Tensor& t, const Tensor& r, const Tensor& w, const Tensor& u, const Tensor& dudt, const ScaledCmConfig& config);

// The loss at given points, to which complete() has added r as "warmup". metrics["raw_mse"] is the mean square of g_r before normalization.
ObjectiveLoss scaled_cm(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const ScaledCmConfig& config,
                        const LogVariance& log_variance = {});

}  // namespace fm
