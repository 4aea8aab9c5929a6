#include "apps/inspect/flops.h"

#include <fmt/format.h>

#include "nn/flops/known_models.h"

namespace fm {
namespace {

double giga(std::int64_t macs) { return static_cast<double>(macs) / 1e9; }

std::string cost_cells(const ModuleCost& c) { return fmt::format("{},{},{}", c.parameters, c.macs_linear, c.macs_attention); }

// Name, parameters, and GMACs of linear layers, of attention and of both.
std::string heading(const char* name) {
  return fmt::format("{:<36} {:>13} {:>12} {:>12} {:>12}", name, "parameters", "linear, conv", "attention", "total");
}
std::string line(const std::string& name, const ModuleCost& c) {
  return fmt::format("{:<36} {:>13} {:>12.3f} {:>12.3f} {:>12.3f}", name, c.parameters, giga(c.macs_linear), giga(c.macs_attention),
                     giga(c.macs()));
}

std::string paper_cell(const KnownModel& m) { return m.paper_gflops ? std::to_string(m.paper_gflops) : ""; }

}  // namespace

std::string flops_of_all(bool csv) {
  std::string out =
      csv ? "model,parameters,macs_linear,macs_attention,paper_gflops\n"
          : "GMACs (10^9 multiply-adds) per sample. The paper's \"GFLOPS\" are the GMACs of linear layers and convolutions alone, without\n"
            "the fraction (157 is rounded). --flops MODEL lists one model by module.\n" +
                heading("model") + fmt::format(" {:>6}\n", "paper");
  for (const KnownModel& m : known_models()) {
    const ModuleCost sum = total(m.modules);
    if (csv)
      out += fmt::format("{},{},{}\n", m.name, cost_cells(sum), paper_cell(m));
    else
      out += fmt::format("{} {:>6}\n", line(m.name, sum), paper_cell(m));
  }
  return out;
}

std::string flops_by_module(const std::string& model, bool csv) {
  const KnownModel m = known_model(model);
  CostTable rows = m.modules;
  rows.push_back(total(m.modules));
  std::string out = csv ? "module,parameters,macs_linear,macs_attention\n"
                        : fmt::format("{}: {}; GMACs per sample\n{}\n", m.name, m.source, heading("module"));
  for (const ModuleCost& c : rows) out += (csv ? c.module + "," + cost_cells(c) : line(c.module, c)) + "\n";
  return out;
}

}  // namespace fm
