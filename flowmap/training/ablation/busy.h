// What else the machine did while something was timed, from /proc: a time taken on a busy machine is an upper bound, and says so.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace fm {

class BusyWatch {
 public:
  BusyWatch();  // begins

  // The share of all cores that other processes, and the host where this is a virtual machine, took since then; nothing where /proc does not say.
  std::optional<double> others() const;

 private:
  struct Ticks {
    double busy = 0, all = 0, own = 0;  // of all cores, in clock ticks
  };
  static std::optional<Ticks> now();
  std::optional<Ticks> start_;
};

// "times: other work took 1 % of 2 cores, load 2.1, spread of rounds 3 %: a quiet machine". spreads: (largest - smallest) / median of the
// rounds, one a variant; busy from 10 % of the cores or a median spread of 20 % on.
std::string busy_line(std::optional<double> others, const std::vector<double>& spreads);

}  // namespace fm
