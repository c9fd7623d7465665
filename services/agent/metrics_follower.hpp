// Follows a journal and keeps what is projected from it: the tally, the Merkle tree, the decisions the fleet
// does not know of. Reads the stored events, so a release that never became durable cannot slip in. Owner:
// Telemetry; one thread.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "observability/tally.hpp"
#include "persistence/tree_hasher.hpp"

namespace decklog::agent {

class JournalFollower final {
 public:
  // Restores from the snapshots and reads the rest of the log. `reported_through` is where the fleet's copy
  // ends.
  JournalFollower(persistence::Journal& journal, Sequence reported_through);

  // Reads up to the newest durable event. An event that does not read is a gap for the tree and no count.
  void catch_up();

  const observability::Tally& tally() const { return tally_; }
  const persistence::TreeHasher& tree() const { return tree_; }
  // Events still to read.
  std::uint64_t behind() const;
  // Decisions that changed something after `reported`; forgets those before.
  std::uint64_t unreported(Sequence reported);
  void save_tally();
  void save_tree();

 private:
  void take(const Envelope& event);

  persistence::Journal& journal_;
  observability::Tally tally_;
  persistence::TreeHasher tree_;
  std::deque<std::uint64_t> decisions_;
  Sequence read_;
};

}  // namespace decklog::agent
