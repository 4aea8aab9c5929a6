// Helpers for messages and the text of files.
#pragma once

#include <algorithm>
#include <string>

namespace fm::test {

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
inline long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace fm::test
