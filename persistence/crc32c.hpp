// CRC-32C (Castagnoli), the checksum of the journal's frames. Uses the processor's instruction where there is
// one.
#pragma once

#include <cstdint>
#include <string_view>

namespace decklog::persistence {

// `seed` chains calls: crc32c(b, crc32c(a)) == crc32c(a + b).
std::uint32_t crc32c(std::string_view bytes, std::uint32_t seed = 0);
// The table-driven form, the reference for the one above.
std::uint32_t crc32c_portable(std::string_view bytes, std::uint32_t seed = 0);

}  // namespace decklog::persistence
