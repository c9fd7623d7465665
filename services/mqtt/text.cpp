#include "services/mqtt/text.hpp"

#include <cstdint>
#include <cstring>

namespace decklog::mqtt {
namespace {

// True when all eight bytes are 0x01..0x7F, which is nearly every topic.
bool eight_plain_ascii(const char* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  constexpr std::uint64_t kHigh = 0x8080808080808080ull;
  constexpr std::uint64_t kOnes = 0x0101010101010101ull;
  return ((word | (word - kOnes)) & kHigh) == 0;
}

// Length of the sequence at `at`, or 0 when it is not a legal one.
std::size_t sequence_length(const unsigned char* at, std::size_t left) {
  const unsigned char lead = at[0];
  if (lead < 0x80) return lead == 0 ? 0 : 1;
  const auto tail = [&](std::size_t i) { return i < left && (at[i] & 0xC0) == 0x80; };
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (lead == 0xE0 && at[1] < 0xA0) return 0;   // overlong
    if (lead == 0xED && at[1] >= 0xA0) return 0;  // U+D800..U+DFFF
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (lead == 0xF0 && at[1] < 0x90) return 0;   // overlong
    if (lead == 0xF4 && at[1] >= 0x90) return 0;  // above U+10FFFF
    return 4;
  }
  return 0;
}

// Cuts the first level off `rest`; `more` says whether a separator followed.
std::string_view next_level(std::string_view& rest, bool& more) {
  const auto slash = rest.find('/');
  more = slash != std::string_view::npos;
  const auto level = rest.substr(0, slash);
  rest = more ? rest.substr(slash + 1) : std::string_view{};
  return level;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  const char* at = text.data();
  std::size_t left = text.size();
  while (left > 0) {
    if (left >= 8 && eight_plain_ascii(at)) {
      at += 8;
      left -= 8;
      continue;
    }
    const auto length = sequence_length(reinterpret_cast<const unsigned char*>(at), left);
    if (length == 0) return false;
    at += length;
    left -= length;
  }
  return true;
}

bool valid_topic_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxStringBytes) return false;
  for (const char c : name) {
    if (c == '+' || c == '#') return false;
  }
  return true;
}

bool valid_topic_filter(std::string_view filter) {
  if (filter.empty() || filter.size() > kMaxStringBytes) return false;
  bool more = true;
  while (more) {
    const auto level = next_level(filter, more);
    if (level == "#") return !more;
    if (level == "+") continue;
    if (level.find_first_of("+#") != std::string_view::npos) return false;
  }
  return true;
}

bool filter_matches(std::string_view filter, std::string_view name) {
  if (filter.empty() || name.empty()) return false;
  if (name.front() == '$' && (filter.front() == '+' || filter.front() == '#')) return false;
  bool filter_more = true;
  bool name_more = true;
  while (true) {
    const auto pattern = next_level(filter, filter_more);
    if (pattern == "#") return true;
    const auto level = next_level(name, name_more);
    if (pattern != "+" && pattern != level) return false;
    if (!filter_more || !name_more) break;
  }
  if (filter_more == name_more) return true;
  return filter_more && filter == "#";  // "a/#" also selects its parent "a" [4.7.1.2]
}

}  // namespace decklog::mqtt
