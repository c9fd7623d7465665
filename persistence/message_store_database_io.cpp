#include <rocksdb/convenience.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <chrono>

#include "persistence/message_store_bytes.hpp"
#include "persistence/message_store_database.hpp"
#include "persistence/message_store_rocks.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kCleanSlice = 512;                     // purged entries a write
constexpr std::uint64_t kTidyBytes = 1024 * 1024;            // not worth a compaction
constexpr std::uint64_t kReclaimBytes = 8ull * 1024 * 1024;  // delivered bytes between two looks at the files

// The first key after all that begin with `prefix`. Prefixes here begin with a letter, so there is one.
std::string end_of_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

bool in_chunk(const ChunkEntry& entry, std::uint64_t id) {
  return entry.first <= id && id <= entry.last;
}

}  // namespace

// The entry goes; the chunk goes with the last entry that names it. Runs on the commit thread only, which is
// the only writer, so what it reads here is exact.
void Database::release(rocksdb::WriteBatch& batch, const FinishedEntry& entry) {
  const std::string key = entry_key('q', entry.queue, entry.first);
  batch.SingleDelete(meta_, key);
  batch.Delete(meta_, entry_key('a', entry.queue, entry.first));
  released_.insert(key);
  for (const std::uint32_t sharer : entry.sharers) {
    const std::string other = entry_key('q', sharer, entry.first);
    if (released_.contains(other)) continue;
    rocksdb::PinnableSlice value;
    if (!db_->Get(rocksdb::ReadOptions{}, meta_, other, &value).IsNotFound()) return;
  }
  batch.SingleDelete(chunks_, chunk_key(entry.first));
}

Status Database::commit(std::span<const std::unique_ptr<SealedGroup>> groups, Durability durability,
                        CommitNumbers& numbers) {
  const auto begun = std::chrono::steady_clock::now();
  rocksdb::WriteBatch batch;
  released_.clear();
  bool sync = false;
  std::uint64_t next_message = 0, finished_bytes = 0;
  for (const auto& group : groups) {
    sync = sync || group->sync;
    for (const auto& chunk : group->chunks) {
      const std::string key = chunk_key(chunk->first());
      const std::string head = encode_chunk_head(*chunk);
      const rocksdb::Slice key_parts[] = {key};
      const rocksdb::Slice value_parts[] = {head, chunk->bytes};
      batch.Put(chunks_, rocksdb::SliceParts(key_parts, 1), rocksdb::SliceParts(value_parts, 2));
      for (std::size_t i = 0; i < chunk->queues.size(); ++i) {
        batch.Put(meta_, entry_key('q', chunk->queues[i], chunk->first()), encode_entry(*chunk, i));
      }
    }
    for (const FinishedEntry& entry : group->finished) {
      release(batch, entry);
      finished_bytes += kChunkBytes / 2;  // an estimate is enough to decide when to look at the files
    }
    for (const auto* writes : {&group->records, &group->states}) {
      for (const RecordWrite& write : *writes) {
        if (write.value) {
          batch.Put(meta_, write.key, *write.value);
        } else if (write.whole_prefix) {
          batch.DeleteRange(meta_, write.key, end_of_prefix(write.key));
        } else {
          batch.Delete(meta_, write.key);
        }
      }
    }
    for (const auto& [queue, floor] : group->purges) {
      std::string value;
      put_fixed64(value, floor);
      batch.Put(meta_, queue_key('p', queue), value);
    }
    if (group->first <= group->last) next_message = group->last.value + 1;
  }
  rocksdb::WriteOptions options;
  options.sync = sync && durability == Durability::kPower;
  const rocksdb::Status written = db_->Write(options, &batch);
  numbers.bytes = batch.GetDataSize();
  numbers.nanoseconds =
      static_cast<std::uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - begun).count());
  if (!written.ok()) return store_error(written);
  released_bytes_ += finished_bytes;
  for (const auto& group : groups) purges_.insert(purges_.end(), group->purges.begin(), group->purges.end());
  if (next_message != 0) note_high_water(next_message);
  return {};
}

bool Database::clean() {
  if (!purges_.empty()) {
    const auto [queue, floor] = purges_.front();
    if (!clean_purged(queue, floor)) purges_.erase(purges_.begin());
    return true;
  }
  if (released_bytes_ >= kReclaimBytes) {
    released_bytes_ = 0;
    reclaim_files();
  }
  return false;
}

bool Database::clean_purged(std::uint32_t queue, std::uint64_t floor) {
  rocksdb::WriteBatch batch;
  released_.clear();
  std::size_t count = 0;
  bool more = false;
  const std::string prefix = queue_key('q', queue);
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(rocksdb::ReadOptions{}, meta_));
  for (at->Seek(prefix); at->Valid() && at->key().starts_with(prefix); at->Next()) {
    if (++count > kCleanSlice) {
      more = true;
      break;
    }
    ByteReader key({at->key().data() + prefix.size(), at->key().size() - prefix.size()});
    const std::uint64_t first = key.key(8);
    if (first > floor) break;
    const Result<ChunkEntry> entry = decode_entry(first, {at->value().data(), at->value().size()});
    release(batch, {queue, first, entry ? entry->sharers : std::vector<std::uint32_t>{}});
    released_bytes_ += kChunkBytes / 2;
  }
  if (!more) {
    // A later purge of the same queue may wait behind this one; its own record is written again by it.
    const bool again =
        std::any_of(purges_.begin() + 1, purges_.end(), [&](const auto& p) { return p.first == queue; });
    if (!again) batch.Delete(meta_, queue_key('p', queue));
  }
  const bool written = db_->Write(rocksdb::WriteOptions{}, &batch).ok();
  return more && written;
}

std::uint64_t Database::table_bytes() const {
  std::uint64_t bytes = 0;
  db_->GetIntProperty(chunks_, rocksdb::DB::Properties::kTotalSstFilesSize, &bytes);
  return bytes;
}

// Whole files of messages that everybody has are dropped without being read or rewritten.
void Database::reclaim_files() {
  if (table_bytes() < kReclaimBytes / 2) return;  // messages delivered at once never reach a file
  std::uint64_t oldest = UINT64_MAX;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(rocksdb::ReadOptions{}, meta_));
  for (at->Seek("q"); at->Valid() && at->key().starts_with("q");) {
    ByteReader key({at->key().data() + 1, at->key().size() - 1});
    const auto queue = static_cast<std::uint32_t>(key.key(4));
    oldest = std::min(oldest, key.key(8));
    if (queue == UINT32_MAX) break;
    at->Seek(queue_key('q', queue + 1));
  }
  if (!at->status().ok()) return;
  const std::string begin = chunk_key(0), end = chunk_key(oldest);
  const rocksdb::Slice from(begin), to(end);
  rocksdb::DeleteFilesInRange(db_.get(), chunks_, &from, &to, false);
}

void Database::tidy() {
  released_bytes_ = 0;
  reclaim_files();
  if (table_bytes() < 2 * live_bytes_.load(std::memory_order_relaxed) + kTidyBytes) return;
  if (compacting_.exchange(true)) return;
  if (compaction_.joinable()) compaction_.join();
  compaction_ = std::thread([this] {
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.canceled = &stop_compaction_;
    db_->CompactRange(options, chunks_, nullptr, nullptr);
    compacting_ = false;
  });
}

LoadedChunk Database::load_chunk(const ChunkEntry& entry, std::uint32_t queue) const {
  LoadedChunk out;
  out.entry = entry;
  rocksdb::PinnableSlice value;
  rocksdb::Status got = db_->Get(rocksdb::ReadOptions{}, chunks_, chunk_key(entry.first), &value);
  if (got.ok()) {
    Result<Chunk> chunk = decode_chunk(entry.first, {value.data(), value.size()});
    const bool fits = chunk && entry.position < chunk->queues.size() &&
                      chunk->queues[entry.position] == queue && chunk->messages.size() == entry.messages &&
                      chunk->last() == entry.last;
    if (fits) {
      out.chunk = std::make_shared<Chunk>(std::move(*chunk));
    } else {
      out.problem = chunk ? "entry and messages do not fit" : describe(chunk.error());
    }
  } else {
    out.problem = describe(store_error(got));
  }
  value.Reset();
  got = db_->Get(rocksdb::ReadOptions{}, meta_, entry_key('a', queue, entry.first), &value);
  if (got.ok()) out.settled.assign(value.data(), value.size());
  return out;
}

LoadResult Database::load(const LoadJob& job) const {
  LoadResult result;
  result.job = job;
  result.next = job.from;
  const std::string prefix = queue_key('q', job.queue);
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(rocksdb::ReadOptions{}, meta_));
  at->SeekForPrev(entry_key('q', job.queue, job.from));
  if (!at->Valid() || !at->key().starts_with(prefix)) at->Seek(prefix);
  std::size_t messages = 0, bytes = 0;
  for (; at->Valid() && at->key().starts_with(prefix); at->Next()) {
    ByteReader key({at->key().data() + prefix.size(), at->key().size() - prefix.size()});
    const std::uint64_t first = key.key(8);
    if (first >= job.end) break;
    if (messages >= job.max_messages || bytes >= job.max_bytes) {
      result.next = first;
      return result;
    }
    Result<ChunkEntry> entry = decode_entry(first, {at->value().data(), at->value().size()});
    if (!entry) {
      // The entry's bytes are damaged: at least its first message is known to be lost.
      LoadedChunk lost;
      lost.entry.first = lost.entry.last = first;
      lost.problem = describe(entry.error());
      result.chunks.push_back(std::move(lost));
      continue;
    }
    if (entry->last < job.from && !in_chunk(*entry, job.from)) continue;
    if (job.expired_by && (entry->first_expiry.ns == 0 || entry->first_expiry > *job.expired_by)) {
      if (entry->first_expiry.ns != 0 &&
          (result.next_expiry.ns == 0 || entry->first_expiry < result.next_expiry)) {
        result.next_expiry = entry->first_expiry;
      }
      continue;
    }
    messages += entry->messages;
    bytes += entry->bytes;
    result.chunks.push_back(load_chunk(*entry, job.queue));
  }
  if (!at->status().ok()) result.status = store_error(at->status());
  result.next = std::max(job.end, job.from);
  return result;
}

// Written without a sync of its own after each commit: never ahead of what is durable, so a store that comes
// up behind it has provably lost something.
void Database::note_high_water(std::uint64_t next_message) {
  std::string bytes;
  put_fixed64(bytes, next_message);
  put_fixed64(bytes, ~next_message);
  [[maybe_unused]] const ssize_t written = ::pwrite(high_water_file_, bytes.data(), bytes.size(), 0);
}

std::uint64_t Database::high_water() const {
  char bytes[16];
  if (::pread(high_water_file_, bytes, sizeof bytes, 0) != sizeof bytes) return 0;
  ByteReader in({bytes, sizeof bytes});
  const std::uint64_t next = in.fixed64();
  return in.fixed64() == ~next ? next : 0;
}

}  // namespace decklog::persistence
