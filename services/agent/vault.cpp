#include "services/agent/vault.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace decklog::agent {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".sealed";

Error from_errno(const char* what, const std::string& path) {
  const int code = errno;
  return error(code == ENOSPC ? Errc::kNoSpace : Errc::kIo, std::string(what) + ": " + std::strerror(code),
               path);
}

Status write_synced(const std::string& path, std::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return from_errno("cannot be created", path);
  Status status;
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      status = from_errno("cannot be written", path);
      break;
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  if (status && ::fsync(file) != 0) status = from_errno("cannot be made durable", path);
  ::close(file);
  return status;
}

void sync_directory(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

}  // namespace

Vault::Vault(std::string directory, Sealing sealing)
    : directory_(std::move(directory)), sealing_(std::move(sealing)) {
  std::error_code ignored;
  fs::create_directories(directory_, ignored);
  ::chmod(directory_.c_str(), 0700);
}

std::string Vault::file(const std::string& hash) const {
  // A hash is ours (hex and dashes); anything else must not become a path.
  std::string name;
  for (const char c : hash) name += std::isalnum(static_cast<unsigned char>(c)) || c == '-' ? c : '_';
  return directory_ + "/" + name + std::string(kSuffix);
}

Status Vault::put(const std::string& hash, std::string_view document) {
  if (get(hash)) return {};
  const auto sealed = sealing_.seal(hash, document);
  if (!sealed) return sealed.error();
  const std::string path = file(hash), temporary = path + ".new";
  if (auto status = write_synced(temporary, *sealed); !status) {
    ::unlink(temporary.c_str());
    return status;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return from_errno("cannot be put in place", path);
  sync_directory(directory_);
  return {};
}

Result<std::string> Vault::get(const std::string& hash) const {
  std::ifstream stream(file(hash), std::ios::binary);
  if (!stream) return error(Errc::kNotFound, "no such deployment is kept", hash);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return sealing_.open(hash, bytes.str());
}

void Vault::keep_only(const std::set<std::string>& hashes) {
  std::set<std::string> keep;
  for (const auto& hash : hashes) keep.insert(file(hash));
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(directory_, failed)) {
    if (!keep.contains(entry.path().string())) fs::remove(entry.path(), failed);
  }
}

}  // namespace decklog::agent
