// JetStream's JSON requests and answers, as values. Pure.
//
// Requests are made by hand rather than through nats.c's own JetStream calls for two reasons: those block,
// and here everything is one publish with a reply subject; and nats.c 3.4.1 makes consumers through a subject
// without the filter, which a server cannot hold to a device's own keys. Source of the facts: NATS JetStream
// wire API, levels of nats-server 2.9.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"
#include "services/uplink/nats_connection.hpp"

namespace decklog::uplink::jetstream {

// An error answer as an Error: missing stream or consumer = kNotFound with a hint, wrong expected sequence =
// kConflict, too large = kTooLarge, no room = kNoSpace, nobody there (status 503) = kUnavailable with a hint.
Status check(const NatsMessage& answer);

struct PubAck {
  std::string stream;
  std::uint64_t sequence = 0;
  bool duplicate = false;
};
Result<PubAck> parse_ack(const NatsMessage& answer);

struct Consumer {
  std::string stream;
  std::string name;
  std::string filter;
  std::string deliver_to;  // empty = pull
  bool durable = false;
  bool last_per_subject = false;  // else everything from the start
  bool new_only = false;          // only what comes from now on
  bool explicit_ack = false;
  Duration ack_wait = std::chrono::seconds(60);
  Duration heartbeat = std::chrono::seconds(10);  // push only
};
NatsMessage create_consumer(const Consumer& consumer);
NatsMessage pull(const std::string& stream, const std::string& consumer, int batch, Duration expires);

// Last value of a key, by the stream's direct-get subject.
NatsMessage get_last(const std::string& stream, const std::string& subject);
struct Entry {
  std::string json;            // empty = deleted
  std::uint64_t revision = 0;  // 0 = never was
};
// kNotFound is an Entry with revision 0; the message's own sequence and subject are in its headers.
Result<Entry> parse_entry(const NatsMessage& answer);
bool is_delete_marker(const NatsMessage& message);

NatsMessage stream_info(const std::string& stream);
struct StreamInfo {
  std::string created;
  std::uint64_t last_sequence = 0;
  std::uint64_t replicas = 1;
  bool clustered = false;
  std::vector<std::string> subjects;
};
Result<StreamInfo> parse_stream_info(const NatsMessage& answer);

// What the reply subject of a delivered message says.
struct Delivery {
  std::uint64_t stream_sequence = 0;
  std::uint64_t consumer_sequence = 0;
  std::uint64_t stored_ns = 0;  // since 1970, when the stream took it
  std::uint64_t pending = 0;    // still to come from what was there
};
std::optional<Delivery> parse_delivery(std::string_view reply_subject);

}  // namespace decklog::uplink::jetstream
