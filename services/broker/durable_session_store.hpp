// The broker's SessionStore over the message store: sessions, subscriptions, queues and retained messages
// that survive SIGKILL and, with Durability::kPower, a power cut. Two ways to own it: the hub has one
// MessageStore for routes and sessions and forwards its hooks here; a broker alone takes DurableStorage,
// which opens everything in one directory. Thread: the engine's executor. Limits: SessionLimits and
// QueueLimits of persistence/; a full session queue drops new messages for that session only, counted by the
// store.
#pragma once

#include <boost/asio/io_context.hpp>

#include "persistence/message_store.hpp"
#include "persistence/session_store.hpp"
#include "services/broker/session_store.hpp"

namespace decklog::broker {

using ClockNow = std::function<Instant()>;
// CLOCK_REALTIME and CLOCK_BOOTTIME; the broker reads clocks nowhere else but for its timer.
Instant system_now();

class DurableSessionStore final : public SessionStore {
 public:
  // Both stores outlive this.
  DurableSessionStore(persistence::MessageStore& messages, persistence::SessionStore& sessions, ClockNow now,
                      persistence::QueueLimits session_queue);

  // To be called from the message store's hooks.
  void on_committed(const persistence::Committed& committed);
  void on_readable(persistence::QueueId queue);

  void start(StoreHooks hooks) override;
  Result<std::vector<StoredSession>> load_sessions() override;
  Result<std::vector<StoredRetained>> load_retained() override;
  Result<Created> create(std::string_view client_id, std::string_view owner) override;
  GroupKey remove(std::string_view client_id, std::string_view reason) override;
  Result<GroupKey> subscribe(std::string_view client_id, std::string_view filter, mqtt::Qos qos) override;
  GroupKey unsubscribe(std::string_view client_id, std::string_view filter) override;
  GroupKey add_incoming(std::string_view client_id, std::uint16_t packet_id) override;
  GroupKey remove_incoming(std::string_view client_id, std::uint16_t packet_id) override;
  GroupKey add_release(std::string_view client_id, std::uint16_t packet_id) override;
  GroupKey remove_release(std::string_view client_id, std::uint16_t packet_id) override;
  Result<GroupKey> set_retained(const StoredMessageView& message) override;
  Result<MessageKey> put(const StoredMessageView& message, std::span<const QueueTarget> targets) override;
  bool fetch(QueueKey queue, MessageKey& cursor, std::size_t max_messages, std::size_t max_bytes,
             std::vector<QueuedMessage>& out) override;
  void ack(QueueKey queue, MessageKey message) override;
  void rest(QueueKey queue) override;

 private:
  persistence::QueueName queue_name(std::string_view client_id) const;

  persistence::MessageStore& messages_;
  persistence::SessionStore& sessions_;
  ClockNow now_;
  persistence::QueueLimits session_queue_;
  StoreHooks hooks_;
  std::vector<persistence::QueueRef> refs_;
  std::vector<persistence::Delivery> deliveries_;
};

// A message store, its session records and the adapter, in one directory, for a broker that is alone.
class DurableStorage final {
 public:
  static Result<std::unique_ptr<DurableStorage>> open(boost::asio::io_context& context,
                                                      const persistence::MessageStoreOptions& options);
  ~DurableStorage();
  SessionStore& store() { return *adapter_; }
  persistence::MessageStore& messages() { return *messages_; }

 private:
  DurableStorage() = default;
  std::shared_ptr<DurableStorage*> self_;  // what posted work looks at: null when we are gone
  std::unique_ptr<persistence::MessageStore> messages_;
  std::unique_ptr<persistence::SessionStore> sessions_;
  std::unique_ptr<DurableSessionStore> adapter_;
};

}  // namespace decklog::broker
