// The accepted deployments themselves, secrets included, sealed under a device key:
// <data>/deployments/<hash>.sealed. A document is in here, durable, before the log says that it arrived; so a
// cold boot always finds what it needs. Files 0600. Blocking file I/O of at most 1 MiB, a few times per
// deployment.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "events/result.hpp"

namespace decklog::agent {

// seal/open bind the text to its name; open fails with kCorrupt when either was tampered with.
struct Sealing {
  std::function<Result<std::string>(std::string_view name, std::string_view text)> seal;
  std::function<Result<std::string>(std::string_view name, std::string_view sealed)> open;
};

class Vault {
 public:
  Vault(std::string directory, Sealing sealing);

  Status put(const std::string& hash, std::string_view document);
  Result<std::string> get(const std::string& hash) const;
  void keep_only(const std::set<std::string>& hashes);

 private:
  std::string file(const std::string& hash) const;

  std::string directory_;
  Sealing sealing_;
};

}  // namespace decklog::agent
