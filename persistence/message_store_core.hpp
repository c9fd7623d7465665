// The executor's side of the message store: all state, no I/O. Private to the message store.
//
// A queue in memory is its counters plus a window: chunks that are known here, with the settled bits. Two
// claims make reading exact: every unfinished chunk named >= tail_start is in the window (or not committed
// yet), and so is every one in [cover_from, cover_to), which was loaded from disk. Dropping a chunk from the
// window takes back a claim. A chunk may be dropped when its settled bits are durable and no load of the
// queue is under way (the load could have read older bits). Finished chunks whose deletion a load may not
// have seen yet are kept as ghosts.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "persistence/message_store.hpp"
#include "persistence/message_store_committer.hpp"
#include "persistence/message_store_format.hpp"

namespace decklog::persistence {

enum class Outcome : std::uint8_t { kDelivered = 1, kExpired = 2, kDropped = 3, kDeadLetter = 4 };
enum class LoadPurpose : std::uint8_t { kRead = 1, kTrim = 2, kSweep = 3, kSettle = 4 };

struct QueueChunk {
  std::shared_ptr<Chunk> chunk;
  std::uint32_t position = 0;
  std::uint32_t remaining = 0;
  std::string settled;              // bitmap
  std::uint64_t touched_group = 0;  // newest group that changes the bitmap
  std::uint64_t bytes_left = 0;

  bool is_settled(std::size_t i) const {
    return (static_cast<std::uint8_t>(settled[i / 8]) >> (i % 8) & 1) != 0;
  }
  void settle(std::size_t i) { settled[i / 8] = static_cast<char>(settled[i / 8] | 1 << (i % 8)); }
  const RefSlot& ref(std::size_t i) const { return chunk->ref(i, position); }
};

struct LateOutcome {
  MessageId id;
  Outcome outcome = Outcome::kDelivered;
  std::string reason;
};

struct Queue {
  QueueId id;
  QueueName name;
  QueueLimits limits;
  QueueState state;
  std::map<std::uint64_t, QueueChunk> window;
  std::uint64_t window_waiting = 0;  // unsettled messages in the window
  std::uint64_t pending = 0;         // put, not committed yet
  Chunk* open_chunk = nullptr;
  std::uint64_t put_stamp = 0;
  std::uint64_t tail_start = 0;
  std::uint64_t cover_from = 0, cover_to = 0;
  std::uint64_t epoch = 0;
  std::uint32_t loads = 0;
  bool reading = false, trimming = false, sweeping = false, wants_news = false, dirty = false;
  bool unread = false;           // loaded for a consumer that has not fetched since: not to be evicted
  std::uint64_t trim_from = 0;   // nothing older than this is left
  std::uint64_t sweep_next = 0;  // where the sweep goes on
  StoreTime sweep_expiry;        // earliest expiry it has seen
  std::set<std::uint64_t> parked;
  std::map<std::uint64_t, std::uint64_t> ghosts;  // chunk -> group that deletes it
  std::vector<LateOutcome> late;

  bool all_in_memory() const { return state.ledger.counters.queued == window_waiting + pending; }
  bool covers(std::uint64_t id) const {
    return id >= tail_start || (cover_from <= id && id < cover_to) || all_in_memory();
  }
};

struct Route {
  std::string name;
  Ledger ledger;
  bool dirty = false;
};

class MessageStore::Core final {
 public:
  Core(const MessageStoreOptions& options, StoreHooks hooks) : options_(options), hooks_(std::move(hooks)) {}
  ~Core();
  Status start(const BootId& boot, Instant now);

  // message_store_queues.cpp
  Result<QueueId> open_queue(const QueueName& name, const QueueLimits& limits);
  Result<RouteId> open_route(std::string_view name);
  GroupId purge(QueueId id, std::string_view reason);
  GroupId remove_queue(QueueId id, std::string_view reason);
  std::vector<QueueStatus> queues(Instant now) const;
  std::vector<RouteStatus> routes() const;
  StoreStatus status() const;
  Result<AuditReport> audit();
  Result<std::vector<DeadLetter>> dead_letters(std::size_t max) const;

  // message_store_put.cpp
  Result<MessageId> put(const NewMessage& message, std::span<const QueueRef> refs, Instant now,
                        RouteId unrouted);
  GroupId erase_prefix(std::string_view prefix);
  GroupId write(std::string_view key, std::optional<std::string_view> value,
                RecordStore::OnFailure on_failure);

  // message_store_fetch.cpp
  FetchState fetch(QueueId id, MessageId& cursor, const FetchLimits& limits, Instant now,
                   std::vector<Delivery>& out);
  void rest(QueueId id);
  void on_loaded(LoadResult result);

  // message_store_settle.cpp
  GroupId settle(QueueId id, std::span<const MessageId> ids, Outcome outcome, std::string_view reason);
  void tick(Instant now);

  // message_store_group.cpp
  void end_of_turn();
  void on_committed(CommitResult result);
  void flush();

  Queue* find(QueueId id) {
    const auto found = queues_.find(id.value);
    return found == queues_.end() ? nullptr : found->second.get();
  }
  const Queue* find(QueueId id) const { return const_cast<Core*>(this)->find(id); }

  MessageStoreOptions options_;
  StoreHooks hooks_;
  OpenReport report_;
  std::map<QueueName, QueueId> queue_names_;
  std::vector<RecordStore::GroupFailed> failure_listeners_;
  std::unique_ptr<Database> database_;
  std::uint64_t durable_group_ = 0;

 private:
  using Window = std::map<std::uint64_t, QueueChunk>;

  Status load_state(const BootId& boot, Instant now);
  Status load_queues();
  Status rebuild();
  Route& route(std::uint32_t id);
  void touch(Queue& queue);
  void touch(std::uint32_t id, Route& route);
  void tell();

  // put
  Status check_refs(const NewMessage& message, std::span<const QueueRef> refs, std::vector<bool>& taken);
  Chunk& chunk_for(std::span<const QueueRef> refs, const std::vector<bool>& taken, Instant now);
  bool is_full(const Queue& queue, std::uint64_t size) const;
  // `head`: of the one message it is about, when that is at hand.
  void report_loss(const Queue* queue, std::uint32_t route, std::string_view reason, std::uint64_t count,
                   std::uint64_t first, std::uint64_t last, std::string_view head = {});
  void drop_on_entry(Queue& queue, const QueueRef& ref, std::uint64_t id, std::string_view head);

  // fetch
  struct Served {
    std::vector<Delivery>& out;
    std::size_t before = 0;
    std::size_t bytes = 0;
    std::size_t count() const { return out.size() - before; }
  };
  bool serve(Queue& queue, MessageId& cursor, std::uint64_t limit, const FetchLimits& limits, StoreTime now,
             Served& served);
  void request(Queue& queue, LoadPurpose purpose, LoadJob job);
  void insert(Queue& queue, const std::shared_ptr<Chunk>& chunk, std::size_t position, std::string settled);
  void take_in(Queue& queue, LoadedChunk& loaded);
  void count_damaged(Queue& queue, const LoadedChunk& loaded);
  void notify(Queue& queue);

  // settle
  Window::iterator find_chunk(Queue& queue, std::uint64_t id);
  // True when that finished the chunk: the iterator is invalid then.
  bool settle_one(Queue& queue, Window::iterator at, std::size_t i, Outcome outcome, std::string_view reason);
  void settle_id(Queue& queue, MessageId id, Outcome outcome, std::string_view reason);
  void settle_late(Queue& queue, std::uint64_t id);
  void keep_dead_letter(const Queue& queue, const QueueChunk& chunk, std::size_t i, std::string_view reason);
  void finish(Queue& queue, Window::iterator at);
  bool over_limit(const Queue& queue) const;
  void trim(Queue& queue, std::uint64_t known_to);
  StoreTime expire_window(Queue& queue, StoreTime now, std::uint64_t from, std::uint64_t to);
  void sweep(Queue& queue);
  void sweep_loaded(Queue& queue, const LoadResult& result);

  // group
  void schedule();
  bool urgent() const {
    return open_->first <= open_->last || !open_->records.empty() || !open_->purges.empty() ||
           !carried_.records.empty() || !carried_.purges.empty();
  }
  void seal();
  void encode_states(SealedGroup& group);
  void commit_chunks(SealedGroup& group);
  void revert_puts(const SealedGroup& group);
  void carry_over(SealedGroup& group);
  void set_refusing(const Error& why);
  void check_space();
  void release_from_cache(const std::shared_ptr<Chunk>& chunk);
  bool evict_from(Queue& queue, const Chunk& chunk);
  void shrink_cache();
  std::unique_ptr<SealedGroup> new_group();

  GlobalState global_;
  std::optional<ExpiryClock> clock_;
  Instant last_instant_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Queue>> queues_;
  std::map<std::uint32_t, Route> routes_;
  std::map<std::string, RouteId, std::less<>> route_names_;
  std::list<std::shared_ptr<Chunk>> cache_;  // oldest first
  std::size_t cached_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;
  std::uint64_t put_stamp_ = 0;
  std::uint64_t first_of_run_ = 1;
  std::list<std::pair<std::uint64_t, std::uint64_t>> dead_letters_;  // number, bytes; oldest first
  std::uint64_t dead_letter_bytes_ = 0;

  std::unique_ptr<SealedGroup> open_;
  std::size_t open_messages_ = 0, open_settled_ = 0;
  struct {
    std::vector<RecordWrite> records;
    std::vector<FinishedEntry> finished;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> purges;
  } carried_;  // from failed groups, in order
  std::vector<std::uint32_t> dirty_queues_, dirty_routes_;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> dirty_chunks_;
  std::size_t undecided_ = 0;
  std::uint64_t generation_ = 1;
  bool scheduled_ = false, failed_ = false, refusing_ = false;
  std::map<std::tuple<std::string, std::string, std::string>, Loss> losses_;
  std::vector<QueueId> readable_;
  std::vector<StoreTrouble> troubles_;
  MonoTime last_seal_;
  StoreStatus status_;

  std::shared_ptr<Core*> self_ = std::make_shared<Core*>(this);  // posted work checks that we are still there
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Committer> committer_;  // last: its thread ends before anything else goes
};

}  // namespace decklog::persistence
