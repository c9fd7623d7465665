// Property bags: "k=v&k2=v2" behind a topic's last slash, keys and values percent-encoded. Pure.
// Facts: azure-iot-device 1.18 on the wire. Clients encode with encodeURIComponent; '+' is not a space; an
// extra leading '?' and trailing '/' occur; a key without '=' is an empty value; keys may repeat.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.hpp"

namespace decklog::iothub {

using Properties = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t kMaxBagBytes = 64 * 1024;
inline constexpr std::size_t kMaxBagProperties = 512;

// kMalformed for a bad escape or bytes that are not UTF-8; kTooLarge.
Result<Properties> decode_bag(std::string_view bag);
// Everything but A-Z a-z 0-9 - _ . ~ is escaped: receivers split at '=' and '/', and die of bad escapes.
std::string encode_bag(const Properties& properties);

Result<std::string> percent_decode(std::string_view text);
std::string percent_encode(std::string_view text);
bool valid_utf8(std::string_view text);

}  // namespace decklog::iothub
