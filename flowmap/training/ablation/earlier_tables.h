// Keeps the tables of an ablation when the next ablation with the same --what compares something else.
#pragma once

#include <filesystem>
#include <string>

#include "nn/training/messages.h"

namespace fm {

// Called before tables are written. `comparison` describes what the tables compare, and is stored beside them as comparison.txt. Tables of another
// comparison are moved to FOLDER/earlier-<n>, which is logged. Tables of the same comparison stay, and the new ones replace them. FileError if a file
// cannot be moved or written.
void keep_earlier_tables(const std::filesystem::path& folder, const std::string& comparison, Messages& log);

}  // namespace fm
