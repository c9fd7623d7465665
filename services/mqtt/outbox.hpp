// What a connected session is sending at QoS 1 and 2: messages in order, a window of unacknowledged ones at
// the front (4.3, 4.4, 4.6). Pure: bytes go into a buffer, answers are values. Two kinds of entries share it.
// Stored ones are handed in from a durable queue as room appears, carry a packet identifier that is the same
// in every run, and go back to that queue when the connection ends. The others live here only and get a free
// identifier. Owner: one session; one thread. Memory: empty = no allocation. Bounds: Limits, checked by
// has_room().
#pragma once

#include <boost/circular_buffer.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/mqtt/packet.hpp"

namespace decklog::mqtt {

enum class SendState : std::uint8_t {
  kQueued = 0,
  kSent = 1,      // waits for PUBACK or PUBREC
  kReleased = 2,  // waits for PUBCOMP; the message itself is discarded
  kDone = 3,      // acknowledged, but something before it is not
};

struct Outgoing final {
  std::string_view topic;
  std::string_view payload;
  std::shared_ptr<const void> keep;  // holds what the two view
  std::uint64_t stored = 0;          // id in the durable queue; 0 = lives here only
  std::uint64_t token = 0;           // of a delivery somebody wants to hear about; 0 = nobody
  std::uint16_t packet_id = 0;       // given for stored entries, else chosen by push()
  Qos qos = Qos::kAtLeastOnce;
  SendState state = SendState::kQueued;
  bool retain = false;
  bool duplicate = false;  // may have been sent before [MQTT-3.3.1-1]
  bool may_go = true;      // kReleased: the release is durable, PUBREL may be sent

  std::size_t bytes() const { return topic.size() + payload.size(); }
};

class Outbox final {
 public:
  struct Limits final {
    std::uint32_t window = 512;  // sent and unacknowledged; also how far out of order acks may come
    std::uint32_t messages = 1024;
    std::size_t bytes = 1u << 20;
  };

  struct Answer final {
    bool known = false;
    std::uint64_t stored = 0;
    std::uint64_t token = 0;
  };

  // Room for one more; one message always fits into an empty outbox.
  bool has_room(std::size_t bytes, const Limits& limits) const;
  bool uses(std::uint16_t packet_id) const { return ids_.contains(packet_id); }
  // A stored entry's packet id must not be in use.
  void push(Outgoing entry);
  // A QoS 2 exchange of an earlier run that waits for PUBCOMP.
  void push_released(std::uint16_t packet_id);

  // Encodes what may go now, in order, until the window or `out_limit` bytes in `out`. Returns the highest
  // stored id that was encoded, 0 when none.
  std::uint64_t pump(std::string& out, std::size_t out_limit, const Limits& limits);

  Answer on_puback(std::uint16_t packet_id);
  // The message is the peer's now. PUBREL goes out when release_durable() says so.
  Answer on_pubrec(std::uint16_t packet_id);
  void release_durable(std::uint16_t packet_id);
  Answer on_pubcomp(std::uint16_t packet_id);

  // The connection is gone: stored messages leave (their queue has them), the rest waits for resume().
  void suspend();
  // A new connection: what was sent goes again, in order, marked as duplicate [MQTT-4.4.0-1].
  void resume();
  // Takes a token's message out unless it was sent on this connection; true when it is gone.
  bool withdraw(std::uint64_t token);

  std::size_t size() const { return entries_.size(); }
  std::size_t in_flight() const { return cursor_; }
  std::size_t bytes() const { return bytes_; }
  bool empty() const { return entries_.empty(); }
  std::vector<std::uint64_t> tokens() const;
  void clear();

 private:
  Outgoing* find(std::uint16_t packet_id);
  std::uint16_t free_packet_id();
  void discard_message(Outgoing& entry);
  void finish(Outgoing& entry);
  void drop_done();
  void rebuild(std::vector<Outgoing> entries);

  boost::circular_buffer<Outgoing> entries_;
  boost::unordered_flat_map<std::uint16_t, std::uint64_t> ids_;  // packet id -> position since ever
  std::uint64_t front_position_ = 0;
  std::size_t cursor_ = 0;  // entries before it have been sent on this connection
  std::size_t bytes_ = 0;
  std::uint16_t last_id_ = 0;
};

}  // namespace decklog::mqtt
