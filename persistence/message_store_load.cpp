// Bringing the executor's state back at start: counters and names, one short scan each; messages are not
// read.
#include "persistence/message_store_bytes.hpp"
#include "persistence/message_store_core.hpp"

namespace decklog::persistence {
namespace {

std::uint32_t id_of(std::string_view key) {
  return static_cast<std::uint32_t>(ByteReader(key.substr(1)).key(4));
}

// A damaged store: what is there is what is queued; what the counters knew beyond that is lost, and said so.
void correct(Ledger& ledger, std::uint64_t messages, std::uint64_t bytes) {
  Counters& c = ledger.counters;
  c.queued = messages;
  c.queued_bytes = bytes;
  const std::uint64_t known = c.delivered + c.expired + c.dropped + c.queued;
  if (c.accepted > known) count_drop(ledger, "damaged", c.accepted - known);
  if (c.accepted < known) c.accepted = known;
}

}  // namespace

Status MessageStore::Core::load_queues() {
  Status problem;
  const auto note = [&](std::string_view key, const Error& why) {
    if (problem)
      problem = error(why.code, why.message, std::string(key.substr(0, 1)) + std::to_string(id_of(key)));
  };
  Status scanned = database_->scan("n", [&](std::string_view key, std::string_view value) {
    auto named = decode_queue_name(value);
    if (!named) return note(key, named.error());
    auto queue = std::make_unique<Queue>();
    queue->id = {id_of(key)};
    queue->name = std::move(named->first);
    queue->limits = named->second;
    queue_names_[queue->name] = queue->id;
    global_.next_queue = std::max(global_.next_queue, queue->id.value + 1);
    queues_[queue->id.value] = std::move(queue);
  });
  if (!scanned) return scanned;
  scanned = database_->scan("c", [&](std::string_view key, std::string_view value) {
    Queue* queue = find(QueueId{id_of(key)});
    if (queue == nullptr) return;
    auto state = decode_queue_state(value);
    if (!state) return note(key, state.error());
    queue->state = std::move(*state);
  });
  if (!scanned) return scanned;
  scanned = database_->scan("t", [&](std::string_view key, std::string_view value) {
    const std::uint32_t id = id_of(key);
    routes_[id].name = std::string(value);
    route_names_[std::string(value)] = {id};
    global_.next_route = std::max(global_.next_route, id + 1);
  });
  if (!scanned) return scanned;
  scanned = database_->scan("s", [&](std::string_view key, std::string_view value) {
    auto ledger = decode_ledger(value);
    if (!ledger) return note(key, ledger.error());
    routes_[id_of(key)].ledger = std::move(*ledger);
  });
  if (!scanned) return scanned;
  scanned = database_->scan("d", [&](std::string_view key, std::string_view value) {
    const std::uint64_t number = ByteReader(key.substr(1)).key(8);
    dead_letters_.emplace_back(number, value.size());
    dead_letter_bytes_ += value.size();
    global_.next_dead_letter = std::max(global_.next_dead_letter, number + 1);
  });
  if (!scanned) return scanned;
  if (!problem && problem.error().code == Errc::kCorrupt) {
    report_.damaged = true;
    report_.problem = describe(problem.error());
    return {};
  }
  return problem;
}

// Counts what is there and makes the counters say so.
Status MessageStore::Core::rebuild() {
  std::map<std::uint32_t, std::uint64_t> floors;
  for (const auto& [id, queue] : queues_) floors[id] = queue->state.floor;
  const auto found = database_->recount(floors, Database::Orphans::kRemove);
  if (!found) return found.error();
  std::map<std::uint32_t, Waiting> by_route;
  for (const auto& [id, queue] : queues_) {
    const auto here = found->queues.find(id);
    const Database::Recount::Found counted =
        here == found->queues.end() ? Database::Recount::Found{} : here->second;
    const std::uint64_t dropped = queue->state.ledger.counters.dropped;
    correct(queue->state.ledger, counted.messages, counted.bytes);
    const std::uint64_t lost = queue->state.ledger.counters.dropped - dropped;
    if (lost > 0) report_loss(queue.get(), 0, "damaged", lost, queue->state.floor + 1, queue->state.last);
    queue->state.waiting = counted.waiting;
    queue->state.next_expiry = counted.first_expiry;
    queue->state.last = std::max(queue->state.last, counted.last);
    for (const auto& [route_id, waiting] : counted.waiting) {
      by_route[route_id].messages += waiting.messages;
      by_route[route_id].bytes += waiting.bytes;
      route(route_id);
    }
    touch(*queue);
  }
  for (auto& [id, route] : routes_) {
    correct(route.ledger, by_route[id].messages, by_route[id].bytes);
    touch(id, route);
  }
  global_.next_message = std::max(global_.next_message, found->last_id + 1);
  return {};
}

Status MessageStore::Core::load_state(const BootId& boot, Instant now) {
  last_instant_ = now;
  const auto stored = database_->get("g");
  if (!stored) return stored.error();
  bool known = false;
  if (*stored) {
    Result<GlobalState> global = decode_global(**stored);
    if (!global && global.error().code != Errc::kCorrupt) return global.error();
    known = global.has_value();
    if (known) global_ = std::move(*global);
  }
  Result<ExpiryClock> clock =
      known ? ExpiryClock::restore(global_.clock, boot, now) : Result<ExpiryClock>(ExpiryClock(boot, now));
  clock_ = clock ? *clock : ExpiryClock(boot, now);
  open_ = new_group();
  if (const Status loaded = load_queues(); !loaded) return loaded;
  const bool used = !queues_.empty() || database_->high_water() > 0;
  if (!known && used && !report_.damaged) {
    report_.damaged = true;
    report_.problem = "the store's own state record is missing";
  }
  if (report_.damaged) {
    if (const Status rebuilt = rebuild(); !rebuilt) return rebuilt;
  }
  const std::uint64_t high_water = database_->high_water();
  if (high_water > global_.next_message) {
    report_.damaged = true;
    if (report_.problem.empty()) report_.problem = "the end of the store's log is missing";
    report_loss(nullptr, 0, "damaged", high_water - global_.next_message, global_.next_message,
                high_water - 1);
    global_.next_message = high_water;
  }
  for (const auto& [id, queue] : queues_) {
    queue->tail_start = global_.next_message;
    live_bytes_ += queue->state.ledger.counters.queued_bytes;
  }
  report_.next_message = first_of_run_ = global_.next_message;
  durable_group_ = open_->id.value - 1;
  database_->set_live_bytes(live_bytes_);
  if (report_.damaged) {
    troubles_.push_back(
        {Errc::kCorrupt, "the message store was damaged: " + report_.problem, report_.kept_aside});
  }
  return {};
}

Status MessageStore::Core::start(const BootId& boot, Instant now) {
  Result<std::unique_ptr<Database>> database = Database::open(options_, report_);
  if (!database) return database.error();
  database_ = std::move(*database);
  if (const Status loaded = load_state(boot, now); !loaded) return loaded;
  const auto posted = [this](auto result, void (Core::*handler)(decltype(result))) {
    auto shared = std::make_shared<decltype(result)>(std::move(result));
    hooks_.post([weak = std::weak_ptr(self_), shared, handler] {
      if (const auto self = weak.lock()) ((*self)->*handler)(std::move(*shared));
    });
  };
  committer_ = std::make_unique<Committer>(*database_, options_.durability, [posted](CommitResult result) {
    posted(std::move(result), &Core::on_committed);
  });
  reader_ = std::make_unique<Reader>(
      *database_, [posted](LoadResult result) { posted(std::move(result), &Core::on_loaded); });
  check_space();
  schedule();
  return {};
}

MessageStore::Core::~Core() {
  if (committer_ != nullptr && open_ != nullptr) seal();
  committer_.reset();
  reader_.reset();
  self_.reset();
}

}  // namespace decklog::persistence
