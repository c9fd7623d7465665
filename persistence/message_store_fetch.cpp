#include <bit>

#include "persistence/message_store_core.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kReadMessages = 512;  // of one load, about
constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::uint64_t kPrefetchMessages = 256;  // a load begins when fewer ids than this are left in memory

}  // namespace

FetchState MessageStore::Core::fetch(QueueId id, MessageId& cursor, const FetchLimits& limits, Instant now,
                                     std::vector<Delivery>& out) {
  Queue* queue = find(id);
  if (queue == nullptr) return FetchState::kDrained;
  const StoreTime time = clock_->advance(now);
  last_instant_ = now;
  queue->unread = false;
  cursor = std::max(cursor, MessageId{queue->state.floor});
  Served served{out, out.size(), 0};
  for (;;) {
    const std::uint64_t next = cursor.value + 1;
    std::uint64_t limit = UINT64_MAX;
    if (next < queue->tail_start && !queue->all_in_memory()) {
      if (next < queue->cover_from || next >= queue->cover_to) {
        request(*queue, LoadPurpose::kRead,
                {.from = next, .max_messages = kReadMessages, .max_bytes = kReadBytes});
        queue->wants_news = true;
        return served.count() > 0 ? FetchState::kServed : FetchState::kLoading;
      }
      limit = queue->cover_to;
      if (limit - next < kPrefetchMessages && limit < queue->tail_start) {
        request(*queue, LoadPurpose::kRead,
                {.from = limit, .max_messages = kReadMessages, .max_bytes = kReadBytes});
      }
    }
    if (!serve(*queue, cursor, limit, limits, time, served)) return FetchState::kServed;
    if (limit == UINT64_MAX) break;
    cursor = std::max(cursor, MessageId{limit - 1});
  }
  queue->wants_news = true;
  return FetchState::kDrained;
}

// Hands out what the window has after the cursor and before `limit`. False: the caller has enough.
bool MessageStore::Core::serve(Queue& queue, MessageId& cursor, std::uint64_t limit,
                               const FetchLimits& limits, StoreTime now, Served& served) {
  std::vector<MessageId> expired;
  bool enough = false;
  auto at = queue.window.upper_bound(cursor.value);
  if (at != queue.window.begin()) --at;
  for (; at != queue.window.end() && at->first < limit && !enough; ++at) {
    const QueueChunk& held = at->second;
    const std::shared_ptr<Chunk>& chunk = held.chunk;
    if (chunk->last() <= cursor.value) continue;
    for (std::size_t i = 0; i < chunk->messages.size(); ++i) {
      const MessageSlot& slot = chunk->messages[i];
      if (slot.id <= cursor.value || held.is_settled(i)) continue;
      const RefSlot& ref = held.ref(i);
      if (ref.expires.ns != 0 && ref.expires <= now) {
        expired.push_back({slot.id});
        continue;
      }
      const bool passed =
          limits.only_lane != 0 ? slot.lane != limits.only_lane : queue.parked.contains(slot.lane);
      if (passed) continue;
      if (served.count() > 0 &&
          (served.count() >= limits.max_messages || served.bytes + slot.size() > limits.max_bytes)) {
        enough = true;
        break;
      }
      served.bytes += slot.size();
      const char* head = chunk->bytes.data() + slot.offset;
      served.out.push_back({{slot.id},
                            {ref.route},
                            slot.lane,
                            ref.flags,
                            slot.id < first_of_run_,
                            chunk->accepted,
                            {head, slot.head_size},
                            {head + slot.head_size, slot.body_size},
                            chunk});
      cursor.value = slot.id;
    }
    if (!enough) cursor.value = std::max(cursor.value, chunk->last());
  }
  for (const MessageId id : expired) settle_id(queue, id, Outcome::kExpired, "expired");
  return !enough;
}

void MessageStore::Core::request(Queue& queue, LoadPurpose purpose, LoadJob job) {
  if (purpose == LoadPurpose::kRead) {
    if (queue.reading) return;
    queue.reading = true;
  }
  job.queue = queue.id.value;
  job.queue_epoch = queue.epoch;
  job.end = queue.tail_start;
  job.purpose = static_cast<std::uint8_t>(purpose);
  ++queue.loads;
  reader_->submit(job);
}

void MessageStore::Core::rest(QueueId id) {
  Queue* queue = find(id);
  if (queue == nullptr) return;
  queue->wants_news = queue->unread = false;
  // What was loaded from disk goes; recent messages stay as long as the cache has room.
  while (queue->cover_to > queue->cover_from) {
    const auto at = queue->window.lower_bound(queue->cover_from);
    if (at == queue->window.end() || at->first >= queue->cover_to || at->first >= queue->tail_start) break;
    const std::shared_ptr<Chunk> chunk = at->second.chunk;
    if (!evict_from(*queue, *chunk)) break;
    release_from_cache(chunk);
  }
}

void MessageStore::Core::insert(Queue& queue, const std::shared_ptr<Chunk>& chunk, std::size_t position,
                                std::string settled) {
  QueueChunk held;
  held.chunk = chunk;
  held.position = static_cast<std::uint32_t>(position);
  held.settled = std::move(settled);
  held.settled.resize((chunk->messages.size() + 7) / 8, '\0');
  for (std::size_t i = 0; i < chunk->messages.size(); ++i) {
    if (held.is_settled(i)) continue;
    ++held.remaining;
  }
  queue.window_waiting += held.remaining;
  if (chunk->holders++ == 0) {
    cached_bytes_ += chunk->memory();
    chunk->place = cache_.insert(cache_.end(), chunk);
  }
  queue.window.emplace(chunk->first(), std::move(held));
}

void MessageStore::Core::take_in(Queue& queue, LoadedChunk& loaded) {
  const std::uint64_t first = loaded.entry.first;
  if (first <= queue.state.floor || queue.ghosts.contains(first) || queue.window.contains(first)) return;
  if (loaded.chunk == nullptr) {
    count_damaged(queue, loaded);
    return;
  }
  insert(queue, loaded.chunk, loaded.entry.position, std::move(loaded.settled));
  const auto at = queue.window.find(first);
  if (at->second.remaining == 0) finish(queue, at);  // settled before a crash took the deletion
}

// The stored bytes of these messages are lost. They were accepted: counted, reported, passed over.
void MessageStore::Core::count_damaged(Queue& queue, const LoadedChunk& loaded) {
  std::uint64_t lost = std::max<std::uint64_t>(loaded.entry.messages, 1);
  for (const char byte : loaded.settled)
    lost -= std::min<std::uint64_t>(lost, std::popcount(static_cast<std::uint8_t>(byte)));
  lost = std::min(lost, queue.state.ledger.counters.queued);
  std::uint64_t bytes = std::min(loaded.entry.bytes, queue.state.ledger.counters.queued_bytes);
  queue.state.ledger.counters.queued -= lost;
  queue.state.ledger.counters.queued_bytes -= bytes;
  live_bytes_ -= std::min(live_bytes_, bytes);
  count_drop(queue.state.ledger, "damaged", lost);
  // Which routes they came by is in the lost bytes: taken from the routes that wait, so that the sums stay
  // true.
  for (auto at = queue.state.waiting.begin(); at != queue.state.waiting.end() && lost > 0;) {
    const std::uint64_t part = std::min(lost, at->second.messages);
    const std::uint64_t part_bytes = std::min(bytes, at->second.bytes);
    Route& by = route(at->first);
    by.ledger.counters.queued -= part;
    by.ledger.counters.queued_bytes -= part_bytes;
    count_drop(by.ledger, "damaged", part);
    touch(at->first, by);
    report_loss(&queue, at->first, "damaged", part, loaded.entry.first, loaded.entry.last);
    at->second.messages -= part;
    at->second.bytes -= part_bytes;
    lost -= part;
    bytes -= part_bytes;
    at = at->second.messages == 0 ? queue.state.waiting.erase(at) : std::next(at);
  }
  open_->finished.push_back({queue.id.value, loaded.entry.first, loaded.entry.sharers});
  queue.ghosts[loaded.entry.first] = open_->id.value;
  touch(queue);
  schedule();
}

void MessageStore::Core::notify(Queue& queue) {
  if (!queue.wants_news) return;
  queue.wants_news = false;
  readable_.push_back(queue.id);
}

void MessageStore::Core::on_loaded(LoadResult result) {
  Queue* queue = find(QueueId{result.job.queue});
  if (queue == nullptr) return;
  const auto purpose = static_cast<LoadPurpose>(result.job.purpose);
  --queue->loads;
  if (purpose == LoadPurpose::kRead) queue->reading = false;
  if (!result.status) {
    // Tried again at the next tick, not at once: the disk may need a while, or for ever.
    queue->trimming = queue->trimming && purpose != LoadPurpose::kTrim;
    queue->sweeping = queue->sweeping && purpose != LoadPurpose::kSweep;
    troubles_.push_back({result.status.error().code, describe(result.status.error()), {}});
    schedule();
    return;
  }
  if (result.job.queue_epoch == queue->epoch) {
    for (LoadedChunk& loaded : result.chunks) take_in(*queue, loaded);
    switch (purpose) {
      case LoadPurpose::kRead:
        if (result.job.from != queue->cover_to || queue->cover_from >= queue->cover_to) {
          queue->cover_from = result.job.from;
        }
        queue->cover_to = result.next;
        queue->unread = true;
        break;
      case LoadPurpose::kTrim:
        queue->trimming = false;
        trim(*queue, result.next);
        break;
      case LoadPurpose::kSweep:
        sweep_loaded(*queue, result);
        break;
      case LoadPurpose::kSettle:
        settle_late(*queue, result.job.from);
        break;
    }
  }
  if (queue->loads == 0)
    std::erase_if(queue->ghosts, [&](const auto& g) { return g.second <= durable_group_; });
  if (purpose == LoadPurpose::kRead) notify(*queue);
  tell();
  shrink_cache();
}

}  // namespace decklog::persistence
