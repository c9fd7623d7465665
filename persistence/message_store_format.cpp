#include "persistence/message_store_format.hpp"

#include "persistence/message_store_bytes.hpp"

namespace decklog::persistence {
namespace {

Error corrupt(std::string_view what) {
  return error(Errc::kCorrupt, "stored bytes do not parse", std::string(what));
}

Status check_version(ByteReader& in, std::string_view what) {
  const std::uint8_t version = in.byte();
  if (!in.ok()) return corrupt(what);
  if (version != kFormatVersion) {
    return error(Errc::kUnsupported, "stored by a newer version (" + std::to_string(version) + ")",
                 std::string(what));
  }
  return {};
}

std::string versioned() {
  return std::string(1, kFormatVersion);
}
std::int64_t signed64(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

void put_ledger(std::string& out, const Ledger& ledger) {
  const Counters& c = ledger.counters;
  for (const std::uint64_t value :
       {c.accepted, c.delivered, c.expired, c.dropped, c.queued, c.queued_bytes}) {
    put_varint(out, value);
  }
  put_varint(out, ledger.dropped.size());
  for (const auto& [reason, count] : ledger.dropped) {
    put_text(out, reason);
    put_varint(out, count);
  }
}

Ledger take_ledger(ByteReader& in) {
  Ledger ledger;
  Counters& c = ledger.counters;
  for (std::uint64_t* value :
       {&c.accepted, &c.delivered, &c.expired, &c.dropped, &c.queued, &c.queued_bytes}) {
    *value = in.varint();
  }
  for (std::uint64_t i = in.varint(); i > 0 && in.ok(); --i) {
    std::string reason(in.text());
    ledger.dropped[std::move(reason)] = in.varint();
  }
  return ledger;
}

}  // namespace

std::string encode_chunk_head(const Chunk& chunk) {
  std::string out = versioned();
  out.reserve(32 + chunk.queues.size() * 3 + chunk.messages.size() * (14 + chunk.queues.size() * 3));
  put_fixed64(out, static_cast<std::uint64_t>(chunk.accepted.ns));
  put_varint(out, chunk.queues.size());
  for (const std::uint32_t queue : chunk.queues) put_varint(out, queue);
  put_varint(out, chunk.messages.size());
  std::uint64_t previous = chunk.first();
  std::size_t ref = 0;
  for (const MessageSlot& message : chunk.messages) {
    put_varint(out, message.id - previous);
    previous = message.id;
    put_fixed64(out, message.lane);
    put_varint(out, message.head_size);
    put_varint(out, message.body_size);
    for (std::size_t i = 0; i < chunk.queues.size(); ++i, ++ref) {
      out.push_back(static_cast<char>(chunk.refs[ref].flags));
      put_varint(out, chunk.refs[ref].route);
      put_varint(out, static_cast<std::uint64_t>(chunk.refs[ref].expires.ns));
    }
  }
  return out;
}

Result<Chunk> decode_chunk(std::uint64_t first, std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "chunk"); !version) return version.error();
  Chunk chunk;
  chunk.accepted.ns = signed64(in.fixed64());
  const std::uint64_t queues = in.varint();
  if (!in.ok() || queues == 0 || queues > in.left()) return corrupt("chunk queues");
  chunk.queues.reserve(queues);
  for (std::uint64_t i = 0; i < queues; ++i) chunk.queues.push_back(static_cast<std::uint32_t>(in.varint()));
  const std::uint64_t messages = in.varint();
  // Each message takes at least 11 bytes and each reference 3: a bound before anything is reserved.
  if (!in.ok() || messages == 0 || messages > in.left() / (11 + 3 * queues)) return corrupt("chunk messages");
  chunk.messages.reserve(messages);
  chunk.refs.reserve(messages * queues);
  std::uint64_t id = first;
  std::uint64_t offset = 0;
  for (std::uint64_t i = 0; i < messages; ++i) {
    MessageSlot slot;
    id += in.varint();
    slot.id = id;
    slot.lane = in.fixed64();
    slot.offset = static_cast<std::uint32_t>(offset);
    const std::uint64_t head = in.varint(), body = in.varint();
    if (head > value.size() || body > value.size()) return corrupt("message size");
    slot.head_size = static_cast<std::uint32_t>(head);
    slot.body_size = static_cast<std::uint32_t>(body);
    offset += head + body;
    chunk.messages.push_back(slot);
    for (std::uint64_t q = 0; q < queues; ++q) {
      RefSlot ref;
      ref.flags = in.byte();
      ref.route = static_cast<std::uint32_t>(in.varint());
      ref.expires.ns = signed64(in.varint());
      chunk.refs.push_back(ref);
    }
  }
  if (!in.ok() || in.left() != offset) return corrupt("chunk bytes");
  chunk.bytes = std::string(in.take(offset));
  return chunk;
}

std::string encode_entry(const Chunk& chunk, std::size_t position) {
  std::uint64_t bytes = 0;
  StoreTime expiry;
  for (std::size_t i = 0; i < chunk.messages.size(); ++i) {
    bytes += chunk.messages[i].size();
    const StoreTime expires = chunk.ref(i, position).expires;
    if (expires.ns != 0 && (expiry.ns == 0 || expires < expiry)) expiry = expires;
  }
  std::string out = versioned();
  put_varint(out, chunk.last() - chunk.first());
  put_varint(out, chunk.messages.size());
  put_varint(out, bytes);
  put_varint(out, position);
  put_fixed64(out, static_cast<std::uint64_t>(expiry.ns));
  put_fixed64(out, static_cast<std::uint64_t>(chunk.accepted.ns));
  put_varint(out, chunk.queues.size() - 1);
  for (std::size_t i = 0; i < chunk.queues.size(); ++i) {
    if (i != position) put_varint(out, chunk.queues[i]);
  }
  return out;
}

Result<ChunkEntry> decode_entry(std::uint64_t first, std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "entry"); !version) return version.error();
  ChunkEntry entry;
  entry.first = first;
  entry.last = first + in.varint();
  entry.messages = in.varint();
  entry.bytes = in.varint();
  entry.position = in.varint();
  entry.first_expiry.ns = signed64(in.fixed64());
  entry.accepted.ns = signed64(in.fixed64());
  const std::uint64_t sharers = in.varint();
  if (!in.ok() || sharers > in.left()) return corrupt("entry");
  for (std::uint64_t i = 0; i < sharers; ++i)
    entry.sharers.push_back(static_cast<std::uint32_t>(in.varint()));
  if (!in.ok() || !in.at_end()) return corrupt("entry");
  return entry;
}

std::string encode_queue_state(const QueueState& state) {
  std::string out = versioned();
  put_ledger(out, state.ledger);
  put_varint(out, state.waiting.size());
  for (const auto& [route, waiting] : state.waiting) {
    put_varint(out, route);
    put_varint(out, waiting.messages);
    put_varint(out, waiting.bytes);
  }
  put_varint(out, state.floor);
  put_varint(out, state.last);
  put_fixed64(out, static_cast<std::uint64_t>(state.next_expiry.ns));
  return out;
}

Result<QueueState> decode_queue_state(std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "queue state"); !version) return version.error();
  QueueState state;
  state.ledger = take_ledger(in);
  for (std::uint64_t i = in.varint(); i > 0 && in.ok(); --i) {
    const auto route = static_cast<std::uint32_t>(in.varint());
    Waiting& waiting = state.waiting[route];
    waiting.messages = in.varint();
    waiting.bytes = in.varint();
  }
  state.floor = in.varint();
  state.last = in.varint();
  state.next_expiry.ns = signed64(in.fixed64());
  if (!in.ok() || !in.at_end()) return corrupt("queue state");
  return state;
}

std::string encode_queue_name(const QueueName& name, const QueueLimits& limits) {
  std::string out = versioned();
  out.push_back(static_cast<char>(name.kind));
  out.push_back(static_cast<char>(name.priority));
  put_text(out, name.name);
  put_varint(out, limits.max_bytes);
  put_varint(out, limits.max_messages);
  out.push_back(static_cast<char>(limits.policy));
  return out;
}

Result<std::pair<QueueName, QueueLimits>> decode_queue_name(std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "queue name"); !version) return version.error();
  std::pair<QueueName, QueueLimits> out;
  out.first.kind = static_cast<QueueKind>(in.byte());
  out.first.priority = in.byte();
  out.first.name = std::string(in.text());
  out.second.max_bytes = in.varint();
  out.second.max_messages = in.varint();
  out.second.policy = static_cast<FullPolicy>(in.byte());
  if (!in.ok() || !in.at_end()) return corrupt("queue name");
  return out;
}

std::string encode_ledger(const Ledger& ledger) {
  std::string out = versioned();
  put_ledger(out, ledger);
  return out;
}

Result<Ledger> decode_ledger(std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "route state"); !version) return version.error();
  Ledger ledger = take_ledger(in);
  if (!in.ok() || !in.at_end()) return corrupt("route state");
  return ledger;
}

std::string encode_global(const GlobalState& state) {
  std::string out = versioned();
  put_varint(out, state.next_message);
  put_varint(out, state.next_group);
  put_varint(out, state.next_queue);
  put_varint(out, state.next_route);
  put_varint(out, state.next_dead_letter);
  put_text(out, state.clock);
  return out;
}

Result<GlobalState> decode_global(std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "store state"); !version) return version.error();
  GlobalState state;
  state.next_message = in.varint();
  state.next_group = in.varint();
  state.next_queue = static_cast<std::uint32_t>(in.varint());
  state.next_route = static_cast<std::uint32_t>(in.varint());
  state.next_dead_letter = in.varint();
  state.clock = std::string(in.text());
  if (!in.ok() || !in.at_end()) return corrupt("store state");
  return state;
}

std::string encode_dead_letter(const DeadLetter& letter) {
  std::string out = versioned();
  put_varint(out, letter.id.value);
  put_text(out, letter.queue);
  put_text(out, letter.reason);
  put_fixed64(out, static_cast<std::uint64_t>(letter.time.ns));
  put_text(out, letter.head);
  put_text(out, letter.body);
  return out;
}

Result<DeadLetter> decode_dead_letter(std::string_view value) {
  ByteReader in(value);
  if (const Status version = check_version(in, "dead letter"); !version) return version.error();
  DeadLetter letter;
  letter.id.value = in.varint();
  letter.queue = std::string(in.text());
  letter.reason = std::string(in.text());
  letter.time.ns = signed64(in.fixed64());
  letter.head = std::string(in.text());
  letter.body = std::string(in.text());
  if (!in.ok() || !in.at_end()) return corrupt("dead letter");
  return letter;
}

void count_drop(Ledger& ledger, std::string_view reason, std::uint64_t count) {
  ledger.counters.dropped += count;
  auto found = ledger.dropped.find(reason);
  if (found == ledger.dropped.end()) {
    if (ledger.dropped.size() >= kMaxDropReasons) reason = "other";
    found = ledger.dropped.try_emplace(std::string(reason), 0).first;
  }
  found->second += count;
}

std::string dead_letter_key(std::uint64_t number) {
  std::string out(1, 'd');
  put_key64(out, number);
  return out;
}

std::string chunk_key(std::uint64_t first) {
  std::string out(1, 'm');
  put_key64(out, first);
  return out;
}

std::string queue_key(char kind, std::uint32_t queue) {
  std::string out(1, kind);
  put_key32(out, queue);
  return out;
}

std::string entry_key(char kind, std::uint32_t queue, std::uint64_t first) {
  std::string out = queue_key(kind, queue);
  put_key64(out, first);
  return out;
}

}  // namespace decklog::persistence
