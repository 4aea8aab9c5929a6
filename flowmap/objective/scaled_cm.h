// Simplified continuous-time consistency (sCM; Lu and Song 2025): sCT from data, sCD from a teacher. s = 0 on every row, so u(z, 0, t) alone is trained.
//
//   g_r = (c^2 (1-t)^2 / m) (w - u) + r (1-t) t [ ((t - c^2 (1-t)) / m) (w - u) - m du/dt ],      m(t) = sqrt(c^2 (1-t)^2 + t^2)
//   g^  = g_r, or g_r / (|g_r| + normalise)
//   L   = (1-t)/t mean_sq( (m/c) (u - sg u) - sg g^ ),      with row_weight  e^-l L + l,  l(t) learned
//
// It is published for networks F on TrigFlow's path x_tau = cos(tau) x0 + sin(tau) c eps, tan(tau) = sigma/c, of data with deviation c. These are the same
// states, scaled: x_tau = c z_t / m and c F(x_tau, tau) = m u(z_t, 0, t) + ((c^2 (1-t) - t)/m) z_t with sigma = t/(1-t), and g_r is sCM's tangent of that
// F, so any network of u is suitable (tests/flowmap/scaled_cm.cpp has both sides). At r = 1 it is g = (1-t) m (w - u - t du/dt): continuous_cm with other
// weights. While r rises, it differs from continuous_cm with tangent.warmup, because r multiplies a part of w - u as well. g is 0 at the true map for
// r = 1 alone.
//
// w is the velocity source (sct; published with eps - z0), or the teacher (scd). The defaults are plain: the exact gradient, neither normalized nor
// weighed by l. Published: normalise = 0.1 and row_weight, the first of which moves the minimum where w is noise (claims()). l = log L at its minimum, so
// every t has the same share in the gradient, whatever the fixed weight. With norm = "rms" |g| is divided by the root of the number D of a row's elements,
// and L by D, so that its size stays: FastGen's form. Times are log-normal in sigma; the defaults are the published ones (mean -1, deviation 1.4 at
// c = 0.5) for data of unit variance. Published codes compute g in f64; this one uses the network's type.
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
    v("warmup", warmup, "share r of the tangent's part that needs a derivative");
    v("rcm_warmup", rcm_warmup, "first coefficient as in rCM while r rises: c (1-t) sqrt(1 - r^2 t^2 / m^2)");
    v("normalise", normalise, "constant c of g / (|g| + c), which replaces the tangent g; 0: off", at_least(0));
    v("norm", norm, "norm |g| in g / (|g| + c): of the row, or divided by the root of its number of elements (rms)", one_of({"row", "rms"}));
    v("sigma_weight", sigma_weight, "row weights 1 / sigma = (1-t) / t");
    v("row_weight", row_weight, "row weights from a learned log variance of t");
    v("time", time, "distribution of t");
    v("labels", labels, "label dropout");
    v("derivative", derivative, "du/dt");
  }

  // r from 0 to 1, linearly, up to `end` (a share of the training, or steps). Published: 10,000 steps.
  static Ramp until(double end);

  Claims claims() const;
  Drawn draw(const Batch& batch, const Nets& nets, const TrainingStep& now) const;
  Drawn complete(PathBatch p, const TrainingStep& now) const;
  std::string not_recorded(const std::string& keys) const;
  // ConfigError: r leaves [0, 1] or its schedule does not fit this number of steps.
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

// At given points, with Drawn::numbers "warmup" (complete()). metrics["raw_mse"] is the mean square of g_r, not normalized.
ObjectiveLoss scaled_cm(const FlowMapNet& net, const Drawn& drawn, const VelocitySource& velocity, const ScaledCmConfig& config,
                        const LogVariance& log_variance = {});

}  // namespace fm
