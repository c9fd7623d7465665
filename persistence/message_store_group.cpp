#include "persistence/message_store_core.hpp"

namespace decklog::persistence {
namespace {

constexpr std::size_t kEagerMessages = 64;  // an open group of this size does not wait for the one in flight
constexpr std::size_t kSettledSeal = 1'024;
constexpr int kInUseAtOnce = 256;

}  // namespace

std::unique_ptr<SealedGroup> MessageStore::Core::new_group() {
  auto group = std::make_unique<SealedGroup>();
  group->id = {global_.next_group++};
  return group;
}

Route& MessageStore::Core::route(std::uint32_t id) {
  return routes_[id];
}

void MessageStore::Core::touch(std::uint32_t id, Route& route) {
  if (route.dirty) return;
  route.dirty = true;
  dirty_routes_.push_back(id);
}

void MessageStore::Core::touch(Queue& queue) {
  if (queue.dirty) return;
  queue.dirty = true;
  dirty_queues_.push_back(queue.id.value);
}

// One post for all that happens in this turn of the executor.
void MessageStore::Core::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  hooks_.post([weak = std::weak_ptr(self_)] {
    if (const auto self = weak.lock()) (*self)->end_of_turn();
  });
}

void MessageStore::Core::end_of_turn() {
  scheduled_ = false;
  const bool work = urgent() || open_settled_ >= kSettledSeal;
  if (work && !failed_ && (undecided_ == 0 || open_messages_ >= kEagerMessages)) seal();
  tell();
}

// Everything that waits to be told, from a posted handler only.
void MessageStore::Core::tell() {
  const auto losses = std::exchange(losses_, {});
  for (const auto& [key, loss] : losses) {
    if (hooks_.lost) hooks_.lost(loss);
  }
  for (const StoreTrouble& trouble : std::exchange(troubles_, {})) {
    if (hooks_.trouble) hooks_.trouble(trouble);
  }
  for (const QueueId id : std::exchange(readable_, {})) {
    if (hooks_.readable) hooks_.readable(id);
  }
}

void MessageStore::Core::encode_states(SealedGroup& group) {
  for (const std::uint32_t id : dirty_queues_) {
    Queue* queue = find(QueueId{id});
    if (queue == nullptr) continue;
    queue->dirty = false;
    group.states.push_back({queue_key('c', id), encode_queue_state(queue->state), true});
  }
  dirty_queues_.clear();
  for (const auto& [id, first] : dirty_chunks_) {
    const Queue* queue = find(QueueId{id});
    if (queue == nullptr) continue;
    const auto at = queue->window.find(first);
    if (at == queue->window.end()) continue;
    group.states.push_back({entry_key('a', id, first), at->second.settled, true});
  }
  dirty_chunks_.clear();
  for (const std::uint32_t id : dirty_routes_) {
    Route& by = routes_[id];
    by.dirty = false;
    group.states.push_back({queue_key('s', id), encode_ledger(by.ledger), true});
  }
  dirty_routes_.clear();
  global_.clock = clock_->save();
  group.states.push_back({"g", encode_global(global_), true});
}

void MessageStore::Core::seal() {
  std::unique_ptr<SealedGroup> group = std::exchange(open_, new_group());
  const auto put_before = [](auto& carried, auto& own) {
    carried.insert(carried.end(), std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));
    own = std::exchange(carried, {});
  };
  put_before(carried_.records, group->records);
  put_before(carried_.finished, group->finished);
  put_before(carried_.purges, group->purges);
  open_messages_ = 0;
  open_settled_ = 0;
  for (const auto& chunk : group->chunks) {
    for (const std::uint32_t id : chunk->queues) {
      if (Queue* queue = find(QueueId{id}); queue != nullptr && queue->open_chunk == chunk.get()) {
        queue->open_chunk = nullptr;
      }
    }
  }
  group->generation = generation_;
  group->sync = group->first <= group->last || !group->records.empty() || !group->purges.empty();
  encode_states(*group);
  if (!group->chunks.empty()) check_space();
  database_->set_live_bytes(live_bytes_);
  ++undecided_;
  last_seal_ = last_instant_.mono;
  committer_->submit(std::move(group));
}

// What was put is durable: from now on it can be fetched.
void MessageStore::Core::commit_chunks(SealedGroup& group) {
  for (const auto& chunk : group.chunks) {
    for (std::size_t i = 0; i < chunk->queues.size(); ++i) {
      Queue* queue = find(QueueId{chunk->queues[i]});
      if (queue == nullptr || chunk->first() <= queue->state.floor) continue;
      queue->pending -= chunk->messages.size();
      insert(*queue, chunk, i, {});
      notify(*queue);
      if (queue->limits.policy == FullPolicy::kDropOldest) trim(*queue, 0);
    }
  }
  for (const FinishedEntry& entry : group.finished) {
    Queue* queue = find(QueueId{entry.queue});
    if (queue != nullptr && queue->loads == 0) queue->ghosts.erase(entry.first);
  }
}

// The group was not written: its messages were never accepted. (Those a purge has counted meanwhile stay
// counted.)
void MessageStore::Core::revert_puts(const SealedGroup& group) {
  for (const auto& chunk : group.chunks) {
    for (std::size_t q = 0; q < chunk->queues.size(); ++q) {
      Queue* queue = find(QueueId{chunk->queues[q]});
      if (queue == nullptr || chunk->first() <= queue->state.floor) continue;
      queue->pending -= chunk->messages.size();
      for (std::size_t i = 0; i < chunk->messages.size(); ++i) {
        const std::uint64_t size = chunk->messages[i].size();
        Route& by = route(chunk->ref(i, q).route);
        for (Ledger* ledger : {&queue->state.ledger, &by.ledger}) {
          --ledger->counters.accepted;
          --ledger->counters.queued;
          ledger->counters.queued_bytes -= size;
        }
        Waiting& waiting = queue->state.waiting[chunk->ref(i, q).route];
        waiting.bytes -= size;
        if (--waiting.messages == 0) queue->state.waiting.erase(chunk->ref(i, q).route);
        live_bytes_ -= size;
        touch(chunk->ref(i, q).route, by);
      }
      touch(*queue);
    }
  }
}

// Everything else of a failed group is still true and goes with the next one, in order.
void MessageStore::Core::carry_over(SealedGroup& group) {
  for (RecordWrite& write : group.records) {
    if (!write.forget_on_failure) carried_.records.push_back(std::move(write));
  }
  for (FinishedEntry& entry : group.finished) {
    Queue* queue = find(QueueId{entry.queue});
    if (queue != nullptr && queue->ghosts.contains(entry.first)) queue->ghosts[entry.first] = open_->id.value;
    carried_.finished.push_back(std::move(entry));
  }
  carried_.purges.insert(carried_.purges.end(), group.purges.begin(), group.purges.end());
  for (const auto& [number, queue] : queues_) {
    touch(*queue);
    for (auto& [first, held] : queue->window) {
      if (held.touched_group < group.id.value || held.touched_group == open_->id.value) continue;
      held.touched_group = open_->id.value;
      dirty_chunks_.emplace_back(number, first);
    }
  }
  for (auto& [id, route] : routes_) touch(id, route);
}

void MessageStore::Core::on_committed(CommitResult result) {
  Committed report;
  report.status = result.status;
  report.first = {1};
  report.last = {0};
  status_.last_commit_ns = result.numbers.nanoseconds;
  undecided_ -= result.groups.size();
  status_.groups += result.groups.size();
  if (result.status) {
    status_.bytes_written += result.numbers.bytes;
  } else {
    ++generation_;
    failed_ = true;
    for (const auto& group : result.groups) {
      revert_puts(*group);
      carry_over(*group);
    }
    set_refusing(result.status.error());
  }
  for (const auto& group : result.groups) {
    if (group->first <= group->last) {
      if (report.first > report.last) report.first = group->first;
      report.last = group->last;
    }
    report.group = group->id;
    durable_group_ = group->id.value;
    if (result.status) {
      commit_chunks(*group);
      continue;
    }
    for (const auto& listener : failure_listeners_) listener(group->id);
  }
  if (result.status && failed_) {
    failed_ = false;
    check_space();
  }
  if (hooks_.committed) hooks_.committed(report);
  tell();
  shrink_cache();
  if (!failed_ && undecided_ == 0 && (urgent() || open_settled_ >= kSettledSeal)) seal();
}

void MessageStore::Core::set_refusing(const Error& why) {
  if (refusing_) return;
  refusing_ = true;
  troubles_.push_back({why.code, describe(why), {}});
  schedule();
}

void MessageStore::Core::check_space() {
  const std::uint64_t free = database_->free_bytes();
  if (free < options_.min_free_bytes) {
    set_refusing(error(Errc::kNoSpace, "less than " + std::to_string(options_.min_free_bytes >> 10) +
                                           " KiB free on the disk, new messages are refused"));
  } else if (refusing_ && !failed_ && free >= options_.min_free_bytes + options_.min_free_bytes / 8) {
    refusing_ = false;
    troubles_.push_back({Errc::kOk, "the message store accepts again", {}});
    schedule();
  }
}

void MessageStore::Core::flush() {
  seal();
  committer_->wait_idle();
  reader_->wait_idle();
}

void MessageStore::Core::release_from_cache(const std::shared_ptr<Chunk>& chunk) {
  if (--chunk->holders > 0) return;
  cached_bytes_ -= chunk->memory();
  cache_.erase(chunk->place);
}

// Forgets the queue's view of the chunk, if what was settled in it is durable and nobody is reading older
// bits.
bool MessageStore::Core::evict_from(Queue& queue, const Chunk& chunk) {
  const auto at = queue.window.find(chunk.first());
  if (at == queue.window.end() || at->second.chunk.get() != &chunk) return false;
  if (at->second.touched_group > durable_group_ || queue.loads > 0 || queue.unread) return false;
  queue.window_waiting -= at->second.remaining;
  if (chunk.first() >= queue.tail_start) queue.tail_start = chunk.last() + 1;
  if (queue.cover_from <= chunk.first() && chunk.first() < queue.cover_to) {
    queue.cover_from = std::min(chunk.last() + 1, queue.cover_to);
  }
  queue.window.erase(at);
  return true;
}

void MessageStore::Core::shrink_cache() {
  int in_use =
      0;  // chunks that cannot go now; looking at all of them each time would cost more than it gives
  auto at = cache_.begin();
  while (at != cache_.end() && cached_bytes_ > options_.cache_bytes && in_use < kInUseAtOnce) {
    const std::shared_ptr<Chunk> chunk = *at++;
    for (const std::uint32_t id : chunk->queues) {
      Queue* queue = find(QueueId{id});
      if (queue != nullptr && evict_from(*queue, *chunk)) release_from_cache(chunk);
    }
    if (chunk->holders > 0) ++in_use;
  }
}

}  // namespace decklog::persistence
