// One to one case mapping of a Unicode code point; a point without one comes back as it is. Pure.
#pragma once

#include <cstdint>

namespace decklog::routing {

std::uint32_t to_upper(std::uint32_t point);
std::uint32_t to_lower(std::uint32_t point);

}  // namespace decklog::routing
