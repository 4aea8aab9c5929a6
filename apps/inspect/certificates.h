// inspect --certify: each objective of the list under the closed-form checks of flowmap/certify.h.
#pragma once

#include "flowmap/objective/list.h"

namespace fm {

// Prints the table, a row per objective with its settings in `config`, as text or as CSV. Returns whether each objective meets its claims, and each negative
// control is found biased.
bool show_certificates(const ObjectiveConfig& config, bool csv);

}  // namespace fm
