// A module's captured output: numbered files "log.00000001", "log.00000002" ... in one directory, the oldest
// removed when there are more than allowed. A line is "<RFC 3339> O|E <text>\n". Numbers only grow, so that a
// reader that follows can tell what comes next and notices when it was overtaken. Thread safety: one writer
// (the keeper), any number of readers in other processes. Limits: kLogLineLimitBytes a line (longer ones are
// cut into several), file size and count as the writer was told. Failure: a writer that cannot write (disk
// full) drops lines, counts them, and says so in the log when it can again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/runtime/posix.hpp"
#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

inline constexpr std::size_t kLogLineLimitBytes = 16 << 10;
inline constexpr std::size_t kLogReadSliceBytes = 64 << 10;

std::string format_log_line(const LogLine& line);
std::optional<LogLine> parse_log_line(std::string_view text);  // without the newline

// Numbers of the files there are, ascending.
std::vector<std::uint64_t> log_numbers(const std::string& directory);
std::string log_file_path(const std::string& directory, std::uint64_t number);

class LogWriter final {
 public:
  LogWriter(std::string directory, std::uint64_t file_limit_bytes, std::uint32_t file_limit_count);

  // Output as it came from the pipe; kept until its line is complete.
  void write(bool is_stderr, std::string_view bytes, WallTime now);
  // Whatever is left without a newline.
  void flush(WallTime now);

 private:
  void write_line(bool is_stderr, std::string_view text, WallTime now);
  void append(std::string_view bytes);
  bool rotate();

  std::string directory_;
  std::uint64_t file_limit_bytes_;
  std::uint32_t file_limit_count_;
  std::uint64_t number_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t lost_lines_ = 0;
  Fd file_;
  std::string partial_[2];
};

class LogReader final {
 public:
  explicit LogReader(std::string directory) : directory_(std::move(directory)) {}

  // The next lines, at most about kLogReadSliceBytes of them. Empty = nothing more for now.
  std::vector<LogLine> read_some();

 private:
  bool open_next();

  std::string directory_;
  std::uint64_t number_ = 0;
  Fd file_;
  std::string rest_;
};

}  // namespace decklog::runtime
