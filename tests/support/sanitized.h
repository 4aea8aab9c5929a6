// Whether AddressSanitizer watches this program. AddressSanitizer needs terabytes of address space and much memory of its own, so tests cannot limit
// address space or memory.
#pragma once

namespace fm::test {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer);
#else
constexpr bool sanitized = false;
#endif

}  // namespace fm::test
