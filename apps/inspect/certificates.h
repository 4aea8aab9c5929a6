// inspect --certify: runs the closed-form checks of flowmap/certify.h on each objective of the list.
#pragma once

#include "flowmap/objective/list.h"

namespace fm {

// Prints the table as text or as CSV, with one row per objective in its settings of `config`. Returns whether each objective meets its claims and each
// negative control contradicts its claims.
bool show_certificates(const ObjectiveConfig& config, bool csv);

}  // namespace fm
