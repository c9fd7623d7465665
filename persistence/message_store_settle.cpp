#include <algorithm>

#include "persistence/message_store_core.hpp"

namespace decklog::persistence {
namespace {

constexpr std::uint64_t kTrimToPercent = 95;  // of the limit: not one trim for each message
constexpr std::size_t kTrimMessages = 1'024;
constexpr std::size_t kSweepMessages = 2'048;
constexpr std::chrono::seconds kClockSave{60};  // the expiry clock's reference is at most this old on disk
constexpr std::size_t kSettledSeal =
    1'024;  // so many acknowledgements do not wait for a message to ride with

}  // namespace

MessageStore::Core::Window::iterator MessageStore::Core::find_chunk(Queue& queue, std::uint64_t id) {
  auto at = queue.window.upper_bound(id);
  if (at == queue.window.begin()) return queue.window.end();
  --at;
  return at->second.chunk->last() >= id ? at : queue.window.end();
}

bool MessageStore::Core::settle_one(Queue& queue, Window::iterator at, std::size_t i, Outcome outcome,
                                    std::string_view reason) {
  QueueChunk& held = at->second;
  const MessageSlot& slot = held.chunk->messages[i];
  const std::uint32_t route_id = held.ref(i).route;
  Route& by = route(route_id);
  for (Ledger* ledger : {&queue.state.ledger, &by.ledger}) {
    --ledger->counters.queued;
    ledger->counters.queued_bytes -= slot.size();
    switch (outcome) {
      case Outcome::kDelivered:
        ++ledger->counters.delivered;
        break;
      case Outcome::kExpired:
        ++ledger->counters.expired;
        break;
      case Outcome::kDropped:
      case Outcome::kDeadLetter:
        count_drop(*ledger, reason, 1);
        break;
    }
  }
  const auto waiting = queue.state.waiting.find(route_id);
  if (waiting != queue.state.waiting.end()) {
    waiting->second.bytes -= slot.size();
    if (--waiting->second.messages == 0) queue.state.waiting.erase(waiting);
  }
  live_bytes_ -= slot.size();
  if (outcome == Outcome::kDeadLetter) keep_dead_letter(queue, held, i, reason);
  if (outcome != Outcome::kDelivered) {
    const std::string_view head{held.chunk->bytes.data() + slot.offset, slot.head_size};
    report_loss(&queue, route_id, reason, 1, slot.id, slot.id, head);
  }
  held.settle(i);
  --held.remaining;
  --queue.window_waiting;
  ++open_settled_;
  touch(queue);
  touch(route_id, by);
  if (held.remaining == 0) {
    finish(queue, at);
    return true;
  }
  if (held.touched_group != open_->id.value) {
    held.touched_group = open_->id.value;
    dirty_chunks_.emplace_back(queue.id.value, at->first);
  }
  return false;
}

void MessageStore::Core::finish(Queue& queue, Window::iterator at) {
  const std::shared_ptr<Chunk> chunk = at->second.chunk;
  FinishedEntry entry{queue.id.value, at->first, {}};
  for (const std::uint32_t other : chunk->queues) {
    if (other != queue.id.value) entry.sharers.push_back(other);
  }
  open_->finished.push_back(std::move(entry));
  queue.ghosts[at->first] = open_->id.value;
  queue.window.erase(at);
  release_from_cache(chunk);
}

void MessageStore::Core::keep_dead_letter(const Queue& queue, const QueueChunk& held, std::size_t i,
                                          std::string_view reason) {
  const MessageSlot& slot = held.chunk->messages[i];
  const std::string_view bytes = held.chunk->bytes;
  DeadLetter letter;
  letter.id = {slot.id};
  letter.queue = queue.name.name;
  letter.reason = std::string(reason);
  letter.time = last_instant_.wall;
  letter.head = std::string(bytes.substr(slot.offset, slot.head_size));
  letter.body = std::string(bytes.substr(slot.offset + slot.head_size, slot.body_size));
  const std::string value = encode_dead_letter(letter);
  const std::uint64_t number = global_.next_dead_letter++;
  dead_letters_.emplace_back(number, value.size());
  dead_letter_bytes_ += value.size();
  open_->records.push_back({dead_letter_key(number), value, false});
  while (dead_letters_.size() > options_.max_dead_letters ||
         dead_letter_bytes_ > options_.max_dead_letter_bytes) {
    open_->records.push_back({dead_letter_key(dead_letters_.front().first), std::nullopt, false});
    dead_letter_bytes_ -= dead_letters_.front().second;
    dead_letters_.pop_front();
  }
}

void MessageStore::Core::settle_id(Queue& queue, MessageId id, Outcome outcome, std::string_view reason) {
  if (id.value <= queue.state.floor || id.value > queue.state.last) return;
  const auto at = find_chunk(queue, id.value);
  if (at == queue.window.end()) {
    if (queue.covers(id.value)) return;  // settled before
    // The consumer acknowledges something it fetched before it rested: its chunk is read again.
    queue.late.push_back({id, outcome, std::string(reason)});
    request(queue, LoadPurpose::kSettle, {.from = id.value, .max_messages = 1, .max_bytes = 1});
    return;
  }
  const auto& messages = at->second.chunk->messages;
  const auto slot = std::lower_bound(messages.begin(), messages.end(), id.value,
                                     [](const MessageSlot& a, std::uint64_t b) { return a.id < b; });
  if (slot == messages.end() || slot->id != id.value) return;
  const auto i = static_cast<std::size_t>(slot - messages.begin());
  if (!at->second.is_settled(i)) settle_one(queue, at, i, outcome, reason);
}

void MessageStore::Core::settle_late(Queue& queue, std::uint64_t id) {
  std::vector<LateOutcome> here;
  std::erase_if(queue.late, [&](const LateOutcome& one) {
    if (one.id.value == id) here.push_back(one);
    return one.id.value == id;
  });
  for (const LateOutcome& one : here) {
    // Not there although it was looked for: settled before.
    if (find_chunk(queue, id) != queue.window.end()) settle_id(queue, one.id, one.outcome, one.reason);
  }
}

GroupId MessageStore::Core::settle(QueueId id, std::span<const MessageId> ids, Outcome outcome,
                                   std::string_view reason) {
  if (Queue* queue = find(id)) {
    for (const MessageId one : ids) settle_id(*queue, one, outcome, reason);
  }
  if (open_settled_ >= kSettledSeal) schedule();
  return open_->id;
}

bool MessageStore::Core::over_limit(const Queue& queue) const {
  const Counters& c = queue.state.ledger.counters;
  return c.queued > queue.limits.max_messages || c.queued_bytes > queue.limits.max_bytes ||
         (live_bytes_ > options_.max_bytes && c.queued > 0);
}

// Drops the oldest until the queue is within its limit again. `known_to`: the window holds everything before
// this id.
void MessageStore::Core::trim(Queue& queue, std::uint64_t known_to) {
  if (queue.trimming || !over_limit(queue)) return;
  const std::uint64_t bytes = queue.limits.max_bytes / 100 * kTrimToPercent;
  const std::uint64_t messages = queue.limits.max_messages * kTrimToPercent / 100;
  const std::uint64_t total = options_.max_bytes / 100 * kTrimToPercent;
  const auto enough = [&] {
    const Counters& c = queue.state.ledger.counters;
    return c.queued <= messages && c.queued_bytes <= bytes && live_bytes_ <= total;
  };
  const bool all_known = queue.all_in_memory() || known_to >= queue.tail_start;
  const std::uint64_t limit = all_known ? UINT64_MAX : known_to;
  while (!enough() && !queue.window.empty()) {
    const auto at = queue.window.begin();
    if (at->first >= limit) break;
    for (std::size_t i = 0; i < at->second.chunk->messages.size() && !enough(); ++i) {
      if (at->second.is_settled(i)) continue;
      if (settle_one(queue, at, i, Outcome::kDropped, "quota")) break;
    }
  }
  if (enough() || queue.all_in_memory()) return;  // what is not committed yet is looked at when it is
  if (known_to != 0) {
    const auto oldest = queue.window.begin();
    queue.trim_from = oldest != queue.window.end() ? std::min(oldest->first, known_to) : known_to;
    if (known_to >= queue.tail_start) return;
  }
  queue.trimming = true;
  request(queue, LoadPurpose::kTrim,
          {.from = std::max(queue.state.floor + 1, queue.trim_from),
           .max_messages = kTrimMessages,
           .max_bytes = kChunkBytes * 8});
}

// Expires what is due in the window within [from, to); returns the earliest expiry that is still ahead there.
StoreTime MessageStore::Core::expire_window(Queue& queue, StoreTime now, std::uint64_t from,
                                            std::uint64_t to) {
  StoreTime next;
  for (auto at = queue.window.lower_bound(from); at != queue.window.end() && at->first < to;) {
    const auto here = at++;
    for (std::size_t i = 0; i < here->second.chunk->messages.size(); ++i) {
      if (here->second.is_settled(i)) continue;
      const StoreTime expires = here->second.ref(i).expires;
      if (expires.ns == 0) continue;
      if (expires > now) {
        if (next.ns == 0 || expires < next) next = expires;
      } else if (settle_one(queue, here, i, Outcome::kExpired, "expired")) {
        break;
      }
    }
  }
  return next;
}

// One round over a queue that may hold expired messages nobody fetches: on disk first, then in memory.
void MessageStore::Core::sweep(Queue& queue) {
  const StoreTime now = clock_->now();
  if (queue.sweep_next < queue.tail_start && !queue.all_in_memory()) {
    queue.sweeping = true;
    request(queue, LoadPurpose::kSweep,
            {.from = queue.sweep_next,
             .max_messages = kSweepMessages,
             .max_bytes = kChunkBytes * 8,
             .expired_by = now});
    return;
  }
  const StoreTime next = expire_window(queue, now, 0, UINT64_MAX);
  StoreTime earliest = queue.sweep_expiry;
  if (next.ns != 0 && (earliest.ns == 0 || next < earliest)) earliest = next;
  // Messages put in this moment and not committed are not in the window yet: look again soon.
  if (queue.pending > 0 && queue.state.next_expiry.ns != 0) earliest = now;
  queue.state.next_expiry = earliest;
  queue.sweep_next = 0;
  queue.sweep_expiry = {};
  queue.sweeping = false;
  touch(queue);
}

void MessageStore::Core::sweep_loaded(Queue& queue, const LoadResult& result) {
  const auto keep_earliest = [&](StoreTime time) {
    if (time.ns != 0 && (queue.sweep_expiry.ns == 0 || time < queue.sweep_expiry)) queue.sweep_expiry = time;
  };
  keep_earliest(result.next_expiry);
  keep_earliest(expire_window(queue, clock_->now(), result.job.from, result.next));
  queue.sweep_next = result.next;
  sweep(queue);
}

void MessageStore::Core::tick(Instant now) {
  const StoreTime time = clock_->advance(now);
  last_instant_ = now;
  check_space();
  for (auto& [number, queue] : queues_) {
    if (queue->state.next_expiry.ns != 0 && queue->state.next_expiry <= time && !queue->sweeping) {
      queue->sweep_next = queue->state.floor + 1;
      queue->sweep_expiry = {};
      sweep(*queue);
    }
    if (queue->limits.policy == FullPolicy::kDropOldest) trim(*queue, 0);
    if (queue->wants_news && !queue->reading && !queue->all_in_memory())
      notify(*queue);  // after a failed read
  }
  const bool stale = now.mono - last_seal_ >= kClockSave;
  if (undecided_ == 0 && (failed_ || urgent() || !dirty_queues_.empty() || !open_->finished.empty() || stale))
    seal();
  schedule();
}

}  // namespace decklog::persistence
