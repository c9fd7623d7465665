// Durable MQTT sessions and retained messages, in the commit groups of the message store.
//
// Owner: the hub, next to the MessageStore it is given (which outlives it). Thread: the hub's executor.
// Loaded at open in one scan and kept in memory, except the subscriptions, which are only read back at start;
// every change is written through. A change and a put() of the same executor turn are one atomic group: "QoS
// 2 id 7 received" and the message itself are durable together, or, when the group fails, neither. Failure:
// kTooLarge / kNoSpace when a bound is reached, kNotFound; a failed commit is reported by the MessageStore.
//
// Exactly once (QoS 2), the rule for callers:
//  in:  PUBLISH: unless has_incoming(id): put() + add_incoming(id); PUBREC when that group is durable.
//       PUBREL: remove_incoming(id); PUBCOMP when durable (else a reused id would look like a repeat).
//  out: packet_id_for(message) is the same in every run, so a redelivered PUBLISH carries its old id.
//       PUBREC: ack() in the queue + add_release(id); PUBREL when durable. PUBCOMP: remove_release(id).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/message_store.hpp"

namespace decklog::persistence {

inline constexpr std::size_t kMaxSessions = 65'536;
inline constexpr std::size_t kMaxSubscriptionsPerSession = 1'024;

struct SessionRecord {
  std::string client_id;
  std::string owner;  // identity that made it; another one may not take it over
  WallTime last_seen;
  std::set<std::uint16_t> incoming;  // QoS 2 packet ids received, not yet released
  std::set<std::uint16_t> releases;  // QoS 2 packet ids whose PUBREL is not completed
};

struct RetainedMessage {
  std::string topic;
  std::uint8_t qos = 0;
  std::string body;
  std::string head;  // the caller's extra bytes, e.g. publisher identity
};

struct SessionLimits {
  std::size_t max_retained = 10'000;
  std::size_t max_retained_bytes = 8 * 1024 * 1024;
};

// The packet id (1 to 65535) of a message in a session's queue; distinct for any 65535 consecutive message
// ids.
inline std::uint16_t packet_id_for(MessageId id) {
  return static_cast<std::uint16_t>(id.value % 65'535 + 1);
}

class SessionStore final {
 public:
  static Result<std::unique_ptr<SessionStore>> open(RecordStore& records, const SessionLimits& limits = {});
  ~SessionStore();

  const SessionRecord* find(std::string_view client_id) const;  // until the next change of that session
  std::vector<const SessionRecord*> all() const;
  std::size_t size() const;

  Result<GroupId> create(std::string_view client_id, std::string_view owner,
                         WallTime now);        // replaces an old one
  GroupId remove(std::string_view client_id);  // the caller removes the queue too
  GroupId touch(std::string_view client_id, WallTime last_seen);
  Result<GroupId> subscribe(std::string_view client_id, std::string_view filter, std::uint8_t qos);
  GroupId unsubscribe(std::string_view client_id, std::string_view filter);
  // All stored subscriptions. Reads the disk: for start-up only.
  Status for_each_subscription(const std::function<void(std::string_view client_id, std::string_view filter,
                                                        std::uint8_t qos)>& found) const;

  bool has_incoming(std::string_view client_id, std::uint16_t packet_id) const;
  GroupId add_incoming(std::string_view client_id, std::uint16_t packet_id);
  GroupId remove_incoming(std::string_view client_id, std::uint16_t packet_id);
  GroupId add_release(std::string_view client_id, std::uint16_t packet_id);
  GroupId remove_release(std::string_view client_id, std::uint16_t packet_id);

  // An empty body removes the retained message, as MQTT says.
  Result<GroupId> set_retained(const RetainedMessage& message);
  const RetainedMessage* retained(std::string_view topic) const;
  std::vector<const RetainedMessage*> all_retained() const;

 private:
  class Impl;
  explicit SessionStore(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace decklog::persistence
