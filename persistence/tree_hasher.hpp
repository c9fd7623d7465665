// The Merkle tree of a running service: fed each durable event in order, asked for a signed head now and
// then.
//
// Owner: the service loop, on its thread. A sequence that is not there (lost with the tail) gets the gap
// leaf. Save the frontier as a snapshot with each head: verification of a log with holes and a quick restart
// start from there.
#pragma once

#include "persistence/journal.hpp"
#include "persistence/log_key.hpp"
#include "persistence/merkle.hpp"

namespace decklog::persistence {

class TreeHasher final {
 public:
  TreeHasher(std::string leaf_salt, std::uint64_t epoch) : leaves_(std::move(leaf_salt)), epoch_(epoch) {}
  // The tree over everything durable: the newest saved frontier and the events after it.
  static Result<TreeHasher> restore(const JournalReader& journal);

  // In order; an event that is already in the tree is passed over, sequences between are gaps.
  void add(const Envelope& event, std::string_view stored);
  void add(const Envelope& event);  // encodes it again: the same build wrote it

  std::uint64_t size() const { return frontier_.size(); }
  Hash root() const { return frontier_.root(); }
  HeadSigned head(const LogKey& key) const { return key.sign(epoch_, size(), root()); }
  Snapshot save() const { return {{size()}, std::string(kTreeSnapshot), frontier_.save()}; }

 private:
  LeafHasher leaves_;
  std::uint64_t epoch_;
  Frontier frontier_;
};

}  // namespace decklog::persistence
