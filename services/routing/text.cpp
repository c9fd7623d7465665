#include "services/routing/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "services/routing/unicode_case.hpp"

namespace decklog::routing {
namespace {

unsigned char byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// Bytes of the character that begins here; 1 for what is not well formed. Halves of pairs (ED A0..BF) pass.
std::size_t character_bytes(std::string_view text, std::size_t at) {
  const unsigned char lead = byte_at(text, at);
  std::size_t want = lead < 0x80   ? 1
                     : lead < 0xC2 ? 0
                     : lead < 0xE0 ? 2
                     : lead < 0xF0 ? 3
                     : lead < 0xF5 ? 4
                                   : 0;
  if (want == 0 || at + want > text.size()) return 1;
  for (std::size_t i = 1; i < want; ++i) {
    if ((byte_at(text, at + i) & 0xC0) != 0x80) return 1;
  }
  return want;
}

std::uint32_t code_point(std::string_view text, std::size_t at, std::size_t bytes) {
  const unsigned char lead = byte_at(text, at);
  if (bytes == 1) return lead;
  std::uint32_t point = lead & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) point = (point << 6) | (byte_at(text, at + i) & 0x3Fu);
  return point;
}

template <class Map>
std::string map_text(std::string_view text, Map map) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = character_bytes(text, at);
    if (bytes == 1 && byte_at(text, at) >= 0x80) {
      result.push_back(text[at]);
    } else {
      append_code_point(result, map(code_point(text, at, bytes)));
    }
    at += bytes;
  }
  return result;
}

template <class Unit>
std::uint32_t unit_at(std::string_view bytes, std::size_t index) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < sizeof(Unit); ++i)
    value |= std::uint32_t{byte_at(bytes, index * sizeof(Unit) + i)} << (8 * i);
  return value;
}

std::optional<std::string> decode_wide(std::string_view bytes, bool wide) {
  const std::size_t size = wide ? 4 : 2;
  if (bytes.size() % size != 0) return std::nullopt;
  std::string result;
  result.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size() / size; ++i) {
    std::uint32_t unit = wide ? unit_at<std::uint32_t>(bytes, i) : unit_at<std::uint16_t>(bytes, i);
    if (wide) {
      if (unit > 0x10FFFF) return std::nullopt;
    } else if (unit >= 0xD800 && unit < 0xDC00) {
      if (i + 1 == bytes.size() / size) return std::nullopt;
      const std::uint32_t low = unit_at<std::uint16_t>(bytes, ++i);
      if (low < 0xDC00 || low > 0xDFFF) return std::nullopt;
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    append_code_point(result, unit);
  }
  return result;
}

bool is_half(std::string_view text, std::size_t at, unsigned char lowest, unsigned char highest) {
  return at + 3 <= text.size() && byte_at(text, at) == 0xED && byte_at(text, at + 1) >= lowest &&
         byte_at(text, at + 1) <= highest;
}

}  // namespace

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  if (left.size() == right.size() && starts_with_ignoring_case(left, right)) return true;
  const auto plain = [](std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  };
  if (plain(left) || plain(right)) return false;
  return upper_text(left) == upper_text(right);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  if (text.size() < prefix.size()) return false;
  for (std::size_t i = 0; i < prefix.size(); ++i) {
    const unsigned char a = byte_at(text, i);
    const unsigned char b = byte_at(prefix, i);
    if (a != b && (a >= 0x80 || b >= 0x80 || to_lower(a) != to_lower(b))) return false;
  }
  return true;
}

int compare_utf16(std::string_view left, std::string_view right) {
  const std::size_t shorter = std::min(left.size(), right.size());
  const auto [l, r] =
      std::mismatch(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(shorter), right.begin());
  if (l == left.begin() + static_cast<std::ptrdiff_t>(shorter)) {
    return left.size() == right.size() ? 0 : left.size() < right.size() ? -1 : 1;
  }
  // Pairs (lead byte F0 and up) stand for units D800..DFFF and so sort before E000..FFFF (lead bytes EE and
  // EF).
  const auto rank = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0xF0 ? byte - 0x10 + 0x0E : byte >= 0xEE ? byte + 0x20 : int{byte};
  };
  const int a = rank(*l);
  const int b = rank(*r);
  return a < b ? -1 : 1;
}

std::size_t length_utf16(std::string_view text) {
  std::size_t units = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = character_bytes(text, at);
    units += bytes == 4 ? 2 : 1;
    at += bytes;
  }
  return units;
}

UnitPosition position_utf16(std::string_view text, std::size_t units) {
  std::size_t at = 0;
  while (units > 0 && at < text.size()) {
    const std::size_t bytes = character_bytes(text, at);
    if (bytes == 4 && units == 1) return {at, true};
    units -= bytes == 4 ? 2 : 1;
    at += bytes;
  }
  return {at, false};
}

std::string slice_utf16(std::string_view text, std::size_t first, std::size_t count) {
  if (count == 0) return {};
  const UnitPosition from = position_utf16(text, first);
  std::string result;
  std::size_t begin = from.byte;
  if (from.inside_pair) {
    append_code_point(result, 0xDC00 + ((code_point(text, from.byte, 4) - 0x10000) & 0x3FF));
    begin += 4;
    --count;
  }
  const UnitPosition to = position_utf16(text.substr(begin), count);
  result.append(text.substr(begin, to.byte));
  if (to.inside_pair)
    append_code_point(result, 0xD800 + ((code_point(text, begin + to.byte, 4) - 0x10000) >> 10));
  return result;
}

void append_text(std::string& text, std::string_view more) {
  if (text.size() >= 3 && is_half(text, text.size() - 3, 0xA0, 0xAF) && is_half(more, 0, 0xB0, 0xBF)) {
    const std::uint32_t high = code_point(text, text.size() - 3, 3);
    const std::uint32_t low = code_point(more, 0, 3);
    text.resize(text.size() - 3);
    append_code_point(text, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
    more.remove_prefix(3);
  }
  text.append(more);
}

void append_code_point(std::string& text, std::uint32_t point) {
  const auto push = [&text](std::uint32_t byte) {
    text.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  };
  if (point < 0x80) {
    push(point);
  } else if (point < 0x800) {
    push(0xC0 | (point >> 6));
    push(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    push(0xE0 | (point >> 12));
    push(0x80 | ((point >> 6) & 0x3F));
    push(0x80 | (point & 0x3F));
  } else {
    push(0xF0 | (point >> 18));
    push(0x80 | ((point >> 12) & 0x3F));
    push(0x80 | ((point >> 6) & 0x3F));
    push(0x80 | (point & 0x3F));
  }
}

std::string lower_text(std::string_view text) {
  return map_text(text, to_lower);
}
std::string upper_text(std::string_view text) {
  return map_text(text, to_upper);
}

std::optional<std::string> decode_text(std::string_view bytes, std::string_view encoding) {
  std::optional<std::string> result;
  if (equal_ignoring_case(encoding, "utf-8")) result = std::string(bytes);
  if (equal_ignoring_case(encoding, "utf-16")) result = decode_wide(bytes, false);
  if (equal_ignoring_case(encoding, "utf-32")) result = decode_wide(bytes, true);
  if (result && result->starts_with("\xEF\xBB\xBF")) result->erase(0, 3);
  return result;
}

std::string unescape(std::string_view inner) {
  std::string result;
  result.reserve(inner.size());
  for (std::size_t at = 0; at < inner.size(); ++at) {
    if (inner[at] != '\\' || at + 1 == inner.size()) {
      result.push_back(inner[at]);
    } else if (inner[at + 1] == 'u' && at + 5 < inner.size()) {
      std::uint32_t point = 0;
      std::from_chars(inner.data() + at + 2, inner.data() + at + 6, point, 16);
      std::string character;
      append_code_point(character, point);
      append_text(result, character);
      at += 5;
    } else {
      result.push_back(inner[++at]);
    }
  }
  return result;
}

std::string quote(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result.push_back('\\');
    result.push_back(c);
  }
  result.push_back('"');
  return result;
}

}  // namespace decklog::routing
