// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected to 0x82F63B78; RFC 3720 appendix B.4): checksums of checkpoints and of
// TensorBoard records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fm {

// The checksum of `bytes`; `before` continues the checksum of the bytes in front of them.
uint32_t crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace fm
