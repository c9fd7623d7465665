// Files that only this user may read. Success of a write means: durable, whole, mode as asked.
// Failure: kNotFound, kAlreadyExists, kPermissionDenied, kNoSpace, kTooLarge, kIo; `where` is the path.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "events/result.hpp"

namespace decklog::workload {

enum class IfExists { kReplace, kFail };

Result<std::string> read_private_file(const std::string& path, std::size_t limit_bytes);
Status write_private_file(const std::string& path, std::string_view bytes, IfExists if_exists,
                          mode_t mode = 0600);
Status make_private_directory(const std::string& path, mode_t mode = 0700);
// Takes group's and others' rights away.
Status make_private(const std::string& path);
std::string directory_of(const std::string& path);

}  // namespace decklog::workload
