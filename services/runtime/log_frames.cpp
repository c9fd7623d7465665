#include "services/runtime/log_frames.hpp"

#include <algorithm>

namespace decklog::runtime {
namespace {
constexpr std::size_t kFrameHeadBytes = 8;
}  // namespace

bool LogFrames::feed(std::string_view bytes, std::vector<LogLine>& lines) {
  if (form_ == Form::kTerminal) {
    take(1, bytes, lines);
    return true;
  }
  while (!bytes.empty()) {
    if (left_ > 0) {
      const std::size_t n = std::min<std::size_t>(left_, bytes.size());
      take(stream_, bytes.substr(0, n), lines);
      bytes.remove_prefix(n);
      left_ -= static_cast<std::uint32_t>(n);
      continue;
    }
    const std::size_t n = std::min(kFrameHeadBytes - head_.size(), bytes.size());
    head_.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    if (head_.size() < kFrameHeadBytes) return true;
    stream_ = static_cast<unsigned char>(head_[0]);
    if (stream_ > 2 || head_[1] != 0 || head_[2] != 0 || head_[3] != 0) return false;
    for (int i = 4; i < 8; ++i)
      left_ = (left_ << 8) | static_cast<unsigned char>(head_[static_cast<std::size_t>(i)]);
    head_.clear();
  }
  return true;
}

void LogFrames::take(int stream, std::string_view bytes, std::vector<LogLine>& lines) {
  std::string& partial = partial_[stream];
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    const std::size_t room = kEngineLineLimitBytes - partial.size();
    const std::size_t n = std::min(newline == std::string_view::npos ? bytes.size() : newline, room);
    partial.append(bytes.substr(0, n));
    const bool ended = n == newline;
    bytes.remove_prefix(n + (ended ? 1 : 0));
    if (ended || partial.size() >= kEngineLineLimitBytes) emit(stream, lines);
  }
}

void LogFrames::emit(int stream, std::vector<LogLine>& lines) {
  LogLine line;
  line.is_stderr = stream == 2;
  std::string& text = partial_[stream];
  const auto space = text.find(' ');
  const auto time = parse_rfc3339(std::string_view(text).substr(0, space));
  if (time) {
    line.time = *time;
    line.text = space == std::string::npos ? std::string() : text.substr(space + 1);
  } else {
    line.text = text;
  }
  if (form_ == Form::kTerminal && line.text.ends_with('\r')) line.text.pop_back();
  text.clear();
  lines.push_back(std::move(line));
}

void LogFrames::finish(std::vector<LogLine>& lines) {
  for (int stream = 0; stream < 3; ++stream) {
    if (!partial_[stream].empty()) emit(stream, lines);
  }
}

}  // namespace decklog::runtime
