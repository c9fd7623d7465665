// One durable copy of each message, referenced from any number of queues; one commit thread, one group
// commit.
//
// Owner: the hub; one per data directory. Everything here is called on the owner's executor and never blocks:
// writes go to the commit thread, reads of old messages to a read thread, and what they find comes back
// through Hooks::post. Operations of one executor turn form one group: durable together, in order, or not at
// all. The group after it gathers while the disk syncs. Callbacks run on the executor, never inside the call
// that causes them.
//
// Promises: a message in a Committed report with status ok is there after SIGKILL (and power cut,
// Durability::kPower) for each of its queues until it was acknowledged there; order within a queue is the
// order of put(). An ack needs no sync of its own: it rides on the next group (at the latest kAckDelay
// later), so a crash may bring back messages acknowledged just before. accepted = delivered + expired +
// dropped + queued, per queue and per route, at every commit. Time to live counts on ExpiryClock
// (message_store_clock.hpp). Failure: kNoSpace (quota, disk), kTooLarge, kNotFound (unknown queue), kClosed.
// A full disk refuses puts and recovers by itself; damage is set aside and reported, never silently emptied
// (open_report()). Memory: a bounded cache of recent messages; nothing per stored message.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "persistence/message_store_types.hpp"

namespace decklog::persistence {

struct MessageStoreOptions {
  std::string directory = {};  // made with mode 0700; files 0600
  Durability durability = Durability::kPower;
  std::uint64_t max_bytes = 1024ull * 1024 * 1024;     // of all queues together
  std::uint64_t min_free_bytes = 32ull * 1024 * 1024;  // below this much free disk, puts are refused
  std::size_t cache_bytes = 4 * 1024 * 1024;           // recent and loaded messages in memory
  std::size_t max_dead_letters = 1'000;
  std::size_t max_dead_letter_bytes = 4 * 1024 * 1024;
};

struct StoreHooks {
  std::function<void(std::function<void()>)> post;  // run on the executor, later; callable from any thread
  std::function<void(const Committed&)> committed;  // once per batch of groups
  std::function<void(QueueId)> readable;            // fetch() again: see FetchState
  std::function<void(const Loss&)> lost;
  std::function<void(const StoreTrouble&)> trouble;
  // Who sent a message to an endpoint, from its head; for Loss::origins. Called inside other calls: must not
  // call back.
  std::function<std::string(std::string_view head)> origin;
};

// What open() found.
struct OpenReport {
  bool damaged = false;
  std::string problem;
  std::string kept_aside;
  std::uint64_t next_message = 1;
};

struct AuditReport {
  std::uint64_t messages = 0;         // references counted in all queues
  std::uint64_t orphans = 0;          // stored messages without a queue: removed
  std::vector<std::string> problems;  // empty = the law holds
};

// Small durable records of the hub beside the messages (sessions, twins, identities), in the same commit
// groups.
class RecordStore {
 public:
  // What becomes of a write when its group fails: written with the next group that works, or forgotten with
  // it (it says something about a message of the same group). GroupFailed tells which.
  enum class OnFailure : std::uint8_t { kRetry = 1, kForget = 2 };
  using GroupFailed = std::function<void(GroupId)>;

  virtual ~RecordStore() = default;
  // Keys: at most 2 KiB; values: at most 1 MiB. Returns the group that makes it durable.
  virtual GroupId write(std::string_view key, std::string_view value, OnFailure on_failure) = 0;
  virtual GroupId erase(std::string_view key) = 0;
  virtual GroupId erase_prefix(std::string_view prefix) = 0;  // all records whose key begins with it
  // All records whose key begins with prefix, in key order. Blocks: for start-up only.
  virtual Status scan(std::string_view prefix,
                      const std::function<void(std::string_view key, std::string_view value)>& found) = 0;
  // Called for every group that failed, before StoreHooks::committed.
  virtual void on_group_failed(GroupFailed listener) = 0;
  virtual GroupId durable_group() const = 0;  // this group and those before it are decided
};

class MessageStore final : public RecordStore {
 public:
  static Result<std::unique_ptr<MessageStore>> open(const MessageStoreOptions& options, StoreHooks hooks,
                                                    const BootId& boot, Instant now);
  ~MessageStore() override;  // commits what is open, then stops the threads; no callback after it
  MessageStore(const MessageStore&) = delete;
  MessageStore& operator=(const MessageStore&) = delete;

  const OpenReport& open_report() const;

  // Queues and routes stay until removed; opening one that exists returns its id and sets the limits.
  Result<QueueId> open_queue(const QueueName& name, const QueueLimits& limits = {});
  std::optional<QueueId> find_queue(const QueueName& name) const;
  Result<RouteId> open_route(std::string_view name);
  // Counts what waits as dropped(reason), then forgets the queue.
  GroupId remove_queue(QueueId queue, std::string_view reason);
  GroupId purge(QueueId queue, std::string_view reason);

  // Durable when Committed covers the id. No refs: counted as dropped("no-route") on `unrouted`, nothing
  // stored.
  Result<MessageId> put(const NewMessage& message, std::span<const QueueRef> refs, Instant now,
                        RouteId unrouted = {});

  // Messages after the cursor that are not acknowledged, expired or parked, in order, appended to `out`; the
  // cursor moves past all that was handed out or passed over. Only durable messages are handed out. The
  // caller keeps the cursor: from zero, everything unacknowledged comes again.
  FetchState fetch(QueueId queue, MessageId& cursor, const FetchLimits& limits, Instant now,
                   std::vector<Delivery>& out);
  GroupId ack(QueueId queue, MessageId id);  // delivered
  GroupId ack(QueueId queue, std::span<const MessageId> ids);
  GroupId drop(QueueId queue, MessageId id, std::string_view reason);  // given up, counted and reported
  GroupId dead_letter(QueueId queue, MessageId id,
                      std::string_view reason);  // dropped, a copy kept for people
  void rest(QueueId queue);  // the consumer is gone: forget what was fetched, call no `readable`

  // fetch() passes over a parked sender's messages; they keep their place. unpark: fetch again from the start
  // with FetchLimits::only_lane until drained.
  void park(QueueId queue, std::uint64_t lane);
  void unpark(QueueId queue, std::uint64_t lane);

  // Every few seconds: expiry in queues nobody reads, waiting acks, recovery after a full disk.
  void tick(Instant now);

  // Records (sessions, twins, identities): same groups.
  GroupId write(std::string_view key, std::string_view value, OnFailure on_failure) override;
  GroupId erase(std::string_view key) override;
  GroupId erase_prefix(std::string_view prefix) override;
  Status scan(std::string_view prefix,
              const std::function<void(std::string_view, std::string_view)>& found) override;
  void on_group_failed(GroupFailed listener) override;
  GroupId durable_group() const override;

  Counters counters(QueueId queue) const;
  std::vector<QueueStatus> queues(Instant now) const;
  std::vector<RouteStatus> routes() const;
  StoreStatus status() const;
  // Recounts everything on disk against the stored counters; blocks for the length of a full scan.
  Result<AuditReport> audit();
  Result<std::vector<DeadLetter>> dead_letters(std::size_t max) const;  // newest first; blocks
  // Blocks until everything accepted so far is decided (shutdown, tests). Callbacks still come through post.
  void flush();

 private:
  class Core;
  explicit MessageStore(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

}  // namespace decklog::persistence
