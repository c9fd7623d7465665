// The RocksDB under the hub's stores: opening, repair, one batch a commit, loading, cleaning up. Private to
// persistence.
//
// Owner: MessageStore::Core. Threads: commit() and clean() from the commit thread only; load() from the read
// thread; scan() and audit() from any thread while nothing is being committed. RocksDB's own threads do the
// rest.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "persistence/message_store.hpp"
#include "persistence/message_store_format.hpp"

namespace decklog::persistence {

// The queue is done with the chunk.
struct FinishedEntry {
  std::uint32_t queue = 0;
  std::uint64_t first = 0;
  std::vector<std::uint32_t> sharers;
};

struct RecordWrite {
  std::string key;
  std::optional<std::string> value;  // nothing = erase
  bool forget_on_failure =
      false;                  // true: a failed group takes it along; else it is written with the next one
  bool whole_prefix = false;  // erase: every key that begins with this one
};

// All that becomes durable together. Built by the executor, handed to the commit thread, handed back when
// decided.
struct SealedGroup {
  GroupId id;
  std::uint64_t generation = 0;  // see Committer
  MessageId first{1}, last{0};
  bool sync = false;
  std::vector<std::shared_ptr<Chunk>> chunks;
  std::vector<FinishedEntry> finished;
  std::vector<RecordWrite> records;  // in order; the last write of a key holds
  std::vector<RecordWrite> states;   // counters and the like: absolute values, rebuilt when the group fails
  std::vector<std::pair<std::uint32_t, std::uint64_t>> purges;  // queue, void up to this id
};

struct LoadJob {
  std::uint32_t queue = 0;
  std::uint64_t queue_epoch = 0;  // of the queue's memory state: a result of an older one is thrown away
  std::uint64_t from = 0;         // begins with the chunk that holds this id, or the first after it
  std::uint64_t end = 0;          // chunks named `end` or later are in memory
  std::size_t max_messages = 256;
  std::size_t max_bytes = 256 * 1024;
  std::optional<StoreTime> expired_by = {};  // only chunks with a reference that expires by then
  std::uint8_t purpose = 0;                  // the caller's own
};

struct LoadedChunk {
  ChunkEntry entry;
  std::shared_ptr<Chunk> chunk;  // null: damaged
  std::string settled;           // bitmap, may be shorter than the messages
  std::string problem;
};

struct LoadResult {
  LoadJob job;
  std::vector<LoadedChunk> chunks;
  std::uint64_t next = 0;  // first id that was not looked at; >= job.end when exhausted
  StoreTime next_expiry;   // earliest among the chunks looked at (expired_by jobs); zero = none
  Status status;
};

struct CommitNumbers {
  std::uint64_t bytes = 0;
  std::uint64_t nanoseconds = 0;
};

class Database final {
 public:
  static Result<std::unique_ptr<Database>> open(const MessageStoreOptions& options, OpenReport& report);
  ~Database();

  // One atomic, optionally synced write of all the groups.
  Status commit(std::span<const std::unique_ptr<SealedGroup>> groups, Durability durability,
                CommitNumbers& numbers);
  // Removes what purged queues left, a slice at a time; gives back files of delivered messages. True: call
  // again.
  bool clean();
  // For quiet moments: compaction, in a thread of its own, when much of what is on disk is delivered.
  bool wants_tidying() const { return released_bytes_ > 0; }
  void tidy();
  void set_live_bytes(std::uint64_t bytes) { live_bytes_.store(bytes, std::memory_order_relaxed); }
  Status resume();  // after a failed write; ok when the database writes again
  std::uint64_t free_bytes() const;

  LoadResult load(const LoadJob& job) const;
  enum class Direction : std::uint8_t { kForwards = 1, kBackwards = 2 };
  Status scan(std::string_view prefix, const std::function<void(std::string_view, std::string_view)>& found,
              Direction direction = Direction::kForwards, std::size_t max = SIZE_MAX) const;
  Result<std::optional<std::string>> get(std::string_view key) const;
  // What is really there, by queue; chunks that no queue names are counted, and removed if asked.
  struct Recount {
    struct Found {
      std::uint64_t messages = 0, bytes = 0, last = 0;
      std::map<std::uint32_t, Waiting> waiting;
      StoreTime first_expiry;
    };
    std::map<std::uint32_t, Found> queues;
    std::uint64_t orphans = 0;
    std::uint64_t last_id = 0;
    std::vector<std::string> problems;
  };
  enum class Orphans : std::uint8_t { kKeep = 1, kRemove = 2 };
  Result<Recount> recount(const std::map<std::uint32_t, std::uint64_t>& floors, Orphans orphans);
  // Acceptance time of the oldest message that the queue has on disk after `floor`.
  std::optional<WallTime> oldest(std::uint32_t queue, std::uint64_t floor) const;
  std::uint64_t high_water() const;  // next message id as last noted; 0 = not known

 private:
  Database() = default;
  static constexpr std::string_view kMarkerKey = "!";
  Status mark();
  Status open_files(const std::string& directory);
  Status repair(const std::string& directory, OpenReport& report);
  void release(rocksdb::WriteBatch& batch, const FinishedEntry& entry);
  bool clean_purged(std::uint32_t queue, std::uint64_t floor);
  void reclaim_files();
  std::uint64_t table_bytes() const;  // of messages, in files
  void note_high_water(std::uint64_t next_message);
  LoadedChunk load_chunk(const ChunkEntry& entry, std::uint32_t queue) const;

  std::string directory_;
  std::unique_ptr<rocksdb::Env> environment_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;
  rocksdb::ColumnFamilyHandle* chunks_ = nullptr;
  std::unordered_set<std::string> released_;  // entries deleted by the batch being built
  std::vector<std::pair<std::uint32_t, std::uint64_t>> purges_;
  std::uint64_t released_bytes_ = 0;  // since files were last given back
  std::atomic<std::uint64_t> live_bytes_{0};
  std::thread compaction_;
  std::atomic<bool> compacting_{false};
  std::atomic<bool> stop_compaction_{false};
  int high_water_file_ = -1;
};

}  // namespace decklog::persistence
