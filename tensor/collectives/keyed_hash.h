// HMAC-SHA-256: how ranks prove that they have the same secret without sending it (FIPS 180-4, RFC 2104; tested with the values of RFC 4231).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fm {

using Digest = std::array<std::uint8_t, 32>;

Digest sha256(std::string_view bytes);
Digest hmac_sha256(std::string_view key, std::string_view bytes);
// Compares in constant time, whatever the place of the first difference.
bool same_digest(const Digest& a, const Digest& b);

// Bytes of the system's random number generator, fit for secrets.
std::string random_bytes(std::size_t count);
std::string to_hex(std::string_view bytes);

}  // namespace fm
