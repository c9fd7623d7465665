// Values of the message store: names, limits, what goes in, what comes out. Contract: message_store.hpp.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::persistence {

// Bounds. A message may be a little over IoT Hub's 256 KiB because head (topic, properties) counts too.
inline constexpr std::size_t kMaxMessageBytes = 1024 * 1024;
inline constexpr std::size_t kMaxQueues = 65'536;
inline constexpr std::size_t kMaxRoutes = 4'096;
inline constexpr std::size_t kMaxRefsPerMessage = 4'096;
inline constexpr std::size_t kMaxNameBytes = 1'024;
inline constexpr std::uint8_t kPriorities = 10;  // 0 (first) to 9

// Rises with every message and is never used twice, also not after a crash. 0 = before the first message.
struct MessageId {
  std::uint64_t value = 0;
  friend auto operator<=>(const MessageId&, const MessageId&) = default;
};
struct QueueId {
  std::uint32_t value = 0;  // 0 = none; never used again after remove_queue()
  friend auto operator<=>(const QueueId&, const QueueId&) = default;
};
struct RouteId {
  std::uint32_t value = 0;  // 0 = no route (MQTT sessions, local broker)
  friend auto operator<=>(const RouteId&, const RouteId&) = default;
};
// Number of a commit group: operations of one executor turn share it and become durable together or not at
// all.
struct GroupId {
  std::uint64_t value = 0;
  friend auto operator<=>(const GroupId&, const GroupId&) = default;
};

enum class Durability : std::uint8_t {
  kPower = 1,    // completed = on the medium (fdatasync)
  kProcess = 2,  // completed = with the kernel: survives our crash, not a power cut
};

enum class QueueKind : std::uint8_t { kSession = 1, kEndpoint = 2 };

struct QueueName {
  QueueKind kind = QueueKind::kSession;
  std::string name;           // MQTT client id, or endpoint: "$upstream", "dev/filter/in1"
  std::uint8_t priority = 9;  // each priority of an endpoint is a queue; PriorityPicker chooses among them
  friend auto operator<=>(const QueueName&, const QueueName&) = default;
};

enum class FullPolicy : std::uint8_t {
  kRejectNew = 1,   // put() fails with kNoSpace: the publisher gets no PUBACK
  kDropOldest = 2,  // the oldest messages of this queue go, counted and reported
  kDropNew = 3,     // the message does not enter this queue, counted and reported
};

struct QueueLimits {
  std::uint64_t max_bytes = 256ull * 1024 * 1024;
  std::uint64_t max_messages = 10'000'000;
  FullPolicy policy = FullPolicy::kRejectNew;
  friend bool operator==(const QueueLimits&, const QueueLimits&) = default;
};

// One destination of a message.
struct QueueRef {
  QueueId queue;
  RouteId route = {};
  std::uint8_t flags = 0;    // the caller's own: QoS, retain
  Duration time_to_live{0};  // 0 = for ever; counted by ExpiryClock (message_store_clock.hpp)
};

// Head and body are the caller's bytes; they come back as given.
struct NewMessage {
  std::string_view head;  // e.g. topic and properties, encoded by the caller
  std::string_view body;
  std::uint64_t lane = 0;  // sender; lane_of(identity)
};

// A stable number for a sender's identity.
std::uint64_t lane_of(std::string_view identity);

// A message handed out by fetch(). The views live as long as `keep`.
struct Delivery {
  MessageId id;
  RouteId route;
  std::uint64_t lane = 0;
  std::uint8_t flags = 0;
  bool from_earlier_run =
      false;          // stored before this process started: may have been sent already (MQTT: DUP)
  WallTime accepted;  // of its commit group
  std::string_view head;
  std::string_view body;
  std::shared_ptr<const void> keep;
};

struct FetchLimits {
  std::size_t max_messages = 256;
  std::size_t max_bytes = 512 * 1024;  // at least one message is returned, whatever its size
  std::uint64_t only_lane = 0;         // 0 = all senders that are not parked
};

enum class FetchState : std::uint8_t {
  kServed = 1,   // there may be more: ask again
  kDrained = 2,  // nothing (more) now; `readable` is called once when there is
  kLoading = 3,  // older messages are being read from disk; `readable` is called once when they are there
};

// Groups up to `group` are decided, in order. Messages first..last of them are durable (status ok) or not
// stored.
struct Committed {
  GroupId group;
  MessageId first;  // first > last when the groups held no messages
  MessageId last;
  Status status;  // kNoSpace: disk full; kIo
};

// Messages that were accepted and will not be delivered. Names, so that it can be logged as it is.
struct Loss {
  std::string queue;
  std::string route;
  std::string reason;  // "expired", "quota", "purged", "damaged", "no-route" or what the caller gave
  std::uint64_t count = 0;
  MessageId first;
  MessageId last;
  std::map<std::string, std::uint64_t> origins;  // by StoreHooks::origin, where the message is still known
};

// The store refuses (code set) or works again (code kOk).
struct StoreTrouble {
  Errc code = Errc::kOk;
  std::string message;
  std::string kept_aside;  // path of damaged files, when there are some
};

// accepted = delivered + expired + dropped + queued; true at every commit.
struct Counters {
  std::uint64_t accepted = 0;
  std::uint64_t delivered = 0;
  std::uint64_t expired = 0;
  std::uint64_t dropped = 0;
  std::uint64_t queued = 0;
  std::uint64_t queued_bytes = 0;
  bool conserved() const { return accepted == delivered + expired + dropped + queued; }
  friend bool operator==(const Counters&, const Counters&) = default;
};

struct DropCount {
  std::string reason;
  std::uint64_t count = 0;
};

struct QueueStatus {
  QueueId id;
  QueueName name;
  Counters counters;
  std::vector<DropCount> dropped;
  Duration oldest_age{0};  // of the oldest message that waits; 0 when empty
  QueueLimits limits;
};

struct RouteStatus {
  RouteId id;
  std::string name;
  Counters counters;
  std::vector<DropCount> dropped;
};

struct StoreStatus {
  std::uint64_t live_bytes = 0;      // message bytes referenced by some queue
  std::uint64_t groups = 0;          // commit groups of this run
  std::uint64_t messages = 0;        // messages of this run
  std::uint64_t refused = 0;         // put() refused by quota or full disk
  std::uint64_t bytes_written = 0;   // handed to the database (write-ahead log), this run
  std::uint64_t last_commit_ns = 0;  // write and sync of the last group
  std::size_t cached_bytes = 0;      // recent messages in memory
  bool refusing = false;
};

struct DeadLetter {
  MessageId id;
  std::string queue;
  std::string reason;
  WallTime time;
  std::string head;
  std::string body;
};

}  // namespace decklog::persistence
