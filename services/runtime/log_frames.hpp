// The engine's log stream as lines. Not a terminal: frames of {stream, 0, 0, 0, length as 32 bits big-endian}
// and bytes; a terminal: bare bytes. Each line begins with an RFC 3339 time, as asked for. Pure. Limits: a
// line longer than kEngineLineLimitBytes is cut into several. Failure: feed() false = not such a stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

inline constexpr std::size_t kEngineLineLimitBytes = 64 << 10;

class LogFrames final {
 public:
  enum class Form : std::uint8_t { kFrames = 1, kTerminal = 2 };
  explicit LogFrames(Form form) : form_(form) {}

  bool feed(std::string_view bytes, std::vector<LogLine>& lines);
  void finish(std::vector<LogLine>& lines);  // what is left without a newline

 private:
  void take(int stream, std::string_view bytes, std::vector<LogLine>& lines);
  void emit(int stream, std::vector<LogLine>& lines);

  Form form_;
  std::string head_;
  std::uint32_t left_ = 0;
  int stream_ = 1;
  std::string partial_[3];
};

}  // namespace decklog::runtime
