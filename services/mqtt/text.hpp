// Strings of MQTT 3.1.1 as the OASIS standard (29 October 2014) defines them: UTF-8 (1.5.3), topic names and
// topic filters (4.7). Pure; thread: any; no allocation; no failure beyond the answer.
#pragma once

#include <string_view>

namespace decklog::mqtt {

// Longest string the two-byte length prefix can carry.
inline constexpr std::size_t kMaxStringBytes = 65'535;

// Well-formed UTF-8 without U+0000 and without surrogates [MQTT-1.5.3-1, 1.5.3-2].
bool valid_utf8(std::string_view text);

// What may be published to: at least one character, no wildcard [MQTT-4.7.1-1, 4.7.3-1]. UTF-8 is checked
// apart.
bool valid_topic_name(std::string_view name);

// `#` only as the last level, `+` and `#` only as whole levels [MQTT-4.7.1-2, 4.7.1-3].
bool valid_topic_filter(std::string_view filter);

// Whether `filter` selects `name`; a first level beginning with `$` is never matched by a wildcard
// [MQTT-4.7.2-1].
bool filter_matches(std::string_view filter, std::string_view name);

}  // namespace decklog::mqtt
