// How events lie in a stored value: frames one behind the other, all events of one class of one commit group.
//
//   u32 length | u32 crc32c(sequence, bytes) | u64 sequence | bytes        little endian
//
// The upper 8 bits of length are flags and 0 in this version; a reader that meets others treats the frame as
// damaged. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace decklog::persistence {

inline constexpr std::size_t kFrameHeaderBytes = 16;

void append_frame(std::string& value, std::uint64_t sequence, std::string_view bytes);

struct Frame {
  std::uint64_t sequence = 0;
  std::string_view bytes;
};

// Walks the frames of one value. After next() returned false, damaged() tells a bad frame from the end.
class FrameCursor final {
 public:
  FrameCursor() = default;
  explicit FrameCursor(std::string_view value) : rest_(value) {}
  bool next(Frame& frame);
  bool damaged() const { return damaged_; }

 private:
  std::string_view rest_;
  std::uint64_t last_ = 0;
  bool damaged_ = false;
};

// Fixed-width numbers in keys (big endian, so that order by bytes is order by value) and records (little
// endian).
std::string big_endian(std::uint64_t value);
std::uint64_t from_big_endian(std::string_view eight_bytes);
void put_little_endian(std::string& out, std::uint64_t value, int bytes);
std::uint64_t get_little_endian(std::string_view at_most_eight_bytes);

}  // namespace decklog::persistence
