#include "flowmap/training/ablation/busy.h"

#include <fmt/format.h>
#include <sys/times.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

#include "data/report/statistics.h"

namespace fm {
namespace {

constexpr double fewest_ticks = 50;      // of all cores; in a shorter time a share has no meaning

}  // namespace

// proc(5), the first line of /proc/stat: user nice system idle iowait irq softirq steal ...
std::optional<BusyWatch::Ticks> BusyWatch::now() {
  std::ifstream stat("/proc/stat");
  std::string name;
  double field[8] = {};
  if (!(stat >> name) || name != "cpu") return std::nullopt;
  for (double& f : field)
    if (!(stat >> f)) return std::nullopt;
  Ticks ticks;
  for (int i = 0; i < 8; ++i) ticks.all += field[i];
  ticks.busy = ticks.all - field[3] - field[4];
  tms own{};
  times(&own);
  ticks.own = static_cast<double>(own.tms_utime + own.tms_stime);
  return ticks;
}

BusyWatch::BusyWatch() : start_(now()) {}

std::optional<double> BusyWatch::others() const {
  const auto end = now();
  if (!start_ || !end || end->all < start_->all + fewest_ticks) return std::nullopt;
  const double other = (end->busy - start_->busy) - (end->own - start_->own);
  return std::clamp(other / (end->all - start_->all), 0.0, 1.0);
}

std::string busy_line(std::optional<double> others, const std::vector<double>& spreads) {
  const double apart = spreads.empty() ? 0 : median(spreads);
  double load[1] = {std::nan("")};
  if (getloadavg(load, 1) != 1) load[0] = std::nan("");
  const unsigned cores = std::thread::hardware_concurrency();
  const bool busy = others.value_or(0) > 0.1 || apart > 0.2 || (!others && load[0] > 0.5 * cores);
  return fmt::format("times: {} {} cores, load {:.1f}, spread of rounds {:.0f} %: {}",
                     others ? fmt::format("other work took {:.0f} % of", 100 * *others) : "other work is unknown on",
                     cores, load[0], 100 * apart,
                     busy ? "a busy machine, compare s/step with care" : others ? "a quiet machine" : "too short to tell whether the machine was busy");
}

}  // namespace fm
