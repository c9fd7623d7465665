#include "services/broker/durable_session_store.hpp"

#include <time.h>

#include <boost/asio/post.hpp>
#include <fstream>
#include <unordered_map>

namespace decklog::broker {
namespace {

using persistence::GroupId;
using persistence::MessageId;
using persistence::QueueId;

constexpr std::uint8_t kQosBits = 0x03;
constexpr std::uint8_t kRetainBit = 0x04;

std::int64_t read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

BootId read_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  std::getline(file, text);
  return BootId(text);
}

}  // namespace

Instant system_now() {
  return {{read_clock(CLOCK_REALTIME)}, {read_clock(CLOCK_BOOTTIME)}};
}

DurableSessionStore::DurableSessionStore(persistence::MessageStore& messages,
                                         persistence::SessionStore& sessions, ClockNow now,
                                         persistence::QueueLimits session_queue)
    : messages_(messages), sessions_(sessions), now_(std::move(now)), session_queue_(session_queue) {}

void DurableSessionStore::on_committed(const persistence::Committed& committed) {
  if (!hooks_.committed) return;
  CommitReport report;
  report.through_group = committed.group.value;
  report.through_message = committed.first > committed.last ? 0 : committed.last.value;
  report.status = committed.status;
  hooks_.committed(report);
}

void DurableSessionStore::on_readable(QueueId queue) {
  if (hooks_.readable) hooks_.readable(queue.value);
}

void DurableSessionStore::start(StoreHooks hooks) {
  hooks_ = std::move(hooks);
}

persistence::QueueName DurableSessionStore::queue_name(std::string_view client_id) const {
  return {persistence::QueueKind::kSession, std::string(client_id), 9};
}

Result<std::vector<StoredSession>> DurableSessionStore::load_sessions() {
  std::vector<StoredSession> loaded;
  std::unordered_map<std::string_view, std::size_t> places;
  const auto records = sessions_.all();
  loaded.reserve(records.size());
  for (const auto* record : records) {
    const auto queue = messages_.open_queue(queue_name(record->client_id), session_queue_);
    if (!queue) return queue.error();
    StoredSession session;
    session.client_id = record->client_id;
    session.owner = record->owner;
    session.queue = queue->value;
    session.incoming.assign(record->incoming.begin(), record->incoming.end());
    session.releases.assign(record->releases.begin(), record->releases.end());
    loaded.push_back(std::move(session));
    places.emplace(loaded.back().client_id, loaded.size() - 1);
  }
  const auto scanned = sessions_.for_each_subscription(
      [&](std::string_view client_id, std::string_view filter, std::uint8_t qos) {
        const auto place = places.find(client_id);
        if (place == places.end() || qos > 2) return;
        loaded[place->second].subscriptions.push_back({std::string(filter), static_cast<mqtt::Qos>(qos)});
      });
  if (!scanned) return scanned.error();
  return loaded;
}

Result<std::vector<StoredRetained>> DurableSessionStore::load_retained() {
  std::vector<StoredRetained> loaded;
  for (const auto* message : sessions_.all_retained()) {
    loaded.push_back({message->topic, message->body, static_cast<mqtt::Qos>(message->qos & kQosBits)});
  }
  return loaded;
}

Result<SessionStore::Created> DurableSessionStore::create(std::string_view client_id,
                                                          std::string_view owner) {
  const auto group = sessions_.create(client_id, owner, now_().wall);
  if (!group) return group.error();
  const auto queue = messages_.open_queue(queue_name(client_id), session_queue_);
  if (!queue) {
    sessions_.remove(client_id);
    return queue.error();
  }
  return Created{queue->value, group->value};
}

GroupKey DurableSessionStore::remove(std::string_view client_id, std::string_view reason) {
  if (const auto queue = messages_.find_queue(queue_name(client_id)); queue)
    messages_.remove_queue(*queue, reason);
  return sessions_.remove(client_id).value;
}

Result<GroupKey> DurableSessionStore::subscribe(std::string_view client_id, std::string_view filter,
                                                mqtt::Qos qos) {
  const auto group = sessions_.subscribe(client_id, filter, static_cast<std::uint8_t>(qos));
  if (!group) return group.error();
  return group->value;
}

GroupKey DurableSessionStore::unsubscribe(std::string_view client_id, std::string_view filter) {
  return sessions_.unsubscribe(client_id, filter).value;
}
GroupKey DurableSessionStore::add_incoming(std::string_view client_id, std::uint16_t packet_id) {
  return sessions_.add_incoming(client_id, packet_id).value;
}
GroupKey DurableSessionStore::remove_incoming(std::string_view client_id, std::uint16_t packet_id) {
  return sessions_.remove_incoming(client_id, packet_id).value;
}
GroupKey DurableSessionStore::add_release(std::string_view client_id, std::uint16_t packet_id) {
  return sessions_.add_release(client_id, packet_id).value;
}
GroupKey DurableSessionStore::remove_release(std::string_view client_id, std::uint16_t packet_id) {
  return sessions_.remove_release(client_id, packet_id).value;
}

Result<GroupKey> DurableSessionStore::set_retained(const StoredMessageView& message) {
  persistence::RetainedMessage retained;
  retained.topic = message.topic;
  retained.qos = static_cast<std::uint8_t>(message.qos);
  retained.body = message.payload;
  const auto group = sessions_.set_retained(retained);
  if (!group) return group.error();
  return group->value;
}

Result<MessageKey> DurableSessionStore::put(const StoredMessageView& message,
                                            std::span<const QueueTarget> targets) {
  refs_.clear();
  for (const auto& target : targets) {
    persistence::QueueRef ref;
    ref.queue = QueueId{target.queue};
    ref.flags =
        static_cast<std::uint8_t>(static_cast<std::uint8_t>(target.qos) | (target.retain ? kRetainBit : 0));
    refs_.push_back(ref);
  }
  persistence::NewMessage stored;
  stored.head = message.topic;
  stored.body = message.payload;
  stored.lane = persistence::lane_of(message.sender);
  const auto id = messages_.put(stored, refs_, now_());
  if (!id) return id.error();
  return id->value;
}

bool DurableSessionStore::fetch(QueueKey queue, MessageKey& cursor, std::size_t max_messages,
                                std::size_t max_bytes, std::vector<QueuedMessage>& out) {
  deliveries_.clear();
  persistence::FetchLimits limits;
  limits.max_messages = max_messages;
  limits.max_bytes = max_bytes;
  MessageId at{cursor};
  const auto state = messages_.fetch(QueueId{queue}, at, limits, now_(), deliveries_);
  cursor = at.value;
  for (auto& delivery : deliveries_) {
    QueuedMessage message;
    message.key = delivery.id.value;
    message.packet_id = persistence::packet_id_for(delivery.id);
    message.qos = static_cast<mqtt::Qos>(delivery.flags & kQosBits);
    message.retain = (delivery.flags & kRetainBit) != 0;
    message.from_earlier_run = delivery.from_earlier_run;
    message.topic = delivery.head;
    message.payload = delivery.body;
    message.keep = std::move(delivery.keep);
    out.push_back(std::move(message));
  }
  deliveries_.clear();
  return state == persistence::FetchState::kServed;
}

void DurableSessionStore::ack(QueueKey queue, MessageKey message) {
  messages_.ack(QueueId{queue}, MessageId{message});
}
void DurableSessionStore::rest(QueueKey queue) {
  messages_.rest(QueueId{queue});
}

Result<std::unique_ptr<DurableStorage>> DurableStorage::open(
    boost::asio::io_context& context, const persistence::MessageStoreOptions& options) {
  std::unique_ptr<DurableStorage> storage(new DurableStorage);
  storage->self_ = std::make_shared<DurableStorage*>(storage.get());
  persistence::StoreHooks hooks;
  hooks.post = [&context](std::function<void()> work) { boost::asio::post(context, std::move(work)); };
  hooks.committed = [self = storage->self_](const persistence::Committed& committed) {
    if (*self != nullptr && (*self)->adapter_) (*self)->adapter_->on_committed(committed);
  };
  hooks.readable = [self = storage->self_](QueueId queue) {
    if (*self != nullptr && (*self)->adapter_) (*self)->adapter_->on_readable(queue);
  };
  hooks.lost = [](const persistence::Loss&) {};
  hooks.trouble = [](const persistence::StoreTrouble&) {};
  auto messages = persistence::MessageStore::open(options, std::move(hooks), read_boot_id(), system_now());
  if (!messages) return messages.error();
  storage->messages_ = std::move(*messages);
  auto sessions = persistence::SessionStore::open(*storage->messages_);
  if (!sessions) return sessions.error();
  storage->sessions_ = std::move(*sessions);
  persistence::QueueLimits session_queue;
  session_queue.policy = persistence::FullPolicy::kDropNew;
  storage->adapter_ = std::make_unique<DurableSessionStore>(*storage->messages_, *storage->sessions_,
                                                            system_now, session_queue);
  return storage;
}

DurableStorage::~DurableStorage() {
  if (self_) *self_ = nullptr;
  adapter_.reset();
  sessions_.reset();
  messages_.reset();
}

}  // namespace decklog::broker
