// The writer's side of a RocksDB journal: queue, committer thread, budget, healing. Internal to this folder.
//
// mutex_ guards the queue and the numbers readers ask for; the store itself is used by the committer without
// it. Encoding and checksums are done by the caller of append(), so that the committer only gathers and
// writes.
#pragma once

#include <rocksdb/write_batch.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "persistence/rocks_journal.hpp"
#include "persistence/rocks_journal_open.hpp"

namespace decklog::persistence {

class RocksJournal::Impl final {
 public:
  Impl(RocksJournalOptions options, FileHandle lock, OpenedJournal opened);
  ~Impl();

  void append(std::span<const Envelope> step, Done done);
  void put_snapshot(Snapshot snapshot, Done done);
  Status flush();
  JournalStats stats() const;
  std::uint64_t next() const;
  std::shared_ptr<JournalDb> db() const;

  const RocksJournalOptions options_;
  JournalReport report_;
  std::atomic<std::uint64_t> durable_ = 0, first_ = 0;
  JournalIdentity identity() const;

 private:
  struct Item {
    std::uint64_t first = 0;
    std::size_t events = 0;
    std::string lifecycle, detail;                               // frames
    std::vector<std::pair<std::uint64_t, std::string>> streams;  // one for each stream and index bucket
    std::vector<GapRecorded> gaps;
    std::optional<Snapshot> snapshot;
    bool control = false;
    Status status;
    Done done;
    std::size_t bytes() const {
      return lifecycle.size() + detail.size() + (snapshot ? snapshot->bytes.size() : 0);
    }
  };
  using Items = std::vector<Item>;

  // queue (rocks_journal.cpp)
  void enqueue(Item item);
  void run();
  Items take_group();
  void finish(Items& group, const Status& status);

  // one group (rocks_journal_commit.cpp)
  Status commit(Items& group);
  Status admit(const Items& group);
  void gather(const Items& group, rocksdb::WriteBatch& batch);
  void add_snapshot(const Snapshot& snapshot, rocksdb::WriteBatch& batch);
  void after_commit(const Items& group, std::int64_t took_ns);
  Status heal();
  Status reopen();
  void degrade(const Error& failure);

  // budget (rocks_journal_budget.cpp)
  void spend_budget();
  std::optional<std::uint64_t> find_cut(FrameClass which, std::uint64_t bytes, std::uint64_t limit) const;
  Status cut(FrameClass which, std::uint64_t through);
  std::uint64_t class_bytes(FrameClass which) const;
  std::string seal(std::uint64_t first, std::uint64_t last, std::uint64_t& kept) const;

  mutable std::mutex mutex_;
  std::condition_variable work_, idle_;
  std::deque<Item> queue_;
  std::size_t queued_bytes_ = 0;
  bool busy_ = false, stopping_ = false;
  std::uint64_t next_ = 1;
  Status first_failure_;
  JournalStats stats_;
  std::shared_ptr<JournalDb> db_;  // empty while a failed store is opened again
  JournalIdentity identity_;

  // Committer only.
  FileHandle lock_;
  HighWaterFile mark_;
  std::set<std::string> indexed_;  // streams already in the index for indexed_bucket_
  std::uint64_t indexed_bucket_ = 0;
  std::uint64_t newest_state_ = 0;
  std::uint64_t unsynced_marks_ = 0, unaccounted_bytes_ = 0;
  std::uint64_t bytes_used_ = 0;
  bool degraded_ = false, over_budget_ = false, snapshot_asked_ = false, reserve_made_ = false;

  std::thread committer_;
};

}  // namespace decklog::persistence
