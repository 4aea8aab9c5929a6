// Samples by an ODE solver that chooses its own steps: Dormand and Prince 1980, of order 5 with an estimate of order 4, the method of torchdiffeq's
// dopri5, SiT's default. A step is accepted if its error,
//
//   E = rms over all elements of  err / (absolute + relative max(|z|, |z'|)),
//
// is at most 1, and the next step is 0.9 E^(-1/5) times as long, at least a fifth and at most ten times (Hairer, Noersett, Wanner, Solving Ordinary
// Differential Equations I, II.4). The last slope of a step is the first of the next one: six calls of the network a step, and two more at the start.
//
// torchdiffeq chooses other steps: it never shortens the step after an accepted one, and it steps beyond the end and interpolates back. Here a step may shrink
// after an accepted one too, and the last step ends at `to`. So samples agree within the tolerances, not in all digits.
//
// E is one number for the whole batch, so the last digits of a sample depend on its batch. They differ by about the tolerance.
#pragma once

#include <cstdint>

#include "flowmap/network.h"

namespace fm {

struct AdaptiveOde {
  double absolute = 1e-6, relative = 1e-3;               // tolerances; SiT's
  double from = 1, to = 0;
  std::int64_t most_steps = 10000;                       // accepted and rejected ones; Error if they do not suffice
};

struct AdaptiveSamples {
  Tensor samples;
  std::int64_t calls = 0, steps = 0, rejected = 0;       // calls of the network; accepted and rejected steps
};

// noise (B, ...) at time `from`. ConfigError for tolerances that are not positive, or times that do not fall. Error if a slope is not finite.
AdaptiveSamples sample_adaptive(const VelocityNet& v, const Tensor& noise, const Labels& y, const AdaptiveOde& ode = {});

}  // namespace fm
