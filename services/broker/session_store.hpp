// What the broker needs of a disk: sessions, their queues and retained messages that outlive the process.
// Narrow on purpose: the engine is tested against the memory implementation (memory_session_store.hpp) and
// runs on devices over the message store (durable_session_store.hpp); both pass
// tests/services/broker/session_store_test.cpp. Thread: the engine's executor; no call blocks (except at
// start) and no hook runs inside the call that causes it. Operations of one executor turn form one group:
// durable together, in order, or not at all.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "events/result.hpp"
#include "services/mqtt/packet.hpp"

namespace decklog::broker {

using QueueKey = std::uint32_t;    // 0 = none
using MessageKey = std::uint64_t;  // rises with every put, never used twice; 0 = none
using GroupKey = std::uint64_t;    // rises; 0 = durable already

// Decided groups, in order, and the last message of them. `status` failed: nothing of the groups after the
// previous report was kept.
struct CommitReport final {
  GroupKey through_group = 0;
  MessageKey through_message = 0;
  Status status;
};

struct StoreHooks final {
  std::function<void(const CommitReport&)> committed;
  std::function<void(QueueKey)> readable;  // once, after fetch() said that there is no more
};

struct StoredSubscription final {
  std::string filter;
  mqtt::Qos qos = mqtt::Qos::kAtMostOnce;
};

struct StoredSession final {
  std::string client_id;
  std::string owner;  // identity that made it
  QueueKey queue = 0;
  std::vector<StoredSubscription> subscriptions;
  std::vector<std::uint16_t> incoming;  // QoS 2 identifiers received, not released
  std::vector<std::uint16_t> releases;  // QoS 2 identifiers whose PUBREL is not completed
};

struct StoredRetained final {
  std::string topic;
  std::string payload;
  mqtt::Qos qos = mqtt::Qos::kAtMostOnce;
};

struct StoredMessageView final {
  std::string_view topic;
  std::string_view payload;
  mqtt::Qos qos = mqtt::Qos::kAtMostOnce;
  std::string_view sender;  // identity
};

struct QueueTarget final {
  QueueKey queue = 0;
  mqtt::Qos qos = mqtt::Qos::kAtLeastOnce;
  bool retain = false;
};

// A message handed out of a queue. The views live as long as `keep`.
struct QueuedMessage final {
  MessageKey key = 0;
  std::uint16_t packet_id = 0;  // the same in every run
  mqtt::Qos qos = mqtt::Qos::kAtLeastOnce;
  bool retain = false;
  bool from_earlier_run = false;  // may have been sent before we started
  std::string_view topic;
  std::string_view payload;
  std::shared_ptr<const void> keep;
};

class SessionStore {
 public:
  virtual ~SessionStore() = default;

  // Once, before anything else but load.
  virtual void start(StoreHooks hooks) = 0;
  // Blocks; at start only.
  virtual Result<std::vector<StoredSession>> load_sessions() = 0;
  virtual Result<std::vector<StoredRetained>> load_retained() = 0;

  struct Created final {
    QueueKey queue = 0;
    GroupKey group = 0;
  };
  virtual Result<Created> create(std::string_view client_id, std::string_view owner) = 0;
  virtual GroupKey remove(std::string_view client_id, std::string_view reason) = 0;
  virtual Result<GroupKey> subscribe(std::string_view client_id, std::string_view filter, mqtt::Qos qos) = 0;
  virtual GroupKey unsubscribe(std::string_view client_id, std::string_view filter) = 0;
  virtual GroupKey add_incoming(std::string_view client_id, std::uint16_t packet_id) = 0;
  virtual GroupKey remove_incoming(std::string_view client_id, std::uint16_t packet_id) = 0;
  virtual GroupKey add_release(std::string_view client_id, std::uint16_t packet_id) = 0;
  virtual GroupKey remove_release(std::string_view client_id, std::uint16_t packet_id) = 0;
  // An empty payload erases.
  virtual Result<GroupKey> set_retained(const StoredMessageView& message) = 0;

  // One copy, a reference for each target.
  virtual Result<MessageKey> put(const StoredMessageView& message, std::span<const QueueTarget> targets) = 0;
  // Durable messages after the cursor that were not acknowledged, in order, appended to `out`; the cursor
  // moves past what was handed out. True: ask again for more; false: none now, `readable` is called once when
  // there is.
  virtual bool fetch(QueueKey queue, MessageKey& cursor, std::size_t max_messages, std::size_t max_bytes,
                     std::vector<QueuedMessage>& out) = 0;
  virtual void ack(QueueKey queue, MessageKey message) = 0;
  // The reader is gone: `readable` is not called until the next fetch.
  virtual void rest(QueueKey queue) = 0;
};

}  // namespace decklog::broker
