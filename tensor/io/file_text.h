// Makes text that comes from a file (names of tensors and members, headers, errors of a parser about them) safe to print in messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fm {

// Returns about the first `longest` bytes of a text, on one line. Control characters, marks that change the writing direction and bytes that are not
// UTF-8 become escapes (\n, \u202e, \xff), so that a file cannot control the terminal. A longer text ends in "...".
std::string one_line(std::string_view text, std::size_t longest = 100);

// The same in double quotes.
inline std::string in_quotes(std::string_view name) { return '"' + one_line(name) + '"'; }

// "a list", "an object".
inline std::string with_article(const std::string& noun) {
  const bool vowel = !noun.empty() && std::string_view("aeiouAEIOU").find(noun[0]) != std::string_view::npos;
  return (vowel ? "an " : "a ") + noun;
}

bool is_utf8(std::string_view text);

}  // namespace fm
