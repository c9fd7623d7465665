// Inside of the Broker: all connections, sessions and subscriptions, and the turn that ties them together.
// A turn: whatever wakes the executor appends to buffers and lists; one posted step at the end of it refills
// the sessions that have room, writes each connection's output once, and detaches the connections that are to
// go. Thread: the executor. Nothing is torn down while a fan-out walks the subscribers: close() only marks.
#pragma once

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <boost/container/flat_set.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <list>
#include <set>
#include <unordered_map>

#include "services/broker/broker.hpp"
#include "services/broker/connection.hpp"
#include "services/mqtt/session.hpp"

namespace decklog::broker {

// A QoS 2 message that is taken and not acknowledged yet: a second copy of it, on whatever connection, waits
// for the same as the first.
struct OpenPublish final {
  MessageKey message = 0;
  GroupKey group = 0;
  std::uint64_t use = 0;  // names this use of the packet identifier
  bool held = false;      // by an intercepting policy
  std::vector<std::pair<std::weak_ptr<Connection>, std::uint64_t>> places;  // of answers, while held
};

// Retained messages on their way to a new subscription: those behind the topic `after` are still to come.
struct RetainedWalk final {
  std::string filter;
  mqtt::Qos granted = mqtt::Qos::kAtMostOnce;
  std::string after;
};

struct ClientSession final {
  mqtt::SubscriberId slot = 0;
  Client client;
  mqtt::Session state;
  Connection* connection = nullptr;
  boost::unordered_flat_map<std::uint16_t, OpenPublish> open_publishes;  // by packet identifier
  QueueKey queue = 0;                                                    // 0 = clean session, nothing stored
  MessageKey cursor = 0;  // last message taken from the queue on this connection
  bool readable = true;   // the queue may have more
  std::vector<RetainedWalk> retained;
  bool in_pump_list = false;
  std::int64_t offline_since_tick = 0;

  bool stored() const { return queue != 0; }
};

class Listener;

class Engine final : public std::enable_shared_from_this<Engine> {
 public:
  static constexpr std::int64_t kTicksPerSecond = 5;
  static constexpr std::size_t kReadBufferBytes = 256u << 10;

  Engine(boost::asio::io_context& context, BrokerOptions options, BrokerPolicy& policy, SessionStore& store);
  ~Engine();

  Status open();
  void close_all(std::function<void()> done);
  void kill();  // no callback runs after it
  std::uint16_t port(std::string_view listener) const;
  DeliverResult deliver(std::string_view client_id, const Delivery& delivery);
  bool withdraw(std::string_view client_id, std::uint64_t token);
  void publish_own(std::string_view topic, std::string_view payload, mqtt::Qos qos, bool retain);
  ClientSession* find(std::string_view client_id);
  bool holds(const ClientSession& session, std::string_view topic) const;
  void disconnect(std::string_view client_id, std::string_view cause, Broker::SessionFate fate);
  BrokerStats stats() const;

  // ---- for listeners and connections ----
  void accepted(Socket socket, const ListenerInfo& info, TlsContext* tls);
  void refuse_connection(const char* why);
  void on_frame(Connection& connection, const mqtt::Frame& frame);
  void on_violation(Connection& connection, mqtt::Violation violation);
  void close(Connection& connection, const char* cause);
  void forget(Connection& connection);
  void mark_dirty(Connection& connection);
  void wants_pump(Connection& connection);
  void wants_input(Connection& connection);
  void waits_for_store(Connection& connection);
  bool is_durable(MessageKey message, GroupKey group) const {
    return message <= durable_message_ && group <= durable_group_;
  }
  std::uint32_t packet_bound(const Connection& connection) const;
  const BrokerLimits& limits() const { return options_.limits; }
  std::int64_t tick() const { return wheel_.tick(); }
  std::vector<char>& read_buffer() { return read_buffer_; }
  void lend_buffer(std::string& to);
  void return_buffer(std::string&& buffer);
  boost::asio::io_context& context() { return context_; }

 private:
  // engine_connect.cpp
  void on_connect(Connection& connection, const mqtt::Frame& frame);
  void on_verdict(Connection& connection, const ConnectInfo& info, ConnectVerdict verdict);
  void refuse(Connection& connection, mqtt::ConnectCode code, const char* cause, const std::string& client_id,
              std::string_view detail);
  Result<GroupKey> attach(Connection& connection, const ConnectInfo& info, const std::string& identity,
                          bool& session_present);
  Result<GroupKey> make_session(Connection& connection, const ConnectInfo& info, const std::string& identity);
  void reauthorize(ClientSession& session);
  void send_connack(Connection& connection, bool session_present);
  void teardown(Connection& connection, const char* cause);
  void never_connected(const Connection& connection, std::string_view cause);
  GroupKey end_session(ClientSession& session, const char* reason);
  ClientSession& new_slot(const std::string& client_id);
  void leave_half_open(Connection& connection);
  Status load();
  // engine_publish.cpp
  void on_publish(Connection& connection, const mqtt::Frame& frame);
  void repeat(Connection& connection, const mqtt::PublishPacket& packet);
  void remember(ClientSession& session, std::uint16_t packet_id, OpenPublish open);
  void decided(mqtt::SubscriberId slot, std::uint16_t packet_id, std::uint64_t use, bool accepted);
  void not_taken(ClientSession& session, std::uint16_t packet_id);
  void settle_publishes(const CommitReport& report);
  void intercept(Connection& connection, const mqtt::PublishPacket& packet, GroupKey group);
  struct Gate final {
    MessageKey message = 0;
    GroupKey group = 0;
    bool refused = false;  // the store would not take it
  };
  Gate route(std::string_view sender, const mqtt::PublishPacket& packet, std::string_view raw);
  void deliver_qos0(ClientSession& session, const mqtt::PublishPacket& packet, std::string_view raw);
  void deliver_in_memory(ClientSession& session, const mqtt::MessagePtr& message, mqtt::Qos qos, bool retain);
  bool put_targets(const StoredMessageView& view, Gate& gate);
  void answer_publish(Connection& connection, const mqtt::PublishPacket& packet, MessageKey message,
                      GroupKey group);
  // engine_retained.cpp
  void retain(std::string_view sender, const mqtt::PublishPacket& packet, Gate& gate);
  void send_retained(ClientSession& session, std::string_view filter, mqtt::Qos granted);
  void forget_retained(ClientSession& session, std::string_view filter);
  void walk_retained(ClientSession& session);
  bool give_retained(ClientSession& session, const mqtt::MessagePtr& message, mqtt::Qos granted);
  // engine_session.cpp
  void on_subscribe(Connection& connection, const mqtt::Frame& frame);
  void on_unsubscribe(Connection& connection, const mqtt::Frame& frame);
  std::uint8_t subscribe_one(ClientSession& session, const mqtt::SubscriptionRequest& request,
                             GroupKey& group);
  void on_acknowledgement(Connection& connection, const mqtt::Frame& frame);
  void on_pubrel(Connection& connection, std::uint16_t packet_id);
  void on_pubrec(Connection& connection, std::uint16_t packet_id);
  void finished(ClientSession& session, const mqtt::Outbox::Answer& answer);
  void pump(ClientSession& session);
  void refill(ClientSession& session);
  void queue_pump(ClientSession& session);
  // engine.cpp
  void schedule_turn_end();
  void turn_end();
  void on_committed(const CommitReport& report);
  void after_durable(GroupKey group, std::function<void(bool)> then);
  void on_readable_queue(QueueKey queue);
  void start_clock();
  void on_clock();
  void on_deadline(Connection& connection);
  void expire_sessions();
  void event(ClientChange change, const Client& client, std::string_view detail, const Connection* connection,
             mqtt::Qos qos = mqtt::Qos::kAtMostOnce, bool kept = false);
  void trouble(std::size_t kind, std::string_view what);

  boost::asio::io_context& context_;
  BrokerOptions options_;
  BrokerPolicy& policy_;
  SessionStore& store_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  TimerWheel wheel_;
  boost::asio::steady_timer clock_;
  std::chrono::steady_clock::time_point clock_start_;
  std::int64_t next_expiry_tick_ = 0;
  bool clock_running_ = false;

  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
  std::list<Connection*> half_open_;
  std::vector<std::unique_ptr<ClientSession>> slots_;
  std::vector<mqtt::SubscriberId> free_slots_;
  std::unordered_map<std::string_view, ClientSession*> sessions_;  // keys view client.client_id
  std::unordered_map<QueueKey, ClientSession*> queues_;
  mqtt::SubscriptionIndex index_;
  mqtt::RetainedMessages retained_;
  std::uint64_t next_client_ = 1;
  std::uint64_t made_up_ids_ = 0;

  std::vector<char> read_buffer_;
  std::vector<std::string> spare_buffers_;
  std::string scratch_;  // a QoS 0 copy of a message, encoded once for all its readers
  std::vector<QueueTarget> targets_;
  std::vector<std::shared_ptr<Connection>> dirty_;
  std::vector<std::shared_ptr<Connection>> closing_;
  std::vector<std::shared_ptr<Connection>> hungry_;  // may read again
  std::vector<std::shared_ptr<Connection>> store_waiters_;
  std::vector<mqtt::SubscriberId> pump_list_;
  std::deque<std::pair<GroupKey, std::function<void(bool)>>> after_durable_;
  boost::container::flat_set<mqtt::SubscriberId> publishing_;  // sessions with open publishes
  std::uint64_t last_use_ = 0;
  GroupKey last_group_ = 0;
  GroupKey durable_group_ = 0;
  MessageKey durable_message_ = 0;
  bool turn_end_posted_ = false;
  bool closed_ = false;
  std::function<void()> all_closed_;
  mutable BrokerStats stats_;
  std::array<std::int64_t, 9> trouble_tick_{};
  std::set<std::string, std::less<>> causes_;  // texts that connections point to
};

}  // namespace decklog::broker
