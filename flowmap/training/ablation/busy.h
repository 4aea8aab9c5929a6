// The machine's other load during a timed measurement, from /proc: a time taken on a busy machine is an upper bound, and is reported as such.
#pragma once

#include <istream>
#include <optional>
#include <string>
#include <vector>

namespace fm {

// Clock ticks of all cores since the machine started, and those of this process.
struct CpuTicks {
  double busy = 0, all = 0, own = 0;
};

// From the first line of `stat`, which is /proc/stat; nothing where it is another line, or one of fewer numbers than Linux has written since 2.6.11.
std::optional<CpuTicks> cpu_ticks(std::istream& stat, double own);

// The share of all cores that others than this process were busy with; nothing where the time between is too short for a share.
std::optional<double> share_of_others(const CpuTicks& start, const CpuTicks& end);

class BusyWatch {
 public:
  BusyWatch();  // begins

  // The share of all cores that other processes, and the host of a virtual machine, took since then; no value where /proc has none.
  std::optional<double> others() const;

 private:
  static std::optional<CpuTicks> now();
  std::optional<CpuTicks> start_;
};

// "times: other work took 1 % of 2 cores, load 2.1, spread of rounds 3 %: a quiet machine". spreads: (largest - smallest) / median of the
// rounds, one a variant; busy from 10 % of the cores or a median spread of 20 % on.
// Where the share is not known, a load above half of the cores is busy too.
std::string busy_line(std::optional<double> others, const std::vector<double>& spreads);
std::string busy_line(std::optional<double> others, const std::vector<double>& spreads, double load, unsigned cores);      // of a machine of that load

}  // namespace fm
