// The store under a RocksDB journal, shared by the writer, the offline reader and salvage. Internal to this
// folder.
//
// Column families: "default" holds records (below), "lifecycle" and "detail" hold one value of frames for
// each commit group that has events of that class; the key is the group's first sequence, big endian.
//   e                  identity            c                cuts: how far compaction removed each class
//   s<name>\0<through> snapshot            i<bucket><stream> the stream has events in this bucket of
//   sequences g<kind><first><last> a GapRecorded that is not in the log yet
// A closed handle stays valid for readers that still hold it. Thread safe once open.
#pragma once

#include <rocksdb/db.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <memory>

#include "persistence/journal.hpp"
#include "persistence/journal_files.hpp"

namespace decklog::persistence {

inline constexpr std::uint64_t kIndexBucketEvents = 512;
enum class FrameClass { kLifecycle = 1, kDetail = 2 };  // column family numbers
enum class DbMode { kCreate, kWrite, kReadOnly };  // kWrite never creates: an emptied directory is damage

// Events of a class with sequence <= cut are gone.
struct Cuts {
  std::uint64_t detail = 0;
  std::uint64_t lifecycle = 0;
  std::uint64_t of(FrameClass which) const { return which == FrameClass::kDetail ? detail : lifecycle; }
  std::uint64_t highest() const { return std::max(detail, lifecycle); }
};

Error from_rocks(const rocksdb::Status& status, std::string_view what);

namespace keys {
inline constexpr std::string_view kIdentity = "e";
inline constexpr std::string_view kCuts = "c";
std::string snapshot(std::string_view name, std::uint64_t through);
std::string index(std::uint64_t bucket, std::string_view stream);
std::string gap(const GapRecorded& gap);
}  // namespace keys

class JournalDb final {
 public:
  static Result<std::shared_ptr<JournalDb>> open(const std::filesystem::path& directory, DbMode mode,
                                                 std::uint64_t budget_bytes);
  // A new store with its identity; made aside and moved into place, so that half of one is never found.
  static Result<std::shared_ptr<JournalDb>> create(const std::filesystem::path& directory,
                                                   std::string_view identity, std::uint64_t budget_bytes);
  // Rebuilds the store's own records from what files are readable.
  static Status repair(const std::filesystem::path& directory, std::uint64_t budget_bytes);
  ~JournalDb();
  JournalDb(const JournalDb&) = delete;
  JournalDb& operator=(const JournalDb&) = delete;

  rocksdb::DB& db() const { return *db_; }
  rocksdb::ColumnFamilyHandle* records() const { return handles_[0]; }
  rocksdb::ColumnFamilyHandle* frames(FrameClass which) const { return handles_[static_cast<int>(which)]; }

  Cuts cuts() const { return {detail_cut_.load(), lifecycle_cut_.load()}; }
  void set_cuts(const Cuts& cuts);  // in memory; the record is written by the caller's batch
  static std::string encode_cuts(const Cuts& cuts);

  // Reading. `durable` is the newest sequence to show.
  Status read_raw(std::uint64_t from, std::uint64_t to, std::uint64_t durable,
                  const RawVisitor& visitor) const;
  Status read_stream(const StreamId& stream, std::uint64_t from, std::uint64_t durable,
                     const Visitor& visitor) const;
  Result<Snapshot> latest_snapshot(std::string_view name, std::uint64_t at) const;
  std::vector<std::uint64_t> snapshots(std::string_view name) const;  // positions, ascending
  Result<std::string> record(std::string_view key) const;
  std::vector<GapRecorded> pending_gaps() const;
  std::uint64_t first_sequence(std::uint64_t durable) const;
  std::uint64_t last_sequence() const;  // in the store, whatever was acknowledged
  // Flush of all column families, so that a closed store needs no log.
  Status flush_all();

 private:
  JournalDb() = default;
  Status mark_families();
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, 3> handles_{};
  std::atomic<std::uint64_t> detail_cut_ = 0, lifecycle_cut_ = 0;
};

// decode() of each raw event; what cannot be decoded ends the read.
Status read_decoded(const Visitor& visitor, const std::function<Status(const RawVisitor&)>& read_raw);

}  // namespace decklog::persistence
