#include <boost/json.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>

#include "services/fleet/fleet.hpp"
#include "services/fleet/stream_plan.hpp"
#include "services/uplink/jetstream.hpp"
#include "services/uplink/names.hpp"
#include "services/uplink/nats_cloud_inbox.hpp"

namespace decklog::fleet {
namespace {

namespace json = boost::json;
namespace jetstream = uplink::jetstream;
using uplink::NatsConnection;
using uplink::NatsMessage;
using uplink::TwinPart;

constexpr const char* kExpectedRevision = "Nats-Expected-Last-Subject-Sequence";
constexpr Duration kIdleStep = std::chrono::seconds(1);
constexpr Duration kTailSilence = std::chrono::seconds(15);  // of a consumer that should send heartbeats

Error lost_error(uplink::LinkCause cause, const std::string& detail) {
  const Errc code = cause == uplink::LinkCause::kAuth         ? Errc::kUnauthenticated
                    : cause == uplink::LinkCause::kPermission ? Errc::kPermissionDenied
                    : cause == uplink::LinkCause::kTimeout    ? Errc::kTimeout
                                                              : Errc::kUnavailable;
  return error(code, std::string("no connection to the fleet (") + to_string(cause) + "): " + detail);
}

// What nats.c's threads hand to a waiting tail.
struct TailQueue {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<NatsMessage> messages;
};

class NatsFleet final : public Fleet {
 public:
  NatsFleet(uplink::NatsOptions options, std::shared_ptr<NatsConnection> connection)
      : options_(std::move(options)), connection_(std::move(connection)) {}

  Result<std::vector<InitStep>> init(const InitOptions& options) override {
    return init_streams(options, [this](const NatsMessage& message) { return ask(message); });
  }

  Result<std::uint64_t> put_desired(const TwinKey& key, const std::string& text,
                                    std::optional<std::uint64_t> expected) override {
    if (Status valid = uplink::check_key(key); !valid) return valid.error();
    NatsMessage message;
    message.subject = twin_subject(key, TwinPart::kDesired);
    message.body = text;
    if (expected) message.headers.emplace_back(kExpectedRevision, std::to_string(*expected));
    return store(message);
  }
  Status remove_desired(const TwinKey& key) override { return remove(twin_subject(key, TwinPart::kDesired)); }
  Result<TwinValue> get_desired(const TwinKey& key) override { return get_twin(key, TwinPart::kDesired); }
  Result<TwinValue> get_reported(const TwinKey& key) override { return get_twin(key, TwinPart::kReported); }

  Status put_identity(const TwinKey& key, const std::string& text) override {
    if (Status valid = uplink::check_key(key); !valid) return valid.error();
    NatsMessage message;
    message.subject = identity_subject(key);
    message.body = text;
    return done(store(message));
  }
  Status remove_identity(const TwinKey& key) override { return remove(identity_subject(key)); }
  Result<TwinValue> get_identity(const TwinKey& key) override {
    if (Status valid = uplink::check_key(key); !valid) return valid.error();
    return get(uplink::kIdentitiesStream, identity_subject(key));
  }

  Result<MethodAnswer> call(const TwinKey& key, const std::string& method, const std::string& payload,
                            Duration timeout) override {
    if (Status valid = uplink::check_key(key); !valid) return valid.error();
    NatsMessage message;
    message.subject = method_subject(key, method);
    message.body = payload;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count();
    message.headers.emplace_back("Decklog-Timeout-Ms", std::to_string(ms));
    // A little longer than the device has: its own "no answer in time" says more than ours.
    auto answer = connection_->request(message, timeout + std::chrono::seconds(2));
    if (!answer) return answer.error();
    boost::system::error_code failure;
    const json::value value = json::parse(answer->body, failure);
    const json::object* object = failure ? nullptr : value.if_object();
    const json::value* status = object ? object->if_contains("status") : nullptr;
    if (!status || !status->is_int64())
      return error(Errc::kMalformed, "the device's answer is not a method answer");
    const json::value* body = object->if_contains("payload");
    return MethodAnswer{static_cast<int>(status->as_int64()), body ? json::serialize(*body) : "null"};
  }

  Status send(const uplink::CloudMessage& cloud) override {
    if (Status valid = uplink::check_key({cloud.device, {}}); !valid) return valid;
    NatsMessage message;
    message.subject = uplink::cloud_subject(cloud.device);
    add_properties(message, cloud.properties);
    message.body = cloud.body;
    return done(store(message));
  }

  Status tail_telemetry(const TailOptions& options,
                        const std::function<Tail(const TelemetryRecord&)>& take) override;

 private:
  static Status done(const Result<std::uint64_t>& result) {
    if (!result) return result.error();
    return {};
  }
  Result<NatsMessage> ask(const NatsMessage& message) {
    auto answer = connection_->request(message, options_.request_timeout);
    if (!answer && answer.error().code == Errc::kUnavailable) {
      return error(Errc::kUnavailable,
                   answer.error().message + "; JetStream is off or `decklog fleet init` was not run",
                   answer.error().where);
    }
    return answer;
  }
  Result<std::uint64_t> store(const NatsMessage& message) {
    auto answer = ask(message);
    if (!answer) return answer.error();
    auto ack = jetstream::parse_ack(*answer);
    if (!ack) return ack.error();
    return ack->sequence;
  }
  Status remove(const std::string& subject) {
    NatsMessage message;
    message.subject = subject;
    message.headers.emplace_back("KV-Operation", "DEL");
    return done(store(message));
  }
  Result<TwinValue> get_twin(const TwinKey& key, TwinPart part) {
    if (Status valid = uplink::check_key(key); !valid) return valid.error();
    return get(uplink::kTwinsStream, twin_subject(key, part));
  }
  Result<TwinValue> get(const char* stream, const std::string& subject) {
    auto answer = ask(jetstream::get_last(stream, subject));
    if (!answer) return answer.error();
    auto entry = jetstream::parse_entry(*answer);
    if (!entry) return entry.error();
    if (entry->json.empty()) return TwinValue{};
    return TwinValue{std::move(entry->json), entry->revision};
  }

  uplink::NatsOptions options_;
  std::shared_ptr<NatsConnection> connection_;
};

TelemetryRecord record_of(NatsMessage message) {
  TelemetryRecord out;
  std::vector<std::string> parts;
  for (std::size_t start = 0, dot = 0; dot != std::string::npos; start = dot + 1) {
    dot = message.subject.find('.', start);
    parts.push_back(message.subject.substr(start, dot == std::string::npos ? dot : dot - start));
  }
  const auto token = [&](std::size_t index) {
    if (parts.size() <= index || parts[index] == "_") return std::string();
    const auto text = index == 3 ? uplink::module_of(parts[index]) : uplink::unescape_token(parts[index]);
    return text ? *text : parts[index];
  };
  out.device = token(2);
  out.module = token(3);
  out.output = token(4);
  if (const std::string* id = message.header("Nats-Msg-Id")) out.id = *id;
  if (const std::string* enqueued = message.header("Decklog-Enqueued")) out.enqueued = *enqueued;
  out.properties = uplink::properties_of(message);
  out.body = std::move(message.body);
  return out;
}

Status NatsFleet::tail_telemetry(const TailOptions& options,
                                 const std::function<Tail(const TelemetryRecord&)>& take) {
  const auto queue = std::make_shared<TailQueue>();
  std::random_device random;
  jetstream::Consumer consumer;
  consumer.stream = uplink::kTelemetryStream;
  consumer.name = "tail_" + std::to_string(random()) + std::to_string(random());
  consumer.filter = options.device.empty()
                        ? "decklog.telemetry.>"
                        : "decklog.telemetry." + uplink::escape_token(options.device) + ".>";
  consumer.deliver_to = "_INBOX.fleet." + consumer.name;
  consumer.new_only = options.from == TailOptions::From::kNow;
  consumer.heartbeat = std::chrono::seconds(5);
  auto subscription = connection_->subscribe(consumer.deliver_to, [queue](NatsMessage message) {
    const std::lock_guard lock(queue->mutex);
    queue->messages.push_back(std::move(message));
    queue->wake.notify_one();
  });
  if (!subscription) return subscription.error();
  auto answer = ask(jetstream::create_consumer(consumer));
  Status status = answer ? jetstream::check(*answer) : Status(answer.error());
  auto heard = std::chrono::steady_clock::now();  // from the server at all
  auto idle_since = heard;                        // a message
  while (status) {
    std::unique_lock lock(queue->mutex);
    queue->wake.wait_for(lock, kIdleStep, [&] { return !queue->messages.empty(); });
    const auto now = std::chrono::steady_clock::now();
    if (queue->messages.empty()) {
      lock.unlock();
      if (options.idle_max > Duration::zero() && now - idle_since >= options.idle_max) break;
      if (now - heard > kTailSilence) status = error(Errc::kUnavailable, "the server has fallen silent");
      continue;
    }
    NatsMessage message = std::move(queue->messages.front());
    queue->messages.pop_front();
    lock.unlock();
    heard = now;
    if (message.status != 0) {
      if (options.idle_max > Duration::zero() && now - idle_since >= options.idle_max) break;
      continue;
    }
    idle_since = now;
    if (take(record_of(std::move(message))) == Tail::kStop) break;
  }
  connection_->unsubscribe(*subscription);
  return status;
}

}  // namespace

Result<std::unique_ptr<Fleet>> open_nats_fleet(uplink::NatsOptions options) {
  NatsConnection::Events ignored{[](uplink::LinkCause, const std::string&) {},
                                 [](const std::string&, const std::string&) {}};
  auto opened = NatsConnection::open(options, ignored);
  if (!opened.connection) return lost_error(opened.cause, opened.detail);
  return std::unique_ptr<Fleet>(
      std::make_unique<NatsFleet>(std::move(options), std::move(opened.connection)));
}

}  // namespace decklog::fleet
