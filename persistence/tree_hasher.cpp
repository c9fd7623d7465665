#include "persistence/tree_hasher.hpp"

#include "events/codec.hpp"

namespace decklog::persistence {

void TreeHasher::add(const Envelope& event, std::string_view stored) {
  if (event.sequence.value <= frontier_.size()) return;
  while (frontier_.size() + 1 < event.sequence.value) frontier_.add(leaves_.gap_leaf(frontier_.size() + 1));
  frontier_.add(leaves_.leaf(event, stored));
}

void TreeHasher::add(const Envelope& event) {
  add(event, encode(event));
}

Result<TreeHasher> TreeHasher::restore(const JournalReader& journal) {
  TreeHasher tree(journal.leaf_salt(), journal.epoch());
  if (const auto saved = journal.latest_snapshot(kTreeSnapshot, journal.durable_sequence())) {
    // A frontier that does not read costs time, not the tree.
    if (auto frontier = Frontier::load(saved->bytes); frontier && frontier->size() == saved->through.value) {
      tree.frontier_ = std::move(*frontier);
    }
  }
  Status failure;
  const Status read = journal.read_raw({tree.size() + 1}, journal.durable_sequence(),
                                       {[&](const RawEvent& raw) {
                                          const auto event = decode(raw.bytes);
                                          if (!event) failure = event.error();
                                          if (event) tree.add(*event, raw.bytes);
                                          return event.has_value();
                                        },
                                        [](const MissingRange&) { return true; }});
  if (failure.has_error()) return failure.error();
  if (read.has_error()) return read.error();
  while (tree.size() < journal.durable_sequence().value) {
    tree.frontier_.add(tree.leaves_.gap_leaf(tree.size() + 1));
  }
  return tree;
}

}  // namespace decklog::persistence
