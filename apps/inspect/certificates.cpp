#include "apps/inspect/certificates.h"

#include <algorithm>

#include "apps/cli/console.h"
#include "flowmap/certify.h"

namespace fm {
namespace {

struct Line {
  std::string name;
  Objective objective;
  bool control = false;                  // a negative control claims too much, and the checks must find that
};

std::vector<Line> lines_of(const ObjectiveConfig& config) {
  std::vector<Line> out;
  for (const std::string& name : objective_names()) out.push_back({name, without_clamps(config, name)});
  for (auto& [name, objective] : negative_controls()) out.push_back({name, std::move(objective), true});
  return out;
}

std::string number(double x, bool known) { return known ? fmt::format("{:.2g}", x) : "-"; }

std::string verdict(const Certificate& found) {
  const std::string residual = found.exact() ? "exact" : "not exact";
  if (found.gaussian.empty()) return residual;
  if (found.unbiased()) return residual + ", unbiased";
  return residual + (found.biased() ? fmt::format(", biased by {:.2g}", std::max(largest(found.gaussian), largest(found.mixture))) : ", bias indistinguishable from 0");
}

}  // namespace

bool show_certificates(const ObjectiveConfig& config, bool csv) {
  const char* row = csv ? "{},{},{},{},{},{}\n" : "{:<28} {:>9} {:>10} {:>10}  {:<30} {}\n";
  if (!csv)
    print_result("residual: its largest mean square at the exact map with exact velocities. gradient, mixture: largest expected gradient at the exact map with\n"
                 "w = eps - z0, on a Gaussian and on a mixture of two (flowmap/certify.h). Schedules are at their end, clamps are off. Settings: {}.\n\n",
                 config.preset == "published" ? "published, where an objective has published settings" : "plain");
  print_result(fmt::runtime(row), "objective", "residual", csv ? "gradient_gaussian" : "gradient", csv ? "gradient_mixture" : "mixture", "verdict", "why");
  bool all = true;
  for (const Line& line : lines_of(config)) {
    const Certificate found = certify(line.objective);
    std::string why = line.objective.claims.why;
    if (const std::string wrong = contradiction(line.objective.claims, found); wrong.empty() == line.control) {
      all = false;
      why = line.control ? "UNDETECTED: this control must contradict its claim" : "CONTRADICTION: " + wrong;
    } else if (line.control) {
      why = "negative control: " + wrong;
    }
    if (csv) std::replace(why.begin(), why.end(), ',', ';');
    std::string said = verdict(found);
    if (csv) std::replace(said.begin(), said.end(), ',', ';');
    print_result(fmt::runtime(row), line.name, number(found.residual, true), number(largest(found.gaussian), !found.gaussian.empty()),
                 number(largest(found.mixture), !found.mixture.empty()), said, why);
  }
  if (!csv) print_result("\n{}\n", all ? "Every objective meets its claims, and every negative control was detected." : "At least one claim does not hold.");
  return all;
}

}  // namespace fm
