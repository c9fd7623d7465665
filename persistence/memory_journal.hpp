// The reference Journal: everything in memory, no thread, no file. For tests, simulation and the last resort
// of a device whose disk takes nothing at all.
//
// kInline runs Done before append() returns; kManual keeps steps waiting (not durable, not readable) until
// commit(). Thread safe. Bounded by the byte budget, counted in encoded bytes.
#pragma once

#include <deque>
#include <map>
#include <mutex>

#include "persistence/journal.hpp"

namespace decklog::persistence {

class MemoryJournal final : public Journal {
 public:
  enum class Commit { kInline, kManual };
  struct Options {
    Commit commit = Commit::kInline;
    std::uint64_t budget_bytes = kDefaultBudgetBytes;
    JournalHooks hooks = {};
    std::uint64_t epoch = 1;
  };

  MemoryJournal() : MemoryJournal(Options{}) {}
  explicit MemoryJournal(Options options);

  // Makes everything that waits durable and runs its Done.
  void commit();
  // From now on steps fail with this error, until set_failure({}).
  void set_failure(std::optional<Error> failure);

  Sequence first_sequence() const override;
  Sequence complete_from() const override;
  Sequence durable_sequence() const override;
  std::uint64_t epoch() const override { return options_.epoch; }
  Status read(Sequence from, Sequence to, const Visitor& visitor) const override;
  Status read_raw(Sequence from, Sequence to, const RawVisitor& visitor) const override;
  Status read_stream(const StreamId& stream, Sequence from, const Visitor& visitor) const override;
  Result<Snapshot> latest_snapshot(std::string_view name, Sequence at) const override;
  std::string leaf_salt() const override;
  Sequence next_sequence() const override;
  void append(std::span<const Envelope> step, Done done) override;
  void put_snapshot(Snapshot snapshot, Done done) override;
  Status flush() override;
  JournalStats stats() const override;

 private:
  struct Stored {
    std::uint64_t sequence;
    bool lifecycle;
    std::string bytes;
  };
  struct Waiting {
    std::vector<Stored> events;
    std::optional<Snapshot> snapshot;
    Done done;
    Status status;
  };
  void enqueue(Waiting waiting);
  Status store(Waiting& waiting);
  void keep_snapshot(Snapshot snapshot);
  std::vector<GapRecorded> compact();
  GapRecorded remove_through(std::uint64_t through, bool lifecycle_too);

  const Options options_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Stored> events_;
  std::map<std::pair<std::string, std::uint64_t>, std::string> snapshots_;
  std::deque<Waiting> waiting_;
  std::optional<Error> failure_;
  Status first_failure_;
  std::uint64_t next_ = 1, last_ = 0, complete_from_ = 1, bytes_ = 0;
  bool snapshot_wanted_ = false;
  JournalStats stats_;
};

}  // namespace decklog::persistence
