// Whether AddressSanitizer watches this program: it needs terabytes of address space and much memory of its own, so limits of either are meaningless.
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
