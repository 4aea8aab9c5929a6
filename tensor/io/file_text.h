// Names that come from files, in error messages.
#pragma once

#include <string>
#include <string_view>

namespace fm {

// Short, on one line, in double quotes.
inline std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 100;
  std::string s(name.substr(0, longest));
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return "\"" + s + (name.size() > longest ? "...\"" : "\"");
}

}  // namespace fm
