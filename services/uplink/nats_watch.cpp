#include "services/uplink/nats_watch.hpp"

namespace decklog::uplink {

NatsWatch::NatsWatch(std::shared_ptr<NatsWire> wire, std::string stream, std::string filter, Events events)
    : wire_(std::move(wire)),
      stream_(std::move(stream)),
      filter_(std::move(filter)),
      events_(std::move(events)) {}

void NatsWatch::start() {
  running_ = true;
  restart();
}

void NatsWatch::stop() {
  running_ = false;
  wire_->unsubscribe(subscription_);
}

void NatsWatch::restart() {
  // The consumer before dies by itself: nobody listens to it any more.
  wire_->unsubscribe(subscription_);
  if (events_.on_restart) events_.on_restart();
  established_ = false;
  retry_at_.reset();
  consumer_sequence_ = 0;
  last_heard_ = std::chrono::steady_clock::now();
  const std::uint64_t attempt = ++attempt_;
  jetstream::Consumer consumer;
  consumer.stream = stream_;
  consumer.filter = filter_;
  // The reply space of this connection is random; so is the name made from the subscription's place in it.
  const std::string private_name =
      "w" + std::to_string(reinterpret_cast<std::uintptr_t>(this)) + "x" + std::to_string(attempt);
  consumer.deliver_to = wire_->private_subject(private_name);
  std::string name = consumer.deliver_to;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '='; }, '_');
  consumer.name = name;
  consumer.last_per_subject = true;
  consumer.heartbeat = wire_->options().heartbeat;
  const std::weak_ptr<NatsWatch> weak = weak_from_this();
  subscription_ = wire_->subscribe(
      consumer.deliver_to,
      [weak, attempt](NatsMessage message) {
        if (auto self = weak.lock(); self && self->attempt_ == attempt) self->arrived(std::move(message));
      },
      [weak, attempt](Error reason) {
        if (auto self = weak.lock(); self && self->attempt_ == attempt) self->failed(reason);
      });
  wire_->request(jetstream::create_consumer(consumer), wire_->options().request_timeout,
                 [weak, attempt](Result<NatsMessage> answer) {
                   auto self = weak.lock();
                   if (!self || !self->running_ || self->attempt_ != attempt) return;
                   const Status status = answer ? jetstream::check(*answer) : Status(answer.error());
                   if (!status) return self->failed(status.error());
                   self->established_ = true;
                   self->last_error_.reset();
                   self->last_heard_ = std::chrono::steady_clock::now();
                 });
}

void NatsWatch::failed(const Error& reason) {
  established_ = false;
  retry_at_ = std::chrono::steady_clock::now() + wire_->options().watch_retry;
  if (last_error_ == reason) return;
  last_error_ = reason;
  events_.on_failed(reason);
}

void NatsWatch::arrived(NatsMessage message) {
  if (!running_) return;
  last_heard_ = std::chrono::steady_clock::now();
  if (message.status == 100) {
    const std::string* last = message.header("Nats-Last-Consumer");
    if (last && *last != std::to_string(consumer_sequence_)) restart();
    return;
  }
  const auto delivery = jetstream::parse_delivery(message.reply);
  if (!delivery || delivery->consumer_sequence != consumer_sequence_ + 1) return restart();
  consumer_sequence_ = delivery->consumer_sequence;
  jetstream::Entry entry;
  entry.revision = delivery->stream_sequence;
  if (!jetstream::is_delete_marker(message)) entry.json = std::move(message.body);
  events_.on_entry(std::move(message.subject), std::move(entry));
}

void NatsWatch::tick(SteadyTime now) {
  if (!running_) return;
  const bool silent = established_ && now - last_heard_ > 3 * wire_->options().heartbeat;
  if (silent || (retry_at_ && now >= *retry_at_)) restart();
}

}  // namespace decklog::uplink
