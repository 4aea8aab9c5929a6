// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected to 0x82F63B78; RFC 3720 appendix B.4): checksums of checkpoints and of
// TensorBoard records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fm {

// Returns the checksum of `bytes`. If `before` is the checksum of the bytes before them, the result covers both.
uint32_t crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace fm
