#include "flowmap/training/ablation/busy.h"

#include <fmt/format.h>
#include <sys/times.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "data/report/statistics.h"

namespace fm {
namespace {

constexpr double fewest_ticks = 50;      // clock ticks of all cores together; a shorter time gives no meaningful share

}  // namespace

// proc(5): user nice system idle iowait irq softirq steal ...
std::optional<CpuTicks> cpu_ticks(std::istream& stat, double own) {
  std::string name;
  double field[8] = {};
  if (!(stat >> name) || name != "cpu") return std::nullopt;
  for (double& f : field)
    if (!(stat >> f)) return std::nullopt;
  CpuTicks ticks{.own = own};
  for (const double f : field) ticks.all += f;
  ticks.busy = ticks.all - field[3] - field[4];
  return ticks;
}

std::optional<double> share_of_others(const CpuTicks& start, const CpuTicks& end) {
  if (end.all < start.all + fewest_ticks) return std::nullopt;
  const double other = (end.busy - start.busy) - (end.own - start.own);
  return std::clamp(other / (end.all - start.all), 0.0, 1.0);
}

std::optional<CpuTicks> BusyWatch::now() {
  std::ifstream stat("/proc/stat");
  tms own{};
  times(&own);
  return cpu_ticks(stat, static_cast<double>(own.tms_utime + own.tms_stime));
}

BusyWatch::BusyWatch() : start_(now()) {}

std::optional<double> BusyWatch::others() const {
  const auto end = now();
  return start_ && end ? share_of_others(*start_, *end) : std::nullopt;
}

std::string busy_line(std::optional<double> others, const std::vector<double>& spreads) {
  double load[1] = {std::nan("")};
  if (getloadavg(load, 1) != 1) load[0] = std::nan("");
  return busy_line(others, spreads, load[0], std::thread::hardware_concurrency());
}

std::string busy_line(std::optional<double> others, const std::vector<double>& spreads, double load, unsigned cores) {
  const double apart = spreads.empty() ? 0 : median(spreads);
  const bool busy = others.value_or(0) > 0.1 || apart > 0.2 || (!others && load > 0.5 * cores);
  return fmt::format("times: {} {} cores, load {:.1f}, spread of rounds {:.0f} %: {}",
                     others ? fmt::format("other work took {:.0f} % of", 100 * *others) : "other work is unknown on",
                     cores, load, 100 * apart,
                     busy ? "a busy machine, compare s/step with care" : others ? "a quiet machine" : "too short to tell whether the machine was busy");
}

}  // namespace fm
