#include "services/runtime/log_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

namespace decklog::runtime {
namespace {
constexpr std::string_view kPrefix = "log.";
}  // namespace

std::string format_log_line(const LogLine& line) {
  return to_rfc3339(line.time) + (line.is_stderr ? " E " : " O ") + line.text + "\n";
}

std::optional<LogLine> parse_log_line(std::string_view text) {
  const auto space = text.find(' ');
  if (space == std::string_view::npos || space + 2 >= text.size() || text[space + 2] != ' ')
    return std::nullopt;
  const auto time = parse_rfc3339(text.substr(0, space));
  const char stream = text[space + 1];
  if (!time || (stream != 'O' && stream != 'E')) return std::nullopt;
  return LogLine{*time, stream == 'E', std::string(text.substr(space + 3))};
}

std::vector<std::uint64_t> log_numbers(const std::string& directory) {
  std::vector<std::uint64_t> numbers;
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(directory.c_str()), &::closedir);
  if (!listing) return numbers;
  while (const dirent* entry = ::readdir(listing.get())) {
    std::string_view name(entry->d_name);
    if (!name.starts_with(kPrefix)) continue;
    name.remove_prefix(kPrefix.size());
    std::uint64_t number = 0;
    const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (failed == std::errc{} && end == name.data() + name.size() && number > 0) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::string log_file_path(const std::string& directory, std::uint64_t number) {
  char name[40];
  std::snprintf(name, sizeof name, "/log.%08llu", static_cast<unsigned long long>(number));
  return directory + name;
}

LogWriter::LogWriter(std::string directory, std::uint64_t file_limit_bytes, std::uint32_t file_limit_count)
    : directory_(std::move(directory)),
      file_limit_bytes_(std::max<std::uint64_t>(file_limit_bytes, 4096)),
      file_limit_count_(std::max<std::uint32_t>(file_limit_count, 1)) {
  const auto numbers = log_numbers(directory_);
  number_ = numbers.empty() ? 1 : numbers.back();
  file_ = Fd(::open(log_file_path(directory_, number_).c_str(),
                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat info {};
  if (file_ && ::fstat(file_.get(), &info) == 0) size_ = static_cast<std::uint64_t>(info.st_size);
}

void LogWriter::write(bool is_stderr, std::string_view bytes, WallTime now) {
  std::string& partial = partial_[is_stderr ? 1 : 0];
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    const std::size_t room = kLogLineLimitBytes - partial.size();
    const std::size_t take = std::min(newline == std::string_view::npos ? bytes.size() : newline, room);
    partial.append(bytes.substr(0, take));
    const bool ended = newline == take;
    bytes.remove_prefix(take + (ended ? 1 : 0));
    if (ended || partial.size() >= kLogLineLimitBytes) {
      write_line(is_stderr, partial, now);
      partial.clear();
    }
  }
}

void LogWriter::flush(WallTime now) {
  for (const bool is_stderr : {false, true}) {
    std::string& partial = partial_[is_stderr ? 1 : 0];
    if (!partial.empty()) write_line(is_stderr, partial, now);
    partial.clear();
  }
}

void LogWriter::write_line(bool is_stderr, std::string_view text, WallTime now) {
  if (lost_lines_ > 0) {
    const std::uint64_t lost = std::exchange(lost_lines_, 0);
    append(format_log_line({now, true, "[" + std::to_string(lost) + " lines lost: the disk refused them]"}));
    if (lost_lines_ > 0) lost_lines_ += lost - 1;
  }
  append(format_log_line({now, is_stderr, std::string(text)}));
}

void LogWriter::append(std::string_view bytes) {
  if (size_ > 0 && size_ + bytes.size() > file_limit_bytes_ && !rotate()) {
    ++lost_lines_;
    return;
  }
  const ssize_t n = file_ ? ::write(file_.get(), bytes.data(), bytes.size()) : -1;
  if (n == static_cast<ssize_t>(bytes.size())) {
    size_ += bytes.size();
    return;
  }
  // Half a line would be read as nonsense: take it back.
  if (n > 0 && ::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0)
    size_ += static_cast<std::uint64_t>(n);
  ++lost_lines_;
}

bool LogWriter::rotate() {
  Fd next(::open(log_file_path(directory_, number_ + 1).c_str(),
                 O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!next) return false;
  file_ = std::move(next);
  size_ = 0;
  ++number_;
  const auto numbers = log_numbers(directory_);
  for (std::size_t i = 0; i + file_limit_count_ < numbers.size(); ++i) {
    ::unlink(log_file_path(directory_, numbers[i]).c_str());
  }
  return true;
}

bool LogReader::open_next() {
  for (const std::uint64_t number : log_numbers(directory_)) {
    if (number <= number_) continue;
    Fd file(::open(log_file_path(directory_, number).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) continue;  // removed by rotation between listing and opening
    file_ = std::move(file);
    number_ = number;
    rest_.clear();
    return true;
  }
  return false;
}

std::vector<LogLine> LogReader::read_some() {
  std::vector<LogLine> lines;
  if (!file_ && !open_next()) return lines;
  std::string block(kLogReadSliceBytes, '\0');
  while (lines.empty()) {
    const ssize_t n = ::read(file_.get(), block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      // The writer opens the next file only after its last write here: read once more before moving on.
      const auto numbers = log_numbers(directory_);
      if (numbers.empty() || numbers.back() <= number_) return lines;
      const ssize_t last = ::read(file_.get(), block.data(), block.size());
      if (last <= 0) {
        if (!open_next()) return lines;
        continue;
      }
      rest_.append(block, 0, static_cast<std::size_t>(last));
    } else {
      rest_.append(block, 0, static_cast<std::size_t>(n));
    }
    std::size_t from = 0;
    for (auto newline = rest_.find('\n'); newline != std::string::npos; newline = rest_.find('\n', from)) {
      if (auto line = parse_log_line(std::string_view(rest_).substr(from, newline - from))) {
        lines.push_back(std::move(*line));
      }
      from = newline + 1;
    }
    rest_.erase(0, from);
    if (rest_.size() > 2 * kLogLineLimitBytes) rest_.clear();  // not a line of ours
  }
  return lines;
}

}  // namespace decklog::runtime
