// Counting what is really on disk: for the audit, and for the counters of a store that was damaged.
#include <rocksdb/write_batch.h>

#include "persistence/message_store_bytes.hpp"
#include "persistence/message_store_core.hpp"
#include "persistence/message_store_database.hpp"
#include "persistence/message_store_rocks.hpp"

namespace decklog::persistence {
namespace {

void count_chunk(Database::Recount::Found& found, const LoadedChunk& loaded) {
  const Chunk& chunk = *loaded.chunk;
  for (std::size_t i = 0; i < chunk.messages.size(); ++i) {
    const bool settled = i / 8 < loaded.settled.size() &&
                         (static_cast<std::uint8_t>(loaded.settled[i / 8]) >> (i % 8) & 1) != 0;
    if (settled) continue;
    const RefSlot& ref = chunk.ref(i, loaded.entry.position);
    ++found.messages;
    found.bytes += chunk.messages[i].size();
    Waiting& waiting = found.waiting[ref.route];
    ++waiting.messages;
    waiting.bytes += chunk.messages[i].size();
    if (ref.expires.ns != 0 && (found.first_expiry.ns == 0 || ref.expires < found.first_expiry)) {
      found.first_expiry = ref.expires;
    }
  }
  found.last = chunk.last();
}

bool differs(const Ledger& stored, std::uint64_t messages, std::uint64_t bytes) {
  const Counters& c = stored.counters;
  return !c.conserved() || c.queued != messages || c.queued_bytes != bytes;
}

std::string words(std::string_view what, const Ledger& stored, std::uint64_t messages, std::uint64_t bytes) {
  const Counters& c = stored.counters;
  return std::string(what) + ": accepted " + std::to_string(c.accepted) + ", delivered " +
         std::to_string(c.delivered) + ", expired " + std::to_string(c.expired) + ", dropped " +
         std::to_string(c.dropped) + ", queued " + std::to_string(c.queued) + " (" +
         std::to_string(c.queued_bytes) + " bytes); on disk " + std::to_string(messages) + " (" +
         std::to_string(bytes) + " bytes)";
}

}  // namespace

Result<Database::Recount> Database::recount(const std::map<std::uint32_t, std::uint64_t>& floors,
                                            Orphans orphans) {
  Recount out;
  std::unordered_set<std::uint64_t> named;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(rocksdb::ReadOptions{}, meta_));
  for (at->Seek("q"); at->Valid() && at->key().starts_with("q"); at->Next()) {
    ByteReader key({at->key().data() + 1, at->key().size() - 1});
    const auto queue = static_cast<std::uint32_t>(key.key(4));
    const std::uint64_t first = key.key(8);
    named.insert(first);
    const auto floor = floors.find(queue);
    if (floor == floors.end() || first <= floor->second) continue;  // purged, being cleaned up
    const Result<ChunkEntry> entry = decode_entry(first, {at->value().data(), at->value().size()});
    if (!entry) {
      out.problems.push_back("queue " + std::to_string(queue) + ": " + describe(entry.error()));
      continue;
    }
    const LoadedChunk loaded = load_chunk(*entry, queue);
    out.last_id = std::max(out.last_id, entry->last);
    if (loaded.chunk == nullptr) {
      out.problems.push_back("queue " + std::to_string(queue) + ": message " + std::to_string(first) + ": " +
                             loaded.problem);
      continue;
    }
    count_chunk(out.queues[queue], loaded);
  }
  if (!at->status().ok()) return store_error(at->status());
  rocksdb::WriteBatch batch;
  const std::unique_ptr<rocksdb::Iterator> chunk(db_->NewIterator(rocksdb::ReadOptions{}, chunks_));
  for (chunk->Seek("m"); chunk->Valid() && chunk->key().starts_with("m"); chunk->Next()) {
    ByteReader key({chunk->key().data() + 1, chunk->key().size() - 1});
    const std::uint64_t first = key.key(8);
    out.last_id = std::max(out.last_id, first);
    if (named.contains(first)) continue;
    ++out.orphans;
    if (orphans == Orphans::kRemove) batch.SingleDelete(chunks_, chunk->key());
  }
  if (!chunk->status().ok()) return store_error(chunk->status());
  if (batch.Count() > 0) {
    if (const rocksdb::Status removed = db_->Write(rocksdb::WriteOptions{}, &batch); !removed.ok()) {
      return store_error(removed);
    }
  }
  return out;
}

std::optional<WallTime> Database::oldest(std::uint32_t queue, std::uint64_t floor) const {
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(rocksdb::ReadOptions{}, meta_));
  at->Seek(entry_key('q', queue, floor + 1));
  if (!at->Valid() || !at->key().starts_with(queue_key('q', queue))) return std::nullopt;
  const Result<ChunkEntry> entry = decode_entry(0, {at->value().data(), at->value().size()});
  if (!entry) return std::nullopt;
  return entry->accepted;
}

// Compares the stored counters with the stored messages; memory is not asked.
Result<AuditReport> MessageStore::Core::audit() {
  flush();
  AuditReport report;
  std::map<std::uint32_t, QueueState> states;
  std::map<std::uint32_t, std::uint64_t> floors;
  Status scanned = database_->scan("c", [&](std::string_view key, std::string_view value) {
    const auto id = static_cast<std::uint32_t>(ByteReader(key.substr(1)).key(4));
    Result<QueueState> state = decode_queue_state(value);
    if (!state)
      return report.problems.push_back("queue " + std::to_string(id) + ": " + describe(state.error()));
    floors[id] = state->floor;
    states[id] = std::move(*state);
  });
  if (!scanned) return scanned.error();
  const Result<Database::Recount> found = database_->recount(floors, Database::Orphans::kRemove);
  if (!found) return found.error();
  report.orphans = found->orphans;
  report.problems.insert(report.problems.end(), found->problems.begin(), found->problems.end());
  std::map<std::uint32_t, Waiting> by_route;
  for (const auto& [id, state] : states) {
    const auto here = found->queues.find(id);
    const Database::Recount::Found counted =
        here == found->queues.end() ? Database::Recount::Found{} : here->second;
    report.messages += counted.messages;
    for (const auto& [route, waiting] : counted.waiting) {
      by_route[route].messages += waiting.messages;
      by_route[route].bytes += waiting.bytes;
    }
    if (differs(state.ledger, counted.messages, counted.bytes)) {
      report.problems.push_back(
          words("queue " + std::to_string(id), state.ledger, counted.messages, counted.bytes));
    }
  }
  scanned = database_->scan("s", [&](std::string_view key, std::string_view value) {
    const auto id = static_cast<std::uint32_t>(ByteReader(key.substr(1)).key(4));
    const Result<Ledger> ledger = decode_ledger(value);
    if (!ledger)
      return report.problems.push_back("route " + std::to_string(id) + ": " + describe(ledger.error()));
    const Waiting waiting = by_route[id];
    if (differs(*ledger, waiting.messages, waiting.bytes)) {
      report.problems.push_back(
          words("route " + std::to_string(id), *ledger, waiting.messages, waiting.bytes));
    }
  });
  if (!scanned) return scanned.error();
  return report;
}

}  // namespace decklog::persistence
