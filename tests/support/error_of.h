// The text of an error, for tests that inspect it.
#pragma once

#include <string>

#include "tensor/error.h"

namespace fm::test {

// The message of the E that f throws; "no error" if f throws nothing. Other exceptions pass through.
template <class E = Error, class F> std::string error_of(const F& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace fm::test
