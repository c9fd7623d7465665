// A SessionStore in memory: for tests, and for a broker that is told to keep nothing. It outlives the Broker,
// so a "restart" is a second Broker on the same store. Commits are decided by the executor, or by hand.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <set>

#include "services/broker/session_store.hpp"

namespace decklog::broker {

class MemorySessionStore final : public SessionStore {
 public:
  enum class Commit : std::uint8_t {
    kNextTurn,  // every group is durable one executor turn later
    kByHand,    // when commit() or fail() is called
  };
  MemorySessionStore(boost::asio::any_io_executor executor, Commit commit);
  ~MemorySessionStore() override;

  void commit();                    // decides everything so far
  void fail(const Error& failure);  // same, but nothing of it was kept: what a full disk looks like
  // What a crash does: operations that were not decided are gone, and nobody listens any more.
  void crash();
  std::size_t messages() const;
  std::uint64_t next_message() const;

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
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace decklog::broker
