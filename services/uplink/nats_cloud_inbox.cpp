#include "services/uplink/nats_cloud_inbox.hpp"

#include "services/uplink/names.hpp"

namespace decklog::uplink {
namespace {

constexpr const char* kPropertyHeader = "Decklog-Property";

// Sequence and time of the storing: a stream that was made anew counts from 1 again.
std::string id_of(const std::string& ack_subject) {
  const auto delivery = jetstream::parse_delivery(ack_subject);
  if (!delivery) return {};
  return std::to_string(delivery->stream_sequence) + '@' + std::to_string(delivery->stored_ns);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> properties_of(const NatsMessage& message) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, value] : message.headers) {
    if (name != kPropertyHeader) continue;
    const std::size_t equals = value.find('=');
    const auto key = percent_decode(value.substr(0, equals));
    const auto text = percent_decode(equals == std::string::npos ? std::string() : value.substr(equals + 1));
    if (key && text) out.emplace_back(*key, *text);
  }
  return out;
}

void add_properties(NatsMessage& message,
                    const std::vector<std::pair<std::string, std::string>>& properties) {
  for (const auto& [name, value] : properties) {
    message.headers.emplace_back(kPropertyHeader, percent_encode(name) + '=' + percent_encode(value));
  }
}

NatsCloudInbox::NatsCloudInbox(std::shared_ptr<NatsWire> wire, std::string device, Events events)
    : wire_(std::move(wire)),
      device_(std::move(device)),
      consumer_("c2d_" + escape_token(device_)),
      events_(std::move(events)) {}

void NatsCloudInbox::start() {
  running_ = true;
  restart();
}

void NatsCloudInbox::stop() {
  running_ = false;
  wire_->unsubscribe(subscription_);
}

void NatsCloudInbox::restart() {
  wire_->unsubscribe(subscription_);
  retry_at_.reset();
  pull_until_.reset();
  expected_ = 0;
  const std::uint64_t attempt = ++attempt_;
  const std::weak_ptr<NatsCloudInbox> weak = weak_from_this();
  deliver_to_ = wire_->private_subject("c" + std::to_string(reinterpret_cast<std::uintptr_t>(this)) + "x" +
                                       std::to_string(attempt));
  subscription_ = wire_->subscribe(
      deliver_to_,
      [weak, attempt](NatsMessage message) {
        if (auto self = weak.lock(); self && self->attempt_ == attempt) self->arrived(std::move(message));
      },
      [weak, attempt](Error reason) {
        if (auto self = weak.lock(); self && self->attempt_ == attempt) self->failed(reason);
      });
  jetstream::Consumer consumer;
  consumer.stream = kCloudStream;
  consumer.name = consumer_;
  consumer.filter = cloud_subject(device_);
  consumer.durable = true;
  consumer.explicit_ack = true;
  consumer.ack_wait = kAckWait;
  wire_->request(jetstream::create_consumer(consumer), wire_->options().request_timeout,
                 [weak, attempt](Result<NatsMessage> answer) {
                   auto self = weak.lock();
                   if (!self || !self->running_ || self->attempt_ != attempt) return;
                   const Status status = answer ? jetstream::check(*answer) : Status(answer.error());
                   if (!status) return self->failed(status.error());
                   self->last_error_.reset();
                   self->pull();
                 });
}

void NatsCloudInbox::pull() {
  const int room = kMaxUnsettled - static_cast<int>(unsettled_.size());
  if (!running_ || expected_ > 0 || room <= 0) return;
  expected_ = room;
  pull_until_ = std::chrono::steady_clock::now() + kPullExpires + wire_->options().request_timeout;
  NatsMessage request = jetstream::pull(kCloudStream, consumer_, room, kPullExpires);
  request.reply = deliver_to_;
  std::vector<NatsMessage> one;
  one.push_back(std::move(request));
  wire_->send(std::move(one));
}

void NatsCloudInbox::arrived(NatsMessage message) {
  if (!running_) return;
  if (message.status != 0) {
    // 404, 408: nothing came in time. 409, 503: the consumer or the stream is gone: make it anew.
    if (message.status == 100) return;
    expected_ = 0;
    pull_until_.reset();
    if (message.status == 404 || message.status == 408) return pull();
    return restart();
  }
  if (expected_ > 0) --expected_;
  const std::uint64_t tag = events_.next_tag();
  std::string id = id_of(message.reply);
  unsettled_[tag] = {message.reply, std::chrono::steady_clock::now() + kAckWait};
  CloudMessage out;
  out.device = device_;
  out.properties = properties_of(message);
  out.body = std::move(message.body);
  out.delivery_tag = tag;
  out.id = std::move(id);
  const auto keep = shared_from_this();
  events_.on_message(std::move(out));
  if (expected_ == 0) {
    pull_until_.reset();
    pull();
  }
}

bool NatsCloudInbox::settle(std::uint64_t tag, Settle how) {
  const auto found = unsettled_.find(tag);
  if (found == unsettled_.end()) return false;
  NatsMessage verdict;
  verdict.subject = found->second.ack_subject;
  switch (how) {
    case Settle::kAccept:
      verdict.body = "+ACK";
      break;
    case Settle::kReject:
      verdict.body = "+TERM";
      break;
    case Settle::kRetry:
      verdict.body = "-NAK {\"delay\": " + std::to_string(kRetryDelay.count()) + "}";
      break;
  }
  unsettled_.erase(found);
  std::vector<NatsMessage> one;
  one.push_back(std::move(verdict));
  wire_->send(std::move(one));
  pull();
  return true;
}

void NatsCloudInbox::failed(const Error& reason) {
  retry_at_ = std::chrono::steady_clock::now() + wire_->options().watch_retry;
  if (last_error_ == reason) return;
  last_error_ = reason;
  events_.on_failed(reason);
}

void NatsCloudInbox::tick(SteadyTime now) {
  if (!running_) return;
  std::erase_if(unsettled_, [now](const auto& entry) { return now > entry.second.until; });
  if ((retry_at_ && now >= *retry_at_) || (pull_until_ && now >= *pull_until_)) return restart();
  if (!retry_at_ && expected_ == 0 && !pull_until_) pull();
}

}  // namespace decklog::uplink
