// The Ed25519 key a service signs the heads of its log with, and checking what it signed.
//
// The private key lies in a PEM file, 0600, outside the journal directory, so that a copied journal does not
// carry it; the public key lies in the journal directory (LOG_KEY.<key id>), so that the copy can be checked.
// Who must not trust the device at all compares the key with the one the fleet saw first. Thread safe once
// made.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "events/event.hpp"
#include "events/result.hpp"
#include "persistence/merkle.hpp"

namespace decklog::persistence {

class LogKey final {
 public:
  // Makes the key at the first start. A file that others may read is refused with kPermissionDenied.
  static Result<LogKey> load_or_create(const std::filesystem::path& file);
  const std::string& public_key() const { return public_key_; }  // 32 bytes
  const std::string& key_id() const { return key_id_; }          // 16 hexadecimal digits
  HeadSigned sign(std::uint64_t epoch, std::uint64_t tree_size, const Hash& root) const;
  // Puts the public key beside the journal.
  Status publish(const std::filesystem::path& journal_directory) const;

 private:
  LogKey() = default;
  std::shared_ptr<void> key_;  // EVP_PKEY
  std::string public_key_, key_id_;
};

std::string key_id_of(std::string_view public_key);
// The public keys beside a journal, by their content: a file under a wrong name is passed over.
std::vector<std::string> published_keys(const std::filesystem::path& journal_directory);
// kUnauthenticated when the signature is not that of this key over this head of this journal.
Status check_head(const HeadSigned& head, std::uint64_t epoch, std::string_view public_key);

}  // namespace decklog::persistence
