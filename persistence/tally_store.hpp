// Counts by name that a restart does not begin anew: tries in vain, losses that the log has told of.
//
// Owner: the hub, next to the MessageStore (which outlives it). Thread: the hub's executor. Loaded at open,
// kept in memory, written through in the commit groups of the message store: one small record a change.
// Bounds: kMaxTallies names, beyond them the one changed longest ago is forgotten; a name above kMaxNameBytes
// is not counted. A record that does not parse counts from zero.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "persistence/message_store.hpp"

namespace decklog::persistence {

inline constexpr std::size_t kMaxTallies = 4'096;

// What is counted; written to disk.
enum class TallyKind : char { kTries = 'n', kTold = 'l' };

class TallyStore final {
 public:
  static Result<std::unique_ptr<TallyStore>> open(RecordStore& records, TallyKind kind);

  std::uint64_t count(std::string_view name) const;
  GroupId add(std::string_view name, std::uint64_t by = 1);
  GroupId forget(std::string_view name);
  std::size_t size() const { return tallies_.size(); }

 private:
  TallyStore(RecordStore& records, TallyKind kind) : records_(records), kind_(kind) {}
  std::string key_of(std::string_view name) const;

  struct Tally {
    std::uint64_t count = 0;
    std::uint64_t order = 0;  // rises with every change
  };
  RecordStore& records_;
  TallyKind kind_;
  std::map<std::string, Tally, std::less<>> tallies_;
  std::map<std::uint64_t, std::string> oldest_;  // names by order
  std::uint64_t last_order_ = 0;
};

}  // namespace decklog::persistence
