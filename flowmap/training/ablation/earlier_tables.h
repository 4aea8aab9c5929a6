// What happens to the tables of an ablation when the next one of the same --what compares something else.
#pragma once

#include <filesystem>
#include <string>

#include "nn/training/messages.h"

namespace fm {

// To be called before tables are written. `comparison` says what they are of; it is kept beside them, as comparison.txt. Tables of another comparison
// move to FOLDER/earlier-<n>, which is said; those of the same one stay and are replaced. FileError.
void keep_earlier_tables(const std::filesystem::path& folder, const std::string& comparison, Messages& log);

}  // namespace fm
