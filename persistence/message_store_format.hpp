// How the message store looks on disk: keys and values, both ways. Pure; private to the message store.
//
// Column family "chunks":  m<chunk>            messages put in one group for the same set of queues, in order
// Column family default:   q<queue><chunk>     the queue has unsettled messages in the chunk (written once)
//                          a<queue><chunk>     bitmap of the settled ones, when some but not all are
//                          n<queue> c<queue>   name and limits; counters
//                          t<route> s<route>   name; counters
//                          g                   next numbers, expiry clock
//                          d<number>           dead letters
//                          x...                records of the other stores (RecordStore)
// Numbers in keys are big-endian. A chunk is named by the id of its first message. Every value begins with a
// version byte; a version that is not known is kUnsupported, bytes that do not parse are kCorrupt.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "persistence/message_store_clock.hpp"
#include "persistence/message_store_types.hpp"

namespace decklog::persistence {

inline constexpr char kFormatVersion = 1;
inline constexpr std::size_t kChunkBytes =
    64 * 1024;  // closed when it holds this much (one large message may exceed it)
inline constexpr std::size_t kChunkMessages = 256;

// One message's reference from one queue.
struct RefSlot {
  StoreTime expires;  // zero = never
  std::uint32_t route = 0;
  std::uint8_t flags = 0;
};

struct MessageSlot {
  std::uint64_t id = 0;
  std::uint64_t lane = 0;
  std::uint32_t offset = 0;  // of the head in Chunk::bytes; the body follows
  std::uint32_t head_size = 0;
  std::uint32_t body_size = 0;
  std::uint64_t size() const { return std::uint64_t{head_size} + body_size; }
};

// Messages for one set of queues. Built by put(), never changed after its group was sealed.
struct Chunk {
  WallTime accepted;
  std::vector<std::uint32_t> queues;
  std::vector<MessageSlot> messages;
  std::vector<RefSlot> refs;  // messages × queues, message by message
  std::string bytes;          // heads and bodies
  // Of the cache; executor only.
  std::uint32_t holders = 0;  // queues whose window has it
  std::list<std::shared_ptr<Chunk>>::iterator place;

  std::uint64_t first() const { return messages.front().id; }
  std::uint64_t last() const { return messages.back().id; }
  const RefSlot& ref(std::size_t message, std::size_t position) const {
    return refs[message * queues.size() + position];
  }
  std::size_t memory() const {
    return sizeof(Chunk) + bytes.capacity() + messages.capacity() * sizeof(MessageSlot) +
           refs.capacity() * sizeof(RefSlot) + queues.capacity() * 4;
  }
};

// `head` and Chunk::bytes together are the stored value (written as two parts, so that bytes are not copied).
std::string encode_chunk_head(const Chunk& chunk);
Result<Chunk> decode_chunk(std::uint64_t first, std::string_view value);

// Value of q<queue><chunk>.
struct ChunkEntry {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t position = 0;  // of the queue in Chunk::queues
  StoreTime first_expiry;      // of this queue's references; zero = none expires
  WallTime accepted;
  std::vector<std::uint32_t> sharers;  // the other queues of the chunk
};
std::string encode_entry(const Chunk& chunk, std::size_t position);
Result<ChunkEntry> decode_entry(std::uint64_t first, std::string_view value);

// Counters as stored: what Counters says, and the reasons. `waiting` of a queue: per route, so that a purge
// is counted on the right routes without reading the messages.
struct Ledger {
  Counters counters;
  std::map<std::string, std::uint64_t, std::less<>> dropped;  // reason -> count
};
inline constexpr std::size_t kMaxDropReasons = 32;  // further ones count as "other"

struct Waiting {
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
};

struct QueueState {
  Ledger ledger;
  std::map<std::uint32_t, Waiting> waiting;  // by route
  std::uint64_t floor = 0;  // messages up to this id are void (purged), whatever the index says
  std::uint64_t last = 0;   // newest message ever put
  StoreTime next_expiry;    // none of the waiting ones expires before; zero = none expires
};
std::string encode_queue_state(const QueueState& state);
Result<QueueState> decode_queue_state(std::string_view value);
std::string encode_queue_name(const QueueName& name, const QueueLimits& limits);
Result<std::pair<QueueName, QueueLimits>> decode_queue_name(std::string_view value);
std::string encode_ledger(const Ledger& ledger);
Result<Ledger> decode_ledger(std::string_view value);

struct GlobalState {
  std::uint64_t next_message = 1;
  std::uint64_t next_group = 1;
  std::uint32_t next_queue = 1;
  std::uint32_t next_route = 1;
  std::uint64_t next_dead_letter = 1;
  std::string clock;
};
std::string encode_global(const GlobalState& state);
Result<GlobalState> decode_global(std::string_view value);

std::string encode_dead_letter(const DeadLetter& letter);
Result<DeadLetter> decode_dead_letter(std::string_view value);

void count_drop(Ledger& ledger, std::string_view reason, std::uint64_t count);

std::string dead_letter_key(std::uint64_t number);  // d
std::string chunk_key(std::uint64_t first);
std::string queue_key(char kind, std::uint32_t queue);                       // n, c, t, s
std::string entry_key(char kind, std::uint32_t queue, std::uint64_t first);  // q, a

}  // namespace decklog::persistence
