// Twins as last known: desired and reported documents, and what of the reported is not acknowledged upstream
// yet.
//
// Owner: the hub, next to the MessageStore (which outlives it). Thread: the hub's executor. Loaded at open,
// kept in memory, written through in the commit groups of the message store, each twin sealed (encrypted) as
// a whole. Bounds: kMaxTwins twins, kMaxTwinBytes each. Failure: kTooLarge, kNoSpace. A twin whose stored
// bytes do not open is left out and named by unreadable(): the hub fetches it again from the fleet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "persistence/message_store.hpp"
#include "persistence/twin_store_sealed.hpp"

namespace decklog::persistence {

inline constexpr std::size_t kMaxTwins = 4'096;
inline constexpr std::size_t kMaxTwinBytes = 256 * 1024;

struct TwinName {
  std::string device;
  std::string module;  // empty: the device's own
  friend auto operator<=>(const TwinName&, const TwinName&) = default;
};

struct TwinRecord {
  std::string desired = {};  // JSON object; empty = not known
  std::uint64_t desired_version = 0;
  std::string reported = {};
  std::uint64_t reported_version = 0;
  std::string pending_patch = {};  // reported properties accepted here, not acknowledged upstream; nulls
                                   // kept. Empty = none
  std::uint64_t pending_base = 0;  // reported version that the patch was made on
  WallTime last_sync = {};         // when upstream last confirmed desired and reported; zero = never
  friend bool operator==(const TwinRecord&, const TwinRecord&) = default;
};

// How old an answer from the cache is.
inline Duration age_of(const TwinRecord& twin, WallTime now) {
  return Duration(now.ns > twin.last_sync.ns ? now.ns - twin.last_sync.ns : 0);
}

class TwinStore final {
 public:
  static Result<std::unique_ptr<TwinStore>> open(RecordStore& records, Sealer sealer);
  ~TwinStore();

  const TwinRecord* find(const TwinName& name) const;  // until the next change of that twin
  std::vector<TwinName> all() const;
  std::vector<TwinName> with_pending_patch() const;
  const std::vector<std::string>& unreadable() const;

  Result<GroupId> put(const TwinName& name, const TwinRecord& twin);
  GroupId remove(const TwinName& name);

 private:
  class Impl;
  explicit TwinStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace decklog::persistence
