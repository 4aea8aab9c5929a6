// Which jumps an objective trains, and so how samples are made of what it trained. Checkpoints note it by the sampler's name.
#pragma once

#include <cmath>
#include <string>
#include <string_view>

#include "tensor/error.h"

namespace fm {

enum class Jumps {
  any,                                   // u(z, s, t) for all s <= t: a sample takes one jump or several
  off_diagonal,                          // the same for s < t, without the velocity u(z, t, t)
  dyadic,                                // lengths of 1, 1/2, 1/4 ... at their multiples, and the velocity: 1, 2, 4 ... calls
  to_data,                               // u(z, 0, t) alone: a sampler of several calls adds noise between them
  from_noise,                            // u(z, s, 1), and at most u(z, t, t) beside it: a sample takes one call
  none,                                  // u(z, t, t) alone: samples follow its ODE
};

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

// Whether a sample can take so many calls of equal length.
inline bool takes_calls(Jumps jumps, int calls) {
  if (jumps == Jumps::from_noise) return calls == 1;
  return jumps != Jumps::dyadic || is_power_of_two(calls);
}
inline std::string calls_text(Jumps jumps) { return jumps == Jumps::from_noise ? "jumps from noise alone: 1 call" : "jumps of dyadic lengths: 1, 2, 4 ... calls"; }

inline std::string sampler_name(Jumps jumps) {
  switch (jumps) {
    case Jumps::any: return "jumps";
    case Jumps::off_diagonal: return "jumps of s < t";
    case Jumps::dyadic: return "dyadic jumps";
    case Jumps::to_data: return "renoised";
    case Jumps::from_noise: return "one call";
    case Jumps::none: return "ode";
  }
  return "";
}

// "": a checkpoint without a note, of a time when any jumps were trained. Error for a name of no sampler.
inline Jumps jumps_of_sampler(std::string_view name) {
  if (name.empty()) return Jumps::any;
  for (const Jumps jumps : {Jumps::any, Jumps::off_diagonal, Jumps::dyadic, Jumps::to_data, Jumps::from_noise, Jumps::none})
    if (sampler_name(jumps) == name) return jumps;
  throw FileError("sampler '" + std::string(name) + "': known are jumps, jumps of s < t, dyadic jumps, renoised, one call and ode; it was stored by a newer build");
}

// For tables; empty for jumps.
inline std::string sampler_text(Jumps jumps) {
  switch (jumps) {
    case Jumps::any:
    case Jumps::off_diagonal: return "";
    case Jumps::dyadic: return "takes 1, 2, 4 ... calls";
    case Jumps::to_data: return "adds noise between calls";
    case Jumps::from_noise: return "takes one call";
    case Jumps::none: return "follows the ODE of u(z, t, t)";
  }
  return "";
}

// What the minimum of an objective is: the flow map of the velocity that it is given, or something else with the right samples (Claims::flow_map).
inline std::string aim_name(bool flow_map) { return flow_map ? "flow map" : "other"; }

}  // namespace fm
