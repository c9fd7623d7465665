#include "persistence/message_store_core.hpp"

namespace decklog::persistence {
namespace {

// A queue that drops its oldest may be this much over its limit while the old ones are read from disk.
constexpr std::uint64_t kTrimSlackPercent = 10;

}  // namespace

bool MessageStore::Core::is_full(const Queue& queue, std::uint64_t size) const {
  const Counters& c = queue.state.ledger.counters;
  return c.queued + 1 > queue.limits.max_messages || c.queued_bytes + size > queue.limits.max_bytes ||
         live_bytes_ + size > options_.max_bytes;
}

// Decides for each reference whether the queue takes it; an error refuses the message as a whole.
Status MessageStore::Core::check_refs(const NewMessage& message, std::span<const QueueRef> refs,
                                      std::vector<bool>& taken) {
  const std::uint64_t size = message.head.size() + message.body.size();
  if (size > kMaxMessageBytes) return error(Errc::kTooLarge, "message larger than 1 MiB");
  if (refs.size() > kMaxRefsPerMessage) return error(Errc::kTooLarge, "too many queues for one message");
  if (refusing_) return error(Errc::kNoSpace, "the disk is full");
  taken.assign(refs.size(), true);
  ++put_stamp_;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    Queue* queue = find(refs[i].queue);
    if (queue == nullptr) return error(Errc::kNotFound, "no such queue", std::to_string(refs[i].queue.value));
    if (queue->put_stamp == put_stamp_)
      return error(Errc::kInvalidArgument, "queue named twice", queue->name.name);
    queue->put_stamp = put_stamp_;
    if (refs[i].route.value != 0 && !routes_.contains(refs[i].route.value)) {
      return error(Errc::kNotFound, "no such route", std::to_string(refs[i].route.value));
    }
    if (!is_full(*queue, size)) continue;
    const Counters& c = queue->state.ledger.counters;
    const std::uint64_t slack_bytes = queue->limits.max_bytes / 100 * kTrimSlackPercent;
    const std::uint64_t slack_messages = queue->limits.max_messages / 100 * kTrimSlackPercent;
    switch (queue->limits.policy) {
      case FullPolicy::kRejectNew:
        return error(Errc::kNoSpace, "the queue is full", queue->name.name);
      case FullPolicy::kDropNew:
        taken[i] = false;
        break;
      case FullPolicy::kDropOldest:
        // Old ones must make room: not when it alone is too large, nor when trimming does not keep up.
        taken[i] = size <= queue->limits.max_bytes && c.queued > 0 &&
                   c.queued_bytes <= queue->limits.max_bytes + slack_bytes &&
                   c.queued <= queue->limits.max_messages + slack_messages;
        break;
    }
  }
  return {};
}

// Messages for the same set of queues share a chunk, but only while that chunk is the newest of each of them:
// the chunks of one queue never overlap, so their order is the order of the messages.
Chunk& MessageStore::Core::chunk_for(std::span<const QueueRef> refs, const std::vector<bool>& taken,
                                     Instant now) {
  Chunk* chunk = nullptr;
  std::size_t count = 0;
  bool same = true;
  for (std::size_t i = 0; i < refs.size() && same; ++i) {
    if (!taken[i]) continue;
    Chunk* open = find(refs[i].queue)->open_chunk;
    if (count == 0) chunk = open;
    same = open != nullptr && open == chunk && count < open->queues.size() &&
           open->queues[count] == refs[i].queue.value;
    ++count;
  }
  if (same && chunk->queues.size() == count && chunk->messages.size() < kChunkMessages &&
      chunk->bytes.size() < kChunkBytes) {
    return *chunk;
  }
  auto made = std::make_shared<Chunk>();
  made->accepted = now.wall;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (!taken[i]) continue;
    made->queues.push_back(refs[i].queue.value);
    find(refs[i].queue)->open_chunk = made.get();
  }
  open_->chunks.push_back(std::move(made));
  return *open_->chunks.back();
}

void MessageStore::Core::drop_on_entry(Queue& queue, const QueueRef& ref, std::uint64_t id,
                                       std::string_view head) {
  ++queue.state.ledger.counters.accepted;
  count_drop(queue.state.ledger, "quota", 1);
  Route& by = route(ref.route.value);
  ++by.ledger.counters.accepted;
  count_drop(by.ledger, "quota", 1);
  touch(queue);
  touch(ref.route.value, by);
  report_loss(&queue, ref.route.value, "quota", 1, id, id, head);
}

Result<MessageId> MessageStore::Core::put(const NewMessage& message, std::span<const QueueRef> refs,
                                          Instant now, RouteId unrouted) {
  std::vector<bool> taken;
  const StoreTime time = clock_->advance(now);
  last_instant_ = now;
  if (Status fits = check_refs(message, refs, taken); !fits) {
    ++status_.refused;
    return fits.error();
  }
  const MessageId id{global_.next_message++};
  if (open_->first > open_->last) open_->first = id;
  open_->last = id;
  ++open_messages_;
  ++status_.messages;
  if (refs.empty()) {
    Route& by = route(unrouted.value);
    ++by.ledger.counters.accepted;
    count_drop(by.ledger, "no-route", 1);
    touch(unrouted.value, by);
    report_loss(nullptr, unrouted.value, "no-route", 1, id.value, id.value, message.head);
  }
  bool any = false;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (taken[i]) {
      any = true;
    } else {
      drop_on_entry(*find(refs[i].queue), refs[i], id.value, message.head);
    }
  }
  if (any) {
    Chunk& chunk = chunk_for(refs, taken, now);
    MessageSlot slot;
    slot.id = id.value;
    slot.lane = message.lane;
    slot.offset = static_cast<std::uint32_t>(chunk.bytes.size());
    slot.head_size = static_cast<std::uint32_t>(message.head.size());
    slot.body_size = static_cast<std::uint32_t>(message.body.size());
    chunk.bytes.append(message.head).append(message.body);
    chunk.messages.push_back(slot);
    for (std::size_t i = 0; i < refs.size(); ++i) {
      if (!taken[i]) continue;
      const StoreTime expires{refs[i].time_to_live.count() == 0 ? 0 : time.ns + refs[i].time_to_live.count()};
      chunk.refs.push_back({expires, refs[i].route.value, refs[i].flags});
      Queue& queue = *find(refs[i].queue);
      Route& by = route(refs[i].route.value);
      Waiting& waiting = queue.state.waiting[refs[i].route.value];
      ++waiting.messages;
      waiting.bytes += slot.size();
      for (Ledger* ledger : {&queue.state.ledger, &by.ledger}) {
        ++ledger->counters.accepted;
        ++ledger->counters.queued;
        ledger->counters.queued_bytes += slot.size();
      }
      live_bytes_ += slot.size();
      queue.state.last = id.value;
      ++queue.pending;
      if (expires.ns != 0 && (queue.state.next_expiry.ns == 0 || expires < queue.state.next_expiry)) {
        queue.state.next_expiry = expires;
      }
      touch(queue);
      touch(refs[i].route.value, by);
      if (queue.limits.policy == FullPolicy::kDropOldest && over_limit(queue)) trim(queue, 0);
    }
  }
  schedule();
  return id;
}

GroupId MessageStore::Core::write(std::string_view key, std::optional<std::string_view> value,
                                  RecordStore::OnFailure on_failure) {
  std::string stored("x");
  stored.append(key);
  open_->records.push_back({std::move(stored), value ? std::optional<std::string>(*value) : std::nullopt,
                            on_failure == RecordStore::OnFailure::kForget});
  schedule();
  return open_->id;
}

GroupId MessageStore::Core::erase_prefix(std::string_view prefix) {
  open_->records.push_back({"x" + std::string(prefix), std::nullopt, false, true});
  schedule();
  return open_->id;
}

void MessageStore::Core::report_loss(const Queue* queue, std::uint32_t route_id, std::string_view reason,
                                     std::uint64_t count, std::uint64_t first, std::uint64_t last,
                                     std::string_view head) {
  const std::string queue_name = queue == nullptr ? std::string() : queue->name.name;
  const std::string& route_name = route(route_id).name;
  Loss& loss = losses_[{queue_name, route_name, std::string(reason)}];
  if (loss.count == 0) loss = {queue_name, route_name, std::string(reason), 0, {first}, {last}, {}};
  loss.count += count;
  const bool message_of_hub = queue == nullptr || queue->name.kind == QueueKind::kEndpoint;
  if (hooks_.origin && message_of_hub && !head.empty()) loss.origins[hooks_.origin(head)] += count;
  loss.first = std::min(loss.first, MessageId{first});
  loss.last = std::max(loss.last, MessageId{last});
  schedule();
}

}  // namespace decklog::persistence
