// File work of the local uplink: blocking, errors as values, nothing half visible. Safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"

namespace decklog::uplink {

inline constexpr std::size_t kMaxDocumentBytes = 4 * 1024 * 1024;

// Directories 0700, files 0600.
Status make_directories(const std::string& path);
// Temporary file beside it, fsync, rename, fsync of the directory: after return the whole text is there for
// good.
Status write_atomically(const std::string& path, std::string_view text);

// What tells one state of a file from another without reading it.
struct FileStamp {
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;
  std::uint64_t size = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
std::optional<FileStamp> stamp_of(const std::string& path);

struct FileText {
  std::string text;
  FileStamp stamp;
};
// kNotFound; kTooLarge; kUnavailable = somebody has it open for writing (or it is still empty): ask again
// later.
Result<FileText> read_settled(const std::string& path);

// Names of the regular files with this ending, sorted; hidden and temporary ones left out. Missing folder =
// none.
std::vector<std::string> list_files(const std::string& folder, std::string_view ending);
std::vector<std::string> list_folders(const std::string& folder);

// Exclusive lock on a file for the life of the object: keeps two processes of one device apart.
class FileLock final {
 public:
  static Result<FileLock> take(const std::string& path);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

Error errno_error(const std::string& what, const std::string& path);
std::string sha256_hex(std::string_view text);
bool valid_utf8(std::string_view text);
std::string to_base64(std::string_view bytes);
Result<std::string> from_base64(std::string_view text);

}  // namespace decklog::uplink
