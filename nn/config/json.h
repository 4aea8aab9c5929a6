// Configs as JSON, the form they have inside checkpoints: nested objects, one member per field.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "nn/config/visit.h"

namespace fm {

// Infinity, which JSON does not have, becomes the text "inf" or "-inf".
nlohmann::ordered_json fields_to_json(const std::vector<Field>& fields);

}  // namespace fm
