// The small files beside a RocksDB journal. Layout of a journal directory (0700, files 0600):
//   LOCK        held by the one writer
//   IDENTITY    epoch and leaf salt, written once
//   HIGH_WATER  newest durable sequence, rewritten after each commit group; tells a shortened tail
//   RESERVE     space given back when the disk is full, for the log's own notes
//   db/         the store        aside.<n>/  a damaged store or tail set aside, the last two are kept
// Not thread safe; owned by the journal. Every failure is an Error with the errno text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "events/result.hpp"

namespace decklog::persistence {

class FileHandle final {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept;
  ~FileHandle() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// kConflict when another process (or another journal of this one) holds it.
Result<FileHandle> lock_directory(const std::filesystem::path& directory);
// Whether a writer holds the lock now. Never blocks a writer.
bool is_locked(const std::filesystem::path& directory);

struct JournalIdentity {
  std::uint64_t epoch = 0;
  std::string salt;  // 32 bytes
  std::string encode() const;
  static std::optional<JournalIdentity> decode(std::string_view bytes);
  static JournalIdentity make();
};
std::optional<JournalIdentity> read_identity(const std::filesystem::path& directory);
Status write_identity(const std::filesystem::path& directory, const JournalIdentity& identity);

struct HighWater {
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  bool clean = false;
};
// Two slots with checksums, written in turn.
class HighWaterFile final {
 public:
  // Creates the file when there is none. A damaged slot is passed over.
  static Result<HighWaterFile> open(const std::filesystem::path& directory);
  static std::optional<HighWater> peek(const std::filesystem::path& directory);
  const std::optional<HighWater>& found() const { return found_; }
  Status write(const HighWater& mark);
  Status sync();

 private:
  FileHandle file_;
  std::optional<HighWater> found_;
  std::uint64_t counter_ = 0;
};

// Moves `what` (relative to the directory) into a new aside.<n> and drops all but the newest two.
Result<std::filesystem::path> set_aside(const std::filesystem::path& directory, std::string_view what);
// Copies the write-ahead logs of db/ into a new aside.<n>.
Result<std::filesystem::path> copy_logs_aside(const std::filesystem::path& directory);

inline constexpr std::uint64_t kReserveBytes = 1 << 20;
Status make_reserve(const std::filesystem::path& directory);
bool release_reserve(const std::filesystem::path& directory);

std::uint64_t bytes_on_disk(const std::filesystem::path& directory);  // blocks taken, not file lengths
std::uint64_t bytes_free(const std::filesystem::path& directory);
Status sync_directory(const std::filesystem::path& directory);
// Written, synced, renamed into place and the directory synced. Mode 0600.
Status write_file_atomically(const std::filesystem::path& path, std::string_view bytes);
Result<std::string> read_small_file(const std::filesystem::path& path, std::size_t max_bytes);
Error errno_error(std::string_view what, const std::filesystem::path& path);

}  // namespace decklog::persistence
