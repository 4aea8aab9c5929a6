// Samples by a stochastic differential equation that has the flow's distribution at every time (SiT, Ma et al. 2024, equation 4). From t to t - h:
//
//   z <- z - h d + sqrt(2 w(t) h) n,   d = v(z, t) - w(t) score(z, t),   score = -(z + (1-t) v) / t,   n ~ N(0, 1)
//
// The score follows from the velocity because z = (1-t) x + t e:  e = z + (1-t) v and score = -E[e | z] / t. With w = 0 this is Euler's method on the ODE.
// Noise added at one step is partly removed by the later ones, and an error of v in an early step with it; that is why SiT and REG publish scores of SDE samples.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flowmap/network.h"

namespace fm {

// w(t). The formulas of SiT at our times (t = 1 is noise, SiT's is 0). SiT's `linear` is the same as `sigma` on this path.
enum class Diffusion {
  sigma,                                    // t; SiT's default, and that of REPA and REG
  constant,                                 // 1
  sbdm,                                     // t / (1 - t): infinite at t = 1, so it starts at 0.999
  decreasing,                               // (cos(pi (1 - t)) + 1)^2 / 4
  increasing_decreasing,                    // sin(pi t)^2
};
inline constexpr const char* usual_diffusion = "sigma";
std::vector<std::string> diffusion_names();              // the names, with SiT's "linear" for sigma
Diffusion diffusion_named(const std::string& name);      // ConfigError for a name that is not in the list
double diffusion_at(Diffusion form, double t);

// What the last step, from t = `last` to 0, does without noise.
enum class LastStep {
  mean,                                     // z - t d: SiT, REPA and REG. Right only if w(t) is about t or less there: with `constant` take tweedie
  tweedie,                                  // z - t v, the expected data
  none,                                     // leaves the sample at t = `last`
};

std::vector<std::string> last_step_names();
LastStep last_step_named(const std::string& name);       // ConfigError for a name that is not in the list

struct SdeConfig {
  Diffusion diffusion = Diffusion::sigma;
  double scale = 1;                         // factor of w
  std::int64_t calls = 250;                 // of the network: calls - 1 steps with noise, evenly from 1 to `last`, then the last step (`none`: one call fewer)
  double last = 0.04;
  LastStep last_step = LastStep::mean;
};

// noise (B, ...). The added noise follows from each row's own, so a sample is the same in any batch. ConfigError: calls < 2, a negative scale, or `last`
// not between 0 and the first time, which is 1, or 0.999 for sbdm.
Tensor sample_sde(const VelocityNet& v, const Tensor& noise, const Labels& y, const SdeConfig& config = {});

}  // namespace fm
