// Measures, from /proc, how much other processes use the machine during a timed measurement. A time from a busy machine is only an upper bound, and
// reports say so.
#pragma once

#include <istream>
#include <optional>
#include <string>
#include <vector>

namespace fm {

// Clock ticks: of all cores since the machine started (busy, all), and of this process (own).
struct CpuTicks {
  double busy = 0, all = 0, own = 0;
};

// Parses the first line of /proc/stat. Returns nothing if `stat` does not begin with that line, or if the line has fewer than the eight numbers that
// Linux has written since 2.6.11.
std::optional<CpuTicks> cpu_ticks(std::istream& stat, double own);

// Returns the share of all cores' time that other processes used between `start` and `end`; nothing if that time is too short for a share.
std::optional<double> share_of_others(const CpuTicks& start, const CpuTicks& end);

class BusyWatch {
 public:
  BusyWatch();  // begins the measurement

  // Returns the share of all cores' time that other processes, and the host of a virtual machine, have used since the measurement began. Returns
  // nothing if that time is too short or /proc/stat is unreadable.
  std::optional<double> others() const;

 private:
  static std::optional<CpuTicks> now();
  std::optional<CpuTicks> start_;
};

// Returns "times: other work took 1 % of 2 cores, load 2.1, spread of rounds 3 %: a quiet machine". spreads: for each variant, (largest - smallest) /
// median of its rounds. The machine counts as busy if other work took more than 10 % of the cores, if the median of `spreads` is above 20 %, or, where
// `others` is unknown, if the load is above half of the cores.
std::string busy_line(std::optional<double> others, const std::vector<double>& spreads);
// Returns the same line for a given load average and number of cores.
std::string busy_line(std::optional<double> others, const std::vector<double>& spreads, double load, unsigned cores);

}  // namespace fm
