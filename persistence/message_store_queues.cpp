#include <algorithm>

#include "persistence/message_store_bytes.hpp"
#include "persistence/message_store_core.hpp"

namespace decklog::persistence {
namespace {

// Number of the oldest message that waits, or of a few before it; on disk when not all is in memory.
std::uint64_t oldest_of(const Database& database, const Queue& queue) {
  std::uint64_t first = queue.window.empty() ? UINT64_MAX : queue.window.begin()->first;
  const std::string prefix = queue_key('q', queue.id.value);
  const auto look = [&](std::string_view key, std::string_view) {
    const std::uint64_t stored = ByteReader(key.substr(prefix.size())).key(8);
    if (stored > queue.state.floor) first = std::min(first, stored);
  };
  if (!queue.all_in_memory()) (void)database.scan(prefix, look, Database::Direction::kForwards, 1);
  return first == UINT64_MAX ? queue.state.floor + 1 : first;
}

}  // namespace

Result<QueueId> MessageStore::Core::open_queue(const QueueName& name, const QueueLimits& limits) {
  if (name.name.size() > kMaxNameBytes) return error(Errc::kTooLarge, "queue name longer than 1024 bytes");
  if (name.priority >= kPriorities) return error(Errc::kInvalidArgument, "priority is 0 to 9", name.name);
  const auto found = queue_names_.find(name);
  Queue* queue = found == queue_names_.end() ? nullptr : find(found->second);
  if (queue != nullptr && queue->limits == limits) return queue->id;
  if (queue == nullptr) {
    if (queues_.size() >= kMaxQueues) return error(Errc::kNoSpace, "too many queues");
    auto made = std::make_unique<Queue>();
    made->id = {global_.next_queue++};
    made->name = name;
    made->tail_start = 1;
    queue = made.get();
    queue_names_.emplace(name, made->id);
    queues_.emplace(made->id.value, std::move(made));
    touch(*queue);
  }
  queue->limits = limits;
  open_->records.push_back({queue_key('n', queue->id.value), encode_queue_name(name, limits), false});
  schedule();
  return queue->id;
}

Result<RouteId> MessageStore::Core::open_route(std::string_view name) {
  if (name.size() > kMaxNameBytes) return error(Errc::kTooLarge, "route name longer than 1024 bytes");
  if (const auto found = route_names_.find(name); found != route_names_.end()) return found->second;
  if (routes_.size() >= kMaxRoutes) return error(Errc::kNoSpace, "too many routes");
  const RouteId id{global_.next_route++};
  Route& made = route(id.value);
  made.name = std::string(name);
  route_names_.emplace(made.name, id);
  open_->records.push_back({queue_key('t', id.value), made.name, false});
  touch(id.value, made);
  schedule();
  return id;
}

// Counted at once, cleaned up by the commit thread a slice at a time.
GroupId MessageStore::Core::purge(QueueId id, std::string_view reason) {
  Queue* queue = find(id);
  if (queue == nullptr) return open_->id;
  Counters& counters = queue->state.ledger.counters;
  const std::uint64_t first = oldest_of(*database_, *queue);
  for (const auto& [route_id, waiting] : queue->state.waiting) {
    Route& by = route(route_id);
    by.ledger.counters.queued -= waiting.messages;
    by.ledger.counters.queued_bytes -= waiting.bytes;
    count_drop(by.ledger, reason, waiting.messages);
    touch(route_id, by);
    report_loss(queue, route_id, reason, waiting.messages, first, queue->state.last);
  }
  if (counters.queued > 0) count_drop(queue->state.ledger, reason, counters.queued);
  live_bytes_ -= counters.queued_bytes;
  counters.queued = 0;
  counters.queued_bytes = 0;
  queue->state.waiting.clear();
  queue->state.next_expiry = {};
  queue->state.floor = global_.next_message - 1;
  while (!queue->window.empty()) {
    const std::shared_ptr<Chunk> chunk = queue->window.begin()->second.chunk;
    queue->window.erase(queue->window.begin());
    release_from_cache(chunk);
  }
  queue->window_waiting = 0;
  queue->pending = 0;
  queue->open_chunk = nullptr;
  queue->tail_start = queue->state.floor + 1;
  queue->cover_from = queue->cover_to = 0;
  queue->trimming = queue->sweeping = false;
  queue->late.clear();
  ++queue->epoch;
  open_->purges.emplace_back(id.value, queue->state.floor);
  touch(*queue);
  schedule();
  return open_->id;
}

GroupId MessageStore::Core::remove_queue(QueueId id, std::string_view reason) {
  Queue* queue = find(id);
  if (queue == nullptr) return open_->id;
  purge(id, reason);
  open_->records.push_back({queue_key('n', id.value), std::nullopt, false});
  open_->records.push_back({queue_key('c', id.value), std::nullopt, false});
  queue_names_.erase(queue->name);
  std::erase(dirty_queues_, id.value);
  queues_.erase(id.value);
  return open_->id;
}

namespace {

std::vector<DropCount> drop_counts(const Ledger& ledger) {
  std::vector<DropCount> out;
  for (const auto& [reason, count] : ledger.dropped) out.push_back({reason, count});
  return out;
}

}  // namespace

std::vector<QueueStatus> MessageStore::Core::queues(Instant now) const {
  std::vector<QueueStatus> out;
  for (const auto& [name, id] : queue_names_) {
    const Queue& queue = *find(id);
    QueueStatus status{id,          name,        queue.state.ledger.counters, drop_counts(queue.state.ledger),
                       Duration{0}, queue.limits};
    if (status.counters.queued > 0) {
      std::optional<WallTime> oldest;
      if (!queue.all_in_memory()) oldest = database_->oldest(id.value, queue.state.floor);
      if (!queue.window.empty()) {
        const WallTime here = queue.window.begin()->second.chunk->accepted;
        oldest = oldest ? std::min(*oldest, here) : here;
      }
      if (oldest) status.oldest_age = Duration(std::max<std::int64_t>(0, now.wall.ns - oldest->ns));
    }
    out.push_back(std::move(status));
  }
  return out;
}

std::vector<RouteStatus> MessageStore::Core::routes() const {
  std::vector<RouteStatus> out;
  for (const auto& [id, route] : routes_) {
    out.push_back({{id}, route.name, route.ledger.counters, drop_counts(route.ledger)});
  }
  return out;
}

StoreStatus MessageStore::Core::status() const {
  StoreStatus status = status_;
  status.live_bytes = live_bytes_;
  status.cached_bytes = cached_bytes_;
  status.refusing = refusing_;
  return status;
}

Result<std::vector<DeadLetter>> MessageStore::Core::dead_letters(std::size_t max) const {
  std::vector<DeadLetter> out;
  Status problem;
  const Status scanned = database_->scan(
      "d",
      [&](std::string_view, std::string_view value) {
        Result<DeadLetter> letter = decode_dead_letter(value);
        if (letter) {
          out.push_back(std::move(*letter));
        } else {
          problem = letter.error();
        }
      },
      Database::Direction::kBackwards, max);
  if (!scanned) return scanned.error();
  if (!problem && out.empty()) return problem.error();
  return out;
}

}  // namespace decklog::persistence
