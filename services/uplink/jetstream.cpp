#include "services/uplink/jetstream.hpp"

#include <boost/json.hpp>
#include <charconv>

namespace decklog::uplink::jetstream {
namespace {

namespace json = boost::json;

constexpr const char* kInitHint = "; run `decklog fleet init`";

Result<json::object> parse_object(const NatsMessage& answer) {
  boost::system::error_code failure;
  json::value value = json::parse(answer.body, failure);
  if (failure || !value.is_object())
    return error(Errc::kMalformed, "the server's answer is not a JSON object");
  return std::move(value.as_object());
}

std::uint64_t number(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (!value) return 0;
  if (value->is_uint64()) return value->as_uint64();
  return value->is_int64() && value->as_int64() > 0 ? static_cast<std::uint64_t>(value->as_int64()) : 0;
}

std::string text(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

Error error_of(const json::object& failure) {
  const std::uint64_t code = number(failure, "err_code");
  std::string message = text(failure, "description");
  if (message.empty()) message = "error " + std::to_string(code);
  switch (code) {
    case 10071:
      return error(Errc::kConflict, "the revision moved: " + message);
    case 10059:
      return error(Errc::kNotFound, message + kInitHint);
    case 10014:
      return error(Errc::kNotFound, message);
    case 10054:
      return error(Errc::kTooLarge, message);
    case 10023:
    case 10028:
    case 10047:
    case 10077:
    case 10002:
      return error(Errc::kNoSpace, message);
    case 10039:
    case 10076:
      return error(Errc::kUnavailable, message);
    default:
      break;
  }
  switch (number(failure, "code")) {
    case 404:
      return error(Errc::kNotFound, message);
    case 403:
      return error(Errc::kPermissionDenied, message);
    case 400:
      return error(Errc::kInvalidArgument, message);
    default:
      return error(Errc::kUnavailable, message);
  }
}

Result<json::object> checked_object(const NatsMessage& answer) {
  if (answer.status == 503) {
    return error(Errc::kUnavailable,
                 std::string("nothing in the fleet answers: no JetStream or no such stream") + kInitHint);
  }
  auto object = parse_object(answer);
  if (!object) return object.error();
  if (const json::value* failure = object->if_contains("error"); failure && failure->is_object()) {
    return error_of(failure->as_object());
  }
  return object;
}

bool parse_number(std::string_view text, std::uint64_t& out) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  return failure == std::errc() && end == text.data() + text.size();
}

}  // namespace

Status check(const NatsMessage& answer) {
  auto object = checked_object(answer);
  if (!object) return object.error();
  return {};
}

Result<PubAck> parse_ack(const NatsMessage& answer) {
  auto object = checked_object(answer);
  if (!object) return object.error();
  PubAck ack;
  ack.stream = text(*object, "stream");
  ack.sequence = number(*object, "seq");
  const json::value* duplicate = object->if_contains("duplicate");
  ack.duplicate = duplicate && duplicate->is_bool() && duplicate->as_bool();
  if (ack.stream.empty() || ack.sequence == 0)
    return error(Errc::kMalformed, "the acknowledgement names no stream or sequence");
  return ack;
}

NatsMessage create_consumer(const Consumer& consumer) {
  json::object config{{"name", consumer.name},
                      {"filter_subject", consumer.filter},
                      {"deliver_policy", consumer.last_per_subject ? "last_per_subject"
                                         : consumer.new_only       ? "new"
                                                                   : "all"},
                      {"ack_policy", consumer.explicit_ack ? "explicit" : "none"},
                      {"replay_policy", "instant"}};
  if (consumer.durable) config["durable_name"] = consumer.name;
  if (consumer.explicit_ack) {
    config["ack_wait"] = consumer.ack_wait.count();
  }
  if (!consumer.deliver_to.empty()) {
    config["deliver_subject"] = consumer.deliver_to;
    config["idle_heartbeat"] = consumer.heartbeat.count();
    config["mem_storage"] = true;
    config["num_replicas"] = 1;
  }
  NatsMessage out;
  out.subject = "$JS.API.CONSUMER.CREATE." + consumer.stream + '.' + consumer.name + '.' + consumer.filter;
  out.body = json::serialize(json::object{{"stream_name", consumer.stream}, {"config", config}});
  return out;
}

NatsMessage pull(const std::string& stream, const std::string& consumer, int batch, Duration expires) {
  NatsMessage out;
  out.subject = "$JS.API.CONSUMER.MSG.NEXT." + stream + '.' + consumer;
  out.body = json::serialize(json::object{{"batch", batch}, {"expires", expires.count()}});
  return out;
}

NatsMessage get_last(const std::string& stream, const std::string& subject) {
  NatsMessage out;
  out.subject = "$JS.API.DIRECT.GET." + stream + '.' + subject;
  return out;
}

bool is_delete_marker(const NatsMessage& message) {
  const std::string* operation = message.header("KV-Operation");
  return operation && (*operation == "DEL" || *operation == "PURGE");
}

Result<Entry> parse_entry(const NatsMessage& answer) {
  if (answer.status == 404) return Entry{};
  if (answer.status == 503) {
    return error(Errc::kNotFound, std::string("the bucket is not there or JetStream is off") + kInitHint);
  }
  if (answer.status != 0)
    return error(Errc::kUnavailable, "the server answered with status " + std::to_string(answer.status));
  Entry entry;
  const std::string* sequence = answer.header("Nats-Sequence");
  if (!sequence || !parse_number(*sequence, entry.revision)) {
    return error(Errc::kMalformed, "the server's answer names no revision");
  }
  if (!is_delete_marker(answer)) entry.json = answer.body;
  return entry;
}

NatsMessage stream_info(const std::string& stream) {
  NatsMessage out;
  out.subject = "$JS.API.STREAM.INFO." + stream;
  return out;
}

Result<StreamInfo> parse_stream_info(const NatsMessage& answer) {
  auto object = checked_object(answer);
  if (!object) return object.error();
  StreamInfo info;
  info.created = text(*object, "created");
  info.clustered = object->contains("cluster");
  if (const json::value* state = object->if_contains("state"); state && state->is_object()) {
    info.last_sequence = number(state->as_object(), "last_seq");
  }
  if (const json::value* config = object->if_contains("config"); config && config->is_object()) {
    info.replicas = number(config->as_object(), "num_replicas");
    if (const json::value* subjects = config->as_object().if_contains("subjects");
        subjects && subjects->is_array()) {
      for (const auto& subject : subjects->as_array()) {
        if (subject.is_string()) info.subjects.emplace_back(subject.as_string());
      }
    }
  }
  if (info.created.empty()) return error(Errc::kMalformed, "the stream's description has no creation time");
  return info;
}

std::optional<Delivery> parse_delivery(std::string_view reply_subject) {
  // $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, or with domain and
  // account hash in front of the stream and a random token at the end.
  std::vector<std::string_view> parts;
  for (std::size_t start = 0;;) {
    const std::size_t dot = reply_subject.find('.', start);
    parts.push_back(reply_subject.substr(start, dot == std::string_view::npos ? dot : dot - start));
    if (dot == std::string_view::npos) break;
    start = dot + 1;
  }
  if (parts.size() < 9 || parts[0] != "$JS" || parts[1] != "ACK") return std::nullopt;
  const std::size_t base = parts.size() == 9 ? 5 : 7;
  if (parts.size() < base + 4) return std::nullopt;
  Delivery out;
  if (!parse_number(parts[base], out.stream_sequence) ||
      !parse_number(parts[base + 1], out.consumer_sequence) ||
      !parse_number(parts[base + 2], out.stored_ns) || !parse_number(parts[base + 3], out.pending)) {
    return std::nullopt;
  }
  return out;
}

}  // namespace decklog::uplink::jetstream
