// Checks of messages: CHECK(mentions(error_of([&] { load(file); }), {"weights.pt", "3 rows", "--fresh"})). A test names the thing, the value and
// the remedy, in their order, so that the sentence around them may change.
#pragma once

#include <doctest/doctest.h>

#include <ostream>
#include <string>
#include <vector>

namespace fm::test {

// The result of mentions(). doctest prints it when the check fails.
struct Mentions {
  std::string text, missing;
  bool all;
  explicit operator bool() const { return all; }
};

inline std::ostream& operator<<(std::ostream& out, const Mentions& m) { return out << "\"" << m.missing << "\" is missing or misplaced in: " << m.text; }

// Whether the text contains these parts one after another.
inline Mentions mentions(const std::string& text, const std::vector<std::string>& parts) {
  std::size_t at = 0;
  for (const std::string& part : parts) {
    const std::size_t found = text.find(part, at);
    if (found == std::string::npos) return {text, part, false};
    at = found + part.size();
  }
  return {text, "", !parts.empty()};
}

}  // namespace fm::test
