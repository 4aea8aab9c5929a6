// The jumps that an objective trains, and the sampler that fits these jumps. Checkpoints store the sampler's name.
#pragma once

#include <cmath>
#include <iterator>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace fm {

enum class Jumps {
  any,                                   // u(z, s, t) for all s <= t: a sample takes one jump or several
  off_diagonal,                          // the same for s < t, without the velocity u(z, t, t)
  dyadic,                                // jumps of length d = 1, 1/2, 1/4 ... between multiples of d, and the velocity: a sample takes 1, 2, 4 ... calls
  to_data,                               // u(z, 0, t) alone: a sampler of several calls adds noise between them
  from_noise,                            // u(z, s, 1), and perhaps also u(z, t, t): a sample takes one call
  none,                                  // u(z, t, t) alone: samples follow its ODE
};

struct Sampler {
  Jumps jumps;
  const char* name;                      // in checkpoints
  const char* text;                      // in tables; empty: a sample takes any number of jumps
};
inline constexpr Sampler samplers[] = {
    {Jumps::any, "jumps", ""},
    {Jumps::off_diagonal, "jumps of s < t", ""},
    {Jumps::dyadic, "dyadic jumps", "takes 1, 2, 4 ... calls"},
    {Jumps::to_data, "renoised", "adds noise between calls"},
    {Jumps::from_noise, "one call", "takes 1 call"},
    {Jumps::none, "ode", "follows the ODE of u(z, t, t)"},
};
constexpr const Sampler& sampler_of(Jumps jumps) { return samplers[static_cast<std::size_t>(jumps)]; }
static_assert([] {
  for (std::size_t i = 0; i < std::size(samplers); ++i)
    if (samplers[i].jumps != static_cast<Jumps>(i)) return false;
  return true;
}(), "samplers has the order of Jumps");

// Returns the jumps of the sampler that a checkpoint names. Checkpoints of early versions name none (""): they were trained for any jump. FileError for a
// name that no sampler has.
inline Jumps jumps_of_sampler(std::string_view name) {
  if (name.empty()) return Jumps::any;
  for (const Sampler& s : samplers)
    if (s.name == name) return s.jumps;
  throw FileError("sampler '" + std::string(name) + "' is not known: the checkpoint is from a newer version of this program; use that version");
}

inline bool is_power_of_two(double x) {
  int exponent = 0;
  return std::frexp(x, &exponent) == 0.5;
}

inline bool trains(Jumps jumps, double s, double t) {
  switch (jumps) {
    case Jumps::any: return true;
    case Jumps::off_diagonal: return s < t;
    case Jumps::dyadic: return s == t || (is_power_of_two(1 / (t - s)) && std::floor(t / (t - s)) == t / (t - s));
    case Jumps::to_data: return s == 0;
    case Jumps::from_noise: return t == 1;
    case Jumps::none: return s == t;
  }
  return false;
}

// Whether a sample can be made with `calls` calls of equal length.
inline bool takes_calls(Jumps jumps, int calls) {
  if (jumps == Jumps::from_noise) return calls == 1;
  return jumps != Jumps::dyadic || is_power_of_two(calls);
}

// The minimum of an objective, in tables: the flow map of the given velocity, or another map (Claims::flow_map).
inline const char* aim_name(bool flow_map) { return flow_map ? "flow map" : "other"; }

}  // namespace fm
