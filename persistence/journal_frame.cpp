#include "persistence/journal_frame.hpp"

#include <bit>
#include <cstring>

#include "events/codec.hpp"
#include "persistence/crc32c.hpp"

namespace decklog::persistence {

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
  const std::uint64_t length = get_little_endian(rest_.substr(0, 4));
  if (length > kMaxEventBytes || length > rest_.size() - kFrameHeaderBytes) return false;
  const std::string_view number = rest_.substr(8, 8);
  const std::string_view bytes = rest_.substr(kFrameHeaderBytes, length);
  if (crc32c(bytes, crc32c(number)) != get_little_endian(rest_.substr(4, 4))) return false;
  const std::uint64_t sequence = get_little_endian(number);
  if (sequence <= last_) return false;
  damaged_ = false;
  last_ = sequence;
  frame = {sequence, bytes};
  rest_.remove_prefix(kFrameHeaderBytes + length);
  return true;
}

}  // namespace decklog::persistence
