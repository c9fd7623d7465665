// The journal of a device: RocksDB, one synced write for each commit group. Contract: journal.hpp.
//
// open() never stops a device because of what it finds: a damaged store is rebuilt from its readable part,
// the damaged one is set aside (the last two are kept), and the report says so. It fails only when another
// writer has the directory (kConflict), the directory cannot be used (kPermissionDenied, kIo), or the disk
// takes nothing (kNoSpace); go on with a MemoryJournal then. Threads: one of its own that commits, two of
// RocksDB.
#pragma once

#include <filesystem>
#include <memory>

#include "persistence/journal.hpp"

namespace decklog::persistence {

enum class SyncPolicy {
  kEachGroup,  // survives a power cut
  kNever,      // the control run of the crash tests
};

struct RocksJournalOptions {
  std::filesystem::path directory;
  std::uint64_t budget_bytes = kDefaultBudgetBytes;  // at least kLeastBudgetBytes
  SyncPolicy sync = SyncPolicy::kEachGroup;
  std::size_t group_events_max = 1024;
  std::size_t group_bytes_max = 512 << 10;  // one larger step is a group of its own
  std::size_t waiting_bytes_max =
      16 << 20;  // appended and not yet durable; past it steps fail with kUnavailable
  JournalHooks hooks = {};
};

class RocksJournal final : public Journal {
 public:
  static Result<std::unique_ptr<RocksJournal>> open(RocksJournalOptions options);
  // Commits what waits and closes in order.
  ~RocksJournal() override;

  const JournalReport& report() const;

  Sequence first_sequence() const override;
  Sequence complete_from() const override;
  Sequence durable_sequence() const override;
  std::uint64_t epoch() const override;
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
  class Impl;
  explicit RocksJournal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads a journal that may be live in another process, or a copy of one on any machine; writes nothing into
// the directory. Shows what was durable when it was opened.
class RocksJournalReader final : public JournalReader {
 public:
  // kNotFound when there is no journal. A copy that RocksDB cannot open as it is (files missing or damaged)
  // is rebuilt in a scratch directory first; damage() then says so and missing ranges are reported while
  // reading.
  static Result<std::unique_ptr<RocksJournalReader>> open(const std::filesystem::path& directory);
  ~RocksJournalReader() override;

  const std::string& damage() const;
  // Newest sequence the writer knew to be durable; more than durable_sequence() when the tail was cut off.
  Sequence high_water() const;
  bool live() const;  // a writer had it open
  std::vector<GapRecorded> gaps_not_in_log() const;

  Sequence first_sequence() const override;
  Sequence complete_from() const override;
  Sequence durable_sequence() const override;
  std::uint64_t epoch() const override;
  Status read(Sequence from, Sequence to, const Visitor& visitor) const override;
  Status read_raw(Sequence from, Sequence to, const RawVisitor& visitor) const override;
  Status read_stream(const StreamId& stream, Sequence from, const Visitor& visitor) const override;
  Result<Snapshot> latest_snapshot(std::string_view name, Sequence at) const override;
  std::string leaf_salt() const override;

 private:
  struct Impl;
  explicit RocksJournalReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace decklog::persistence
