// Messages from publishers to subscribers: each carries its publisher, its number and the time it was due, so
// that losses, repeats, order and latency are seen at the other end.
#pragma once

#include "tests/bench/mqtt_load.hpp"

namespace decklog::bench {

inline constexpr std::size_t kStampBytes = 20;

struct Stamp {
  std::uint32_t publisher;
  std::uint64_t number;
  std::int64_t due_ns;
};

struct Publisher {
  std::unique_ptr<Client> client;
  std::string prepared;  // the whole packet; id and stamp are patched in
  std::size_t id_at = 0, stamp_at = 0;
  std::uint64_t sent = 0, acknowledged = 0, delivered = 0;
  std::vector<std::int64_t> due = std::vector<std::int64_t>(65'536);  // by packet id

  void prepare(int qos, std::string_view topic, std::size_t payload) {
    std::string body;
    put_text(body, topic);
    const std::size_t id_in_body = body.size();
    if (qos > 0) put16(body, 0);
    body.append(std::max(payload, kStampBytes), 'x');
    prepared = packet(static_cast<std::uint8_t>(0x30 | qos << 1), body);
    const std::size_t head = prepared.size() - body.size();
    id_at = qos > 0 ? head + id_in_body : 0;
    stamp_at = head + id_in_body + (qos > 0 ? 2 : 0);
  }
  void write(std::uint32_t self, std::int64_t due_ns) {
    const auto id = static_cast<std::uint16_t>(sent % 65'535 + 1);
    if (id_at != 0) {
      prepared[id_at] = static_cast<char>(id >> 8);
      prepared[id_at + 1] = static_cast<char>(id);
      due[id] = due_ns;
    }
    char* at = prepared.data() + stamp_at;
    std::memcpy(at, &self, 4);
    std::memcpy(at + 4, &sent, 8);
    std::memcpy(at + 12, &due_ns, 8);
    client->out.append(prepared);
    ++sent;
  }
};

struct Subscriber {
  std::unique_ptr<Client> client;
  std::vector<std::uint64_t> expected;  // by publisher
};

struct Counts {
  std::uint64_t deliveries = 0, lost = 0, repeated = 0;
  std::vector<std::int64_t> end_to_end, acknowledged;
  bool keep_times = false;
};

// One packet that came to a subscriber.
inline void take_delivery(Subscriber& subscriber, const Frame& frame, Counts& counts) {
  if (frame.head >> 4 != 3) return;
  const std::size_t topic = get16(frame.body);
  const int qos = frame.head >> 1 & 3;
  if (qos > 0) append_puback(subscriber.client->out, get16(frame.body.substr(2 + topic)));
  const char* at = frame.body.data() + 2 + topic + (qos > 0 ? 2 : 0);
  Stamp stamp{};
  std::memcpy(&stamp.publisher, at, 4);
  std::memcpy(&stamp.number, at + 4, 8);
  std::memcpy(&stamp.due_ns, at + 12, 8);
  if (stamp.publisher >= subscriber.expected.size()) die("a message that was never sent");
  auto& expected = subscriber.expected[stamp.publisher];
  if (stamp.number < expected) {
    ++counts.repeated;
    return;
  }
  counts.lost += stamp.number - expected;
  expected = stamp.number + 1;
  ++counts.deliveries;
  if (counts.keep_times) counts.end_to_end.push_back(now_ns() - stamp.due_ns);
}

inline void take_answer(Publisher& publisher, const Frame& frame, Counts& counts) {
  if (frame.head >> 4 != 4) return;
  ++publisher.acknowledged;
  if (counts.keep_times) counts.acknowledged.push_back(now_ns() - publisher.due[get16(frame.body)]);
}

}  // namespace decklog::bench
