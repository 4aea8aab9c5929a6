// Tables of the costs of models, for `inspect --flops`. The costs are those of one sample; GMACs are 10^9 multiply-adds.
#pragma once

#include <string>

namespace fm {

// One line per model. As CSV: model, parameters, macs_linear, macs_attention, paper_gflops (empty if the paper has none).
std::string flops_of_all(bool csv);

// One line per module, and the total. As CSV: module, parameters, macs_linear, macs_attention. ConfigError for an unknown name.
std::string flops_by_module(const std::string& model, bool csv);

}  // namespace fm
