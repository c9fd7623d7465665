// Tables of a FlatBuffer that nobody has looked at yet. Private to the codec. What is followed is checked
// right before, by the rules of FlatBuffers' own verifier (a test holds the two to each other), so that one
// pass over the bytes both verifies and reads them. After the first failed check everything reads as nothing.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace decklog::detail {

class CheckedBytes final {
 public:
  // Texts may lie over each other; `most_text` bounds what they come to together.
  CheckedBytes(std::span<const std::uint8_t> bytes, std::size_t most_text)
      : data_(bytes.data()), size_(bytes.size()), text_left_(most_text) {}

  bool sound() const { return sound_; }
  bool check(bool good) {
    if (!good) sound_ = false;
    return good;
  }
  bool holds(std::size_t at, std::size_t size) { return check(size < size_ && at <= size_ - size); }

  template <class T>
  T number(std::size_t at) {
    return check(at % sizeof(T) == 0) && holds(at, sizeof(T)) ? number_at<T>(at) : T{};
  }
  // Of a place that was checked before.
  template <class T>
  T number_at(std::size_t at) const {
    std::uint8_t raw[sizeof(T)];
    std::memcpy(raw, data_ + at, sizeof(T));
    if constexpr (std::endian::native == std::endian::big) std::reverse(raw, raw + sizeof(T));
    return std::bit_cast<T>(raw);
  }
  // Where the offset at `at` leads; 0 = nowhere.
  std::size_t follow(std::size_t at) {
    const std::size_t offset = number<std::uint32_t>(at);
    return check(offset != 0 && offset < std::size_t{1} << 31) && holds(at + offset, 1) ? at + offset : 0;
  }
  std::string_view text(std::size_t at) {
    const std::size_t size = number<std::uint32_t>(at);
    const std::size_t begin = at + sizeof(std::uint32_t);
    if (!sound_ || !holds(begin, size + 1) || !check(data_[begin + size] == 0 && size <= text_left_))
      return {};
    text_left_ -= size;
    return {reinterpret_cast<const char*>(data_) + begin, size};
  }

 private:
  const std::uint8_t* const data_;
  const std::size_t size_;
  std::size_t text_left_;
  bool sound_ = true;
};

class CheckedTable final {
 public:
  CheckedTable(CheckedBytes& bytes, std::size_t at) : bytes_(bytes), at_(at) {
    // Signed, but subtracting without a sign always gives what is meant.
    const auto back = static_cast<std::size_t>(std::int64_t{bytes.number<std::int32_t>(at)});
    fields_ = at - back;
    const std::size_t size = bytes.number<std::uint16_t>(fields_);
    if (bytes.check(size % 2 == 0) && bytes.holds(fields_, size) && bytes.sound()) fields_size_ = size;
  }

  // Where the field is; 0 = not there. `field` is twice the id, behind the two sizes the list begins with.
  std::size_t place(std::size_t field) const {
    if (field >= fields_size_) return 0;
    const std::size_t offset = bytes_.number_at<std::uint16_t>(fields_ + field);
    return offset == 0 ? 0 : at_ + offset;
  }
  template <class T>
  T number(std::size_t field) const {
    const std::size_t at = place(field);
    return at == 0 ? T{} : bytes_.number<T>(at);
  }
  // Where what the field points at is; 0 = not there.
  std::size_t child(std::size_t field) const {
    const std::size_t at = place(field);
    return at == 0 ? 0 : bytes_.follow(at);
  }
  CheckedBytes& bytes() const { return bytes_; }

 private:
  CheckedBytes& bytes_;
  std::size_t at_, fields_ = 0, fields_size_ = 0;
};

}  // namespace decklog::detail
