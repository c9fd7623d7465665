#include "persistence/journal_frame.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "events/codec.hpp"
#include "persistence/crc32c.hpp"

namespace decklog::persistence {

namespace {

template <class T>
T little_endian_at(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  if constexpr (std::endian::native == std::endian::big)
    std::reverse(reinterpret_cast<char*>(&value), reinterpret_cast<char*>(&value + 1));
  return value;
}

}  // namespace

void put_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

std::uint64_t get_little_endian(std::string_view at_most_eight_bytes) {
  const std::string_view bytes = at_most_eight_bytes.substr(0, 8);
  std::uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, bytes.data(), bytes.size());
  } else {
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  }
  return value;
}

std::string big_endian(std::uint64_t value) {
  std::string key(8, '\0');
  for (int i = 0; i < 8; ++i) key[i] = static_cast<char>(value >> (56 - 8 * i));
  return key;
}

std::uint64_t from_big_endian(std::string_view eight_bytes) {
  std::uint64_t value = 0;
  for (const char byte : eight_bytes.substr(0, 8)) value = value << 8 | static_cast<std::uint8_t>(byte);
  return value;
}

void append_frame(std::string& value, std::uint64_t sequence, std::string_view bytes) {
  std::string number;
  put_little_endian(number, sequence, 8);
  put_little_endian(value, bytes.size(), 4);
  put_little_endian(value, crc32c(bytes, crc32c(number)), 4);
  value += number;
  value += bytes;
}

bool FrameCursor::next(Frame& frame) {
  if (damaged_ || rest_.empty()) return false;
  damaged_ = true;
  if (rest_.size() < kFrameHeaderBytes) return false;
  const char* header = rest_.data();
  const std::uint64_t length = little_endian_at<std::uint32_t>(header);
  if (length > kMaxEventBytes || length > rest_.size() - kFrameHeaderBytes) return false;
  // The number and the bytes lie side by side, and are checked together.
  const std::string_view checked = rest_.substr(8, 8 + length);
  if (crc32c(checked) != little_endian_at<std::uint32_t>(header + 4)) return false;
  const auto sequence = little_endian_at<std::uint64_t>(header + 8);
  if (sequence <= last_) return false;
  damaged_ = false;
  last_ = sequence;
  frame = {sequence, checked.substr(8)};
  rest_.remove_prefix(kFrameHeaderBytes + length);
  return true;
}

}  // namespace decklog::persistence
