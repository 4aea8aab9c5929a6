// Configs as JSON, the form they have inside checkpoints: nested objects, one member per field.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "nn/config/visit.h"

namespace fm {

// JSON has no infinity: it is written as the word "inf" or "-inf".
nlohmann::ordered_json fields_to_json(const std::vector<Field>& fields);

}  // namespace fm
