// Identities as last known from upstream, so that clients are checked without a network.
//
// Owner: the hub, next to the MessageStore (which outlives it). Thread: the hub's executor. Loaded at open,
// kept in memory, written through in the commit groups of the message store; each record sealed (it holds
// keys). A record is only replaced by a newer revision. A record that does not open is left out and named by
// unreadable().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/message_store.hpp"
#include "persistence/twin_store_sealed.hpp"

namespace decklog::persistence {

inline constexpr std::size_t kMaxIdentities = 10'000;
inline constexpr std::size_t kMaxIdentityBytes = 16 * 1024;

struct IdentityRecord {
  std::string json;            // as upstream gave it
  std::uint64_t revision = 0;  // upstream's; rises
  WallTime fetched;
  friend bool operator==(const IdentityRecord&, const IdentityRecord&) = default;
};

class IdentityStore final {
 public:
  static Result<std::unique_ptr<IdentityStore>> open(RecordStore& records, Sealer sealer);
  ~IdentityStore();

  // `identity` is "<device>" or "<device>/<module>". The pointer holds until the next change of that
  // identity.
  const IdentityRecord* find(std::string_view identity) const;
  std::vector<std::string> all() const;
  const std::vector<std::string>& unreadable() const;

  // kConflict when what is stored has a newer revision.
  Result<GroupId> put(std::string_view identity, const IdentityRecord& record);
  GroupId remove(std::string_view identity);

 private:
  class Impl;
  explicit IdentityStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace decklog::persistence
