#include "persistence/message_store.hpp"

#include "persistence/message_store_core.hpp"

namespace decklog::persistence {

MessageStore::MessageStore(std::unique_ptr<Core> core) : core_(std::move(core)) {}
MessageStore::~MessageStore() = default;

Result<std::unique_ptr<MessageStore>> MessageStore::open(const MessageStoreOptions& options, StoreHooks hooks,
                                                         const BootId& boot, Instant now) {
  if (!hooks.post) return error(Errc::kInvalidArgument, "StoreHooks::post is needed");
  auto core = std::make_unique<Core>(options, std::move(hooks));
  if (const Status started = core->start(boot, now); !started) return started.error();
  return std::unique_ptr<MessageStore>(new MessageStore(std::move(core)));
}

const OpenReport& MessageStore::open_report() const {
  return core_->report_;
}

Result<QueueId> MessageStore::open_queue(const QueueName& name, const QueueLimits& limits) {
  return core_->open_queue(name, limits);
}
std::optional<QueueId> MessageStore::find_queue(const QueueName& name) const {
  const auto found = core_->queue_names_.find(name);
  if (found == core_->queue_names_.end()) return std::nullopt;
  return found->second;
}
Result<RouteId> MessageStore::open_route(std::string_view name) {
  return core_->open_route(name);
}
GroupId MessageStore::remove_queue(QueueId queue, std::string_view reason) {
  return core_->remove_queue(queue, reason);
}
GroupId MessageStore::purge(QueueId queue, std::string_view reason) {
  return core_->purge(queue, reason);
}

Result<MessageId> MessageStore::put(const NewMessage& message, std::span<const QueueRef> refs, Instant now,
                                    RouteId unrouted) {
  return core_->put(message, refs, now, unrouted);
}
FetchState MessageStore::fetch(QueueId queue, MessageId& cursor, const FetchLimits& limits, Instant now,
                               std::vector<Delivery>& out) {
  return core_->fetch(queue, cursor, limits, now, out);
}
GroupId MessageStore::ack(QueueId queue, MessageId id) {
  return core_->settle(queue, std::span(&id, 1), Outcome::kDelivered, {});
}
GroupId MessageStore::ack(QueueId queue, std::span<const MessageId> ids) {
  return core_->settle(queue, ids, Outcome::kDelivered, {});
}
GroupId MessageStore::drop(QueueId queue, MessageId id, std::string_view reason) {
  return core_->settle(queue, std::span(&id, 1), Outcome::kDropped, reason);
}
GroupId MessageStore::dead_letter(QueueId queue, MessageId id, std::string_view reason) {
  return core_->settle(queue, std::span(&id, 1), Outcome::kDeadLetter, reason);
}
void MessageStore::rest(QueueId queue) {
  core_->rest(queue);
}

void MessageStore::park(QueueId queue, std::uint64_t lane) {
  if (Queue* found = core_->find(queue)) found->parked.insert(lane);
}
void MessageStore::unpark(QueueId queue, std::uint64_t lane) {
  if (Queue* found = core_->find(queue)) found->parked.erase(lane);
}

void MessageStore::tick(Instant now) {
  core_->tick(now);
}

GroupId MessageStore::write(std::string_view key, std::string_view value, OnFailure on_failure) {
  return core_->write(key, value, on_failure);
}
GroupId MessageStore::erase(std::string_view key) {
  return core_->write(key, std::nullopt, OnFailure::kRetry);
}
GroupId MessageStore::erase_prefix(std::string_view prefix) {
  return core_->erase_prefix(prefix);
}
Status MessageStore::scan(std::string_view prefix,
                          const std::function<void(std::string_view, std::string_view)>& found) {
  return core_->database_->scan("x" + std::string(prefix), [&](std::string_view key, std::string_view value) {
    found(key.substr(1), value);
  });
}
void MessageStore::on_group_failed(GroupFailed listener) {
  core_->failure_listeners_.push_back(std::move(listener));
}
GroupId MessageStore::durable_group() const {
  return {core_->durable_group_};
}

Counters MessageStore::counters(QueueId queue) const {
  const Queue* found = std::as_const(*core_).find(queue);
  return found == nullptr ? Counters{} : found->state.ledger.counters;
}
std::vector<QueueStatus> MessageStore::queues(Instant now) const {
  return core_->queues(now);
}
std::vector<RouteStatus> MessageStore::routes() const {
  return core_->routes();
}
StoreStatus MessageStore::status() const {
  return core_->status();
}
Result<AuditReport> MessageStore::audit() {
  return core_->audit();
}
Result<std::vector<DeadLetter>> MessageStore::dead_letters(std::size_t max) const {
  return core_->dead_letters(max);
}
void MessageStore::flush() {
  core_->flush();
}

}  // namespace decklog::persistence
