#include "services/uplink/nats_publisher.hpp"

namespace decklog::uplink {
namespace {

std::size_t size_of(const NatsMessage& message) {
  std::size_t size = message.subject.size() + message.body.size() + 64;
  for (const auto& [name, value] : message.headers) size += name.size() + value.size() + 4;
  return size;
}

}  // namespace

NatsPublisher::NatsPublisher(boost::asio::any_io_executor executor, std::shared_ptr<Mailbox> mailbox,
                             Duration ack_timeout, std::uint64_t first_token)
    : mailbox_(std::move(mailbox)),
      ack_timeout_(ack_timeout),
      timer_(executor),
      first_token_(first_token),
      base_(first_token) {}

void NatsPublisher::submit(std::vector<NatsMessage> batch, Callback<std::size_t> done) {
  if (batch.empty()) {
    mailbox_->post([done = std::move(done)] { done(std::size_t{0}); });
    return;
  }
  if (!wire_ || waiting_.size() >= kMaxBatches) {
    const Error reason = error(Errc::kUnavailable, wire_ ? "too many batches are waiting" : "not connected");
    mailbox_->post([done = std::move(done), reason] { done(reason); });
    return;
  }
  Batch next;
  for (const NatsMessage& message : batch) {
    next.subjects.push_back(message.subject);
    next.sizes.push_back(size_of(message));
  }
  next.answered.resize(batch.size());
  next.acknowledged.resize(batch.size());
  next.messages = std::move(batch);
  next.done = std::move(done);
  waiting_.push_back(std::move(next));
  if (!active_) pump();
}

void NatsPublisher::pump() {
  if (!active_) {
    if (waiting_.empty() || !wire_) return;
    active_ = std::move(waiting_.front());
    waiting_.pop_front();
    arm();
  }
  Batch& batch = *active_;
  // Refilled in halves: one hand-over to the worker for many messages.
  if (batch.failure || batch.outstanding > kWindowMessages / 2) return;
  std::vector<NatsMessage> chunk;
  const std::size_t first = batch.sent;
  while (batch.sent < batch.messages.size() && batch.outstanding < kWindowMessages &&
         (batch.outstanding == 0 || batch.outstanding_bytes + batch.sizes[batch.sent] <= kWindowBytes)) {
    NatsMessage& message = batch.messages[batch.sent];
    message.reply = wire_->publish_reply_subject(base_ + batch.sent);
    batch.outstanding_bytes += batch.sizes[batch.sent];
    ++batch.outstanding;
    ++batch.sent;
    chunk.push_back(std::move(message));
  }
  if (chunk.empty()) return;
  const std::size_t count = chunk.size();
  wire_->send(std::move(chunk),
              [weak = weak_from_this(), base = base_, first, count](std::size_t index, Error reason) {
                auto self = weak.lock();
                if (!self || !self->active_ || self->base_ != base) return;
                // The worker stops at the first failure: none of the rest of the chunk was sent.
                for (std::size_t i = index; i < count && self->active_ && self->base_ == base; ++i)
                  self->answer(first + i, reason);
              });
}

bool NatsPublisher::on_reply(std::uint64_t token, const NatsMessage& reply) {
  if (token < first_token_ || token - first_token_ > (std::uint64_t{1} << 62)) return false;
  // A late answer for a batch that already ended is of no use: its messages go again and are recognised.
  if (active_ && token >= base_ && token - base_ < active_->sent)
    answer(token - base_, jetstream::parse_ack(reply));
  return true;
}

void NatsPublisher::on_denied(const std::string& subject, const std::string& detail) {
  if (!active_) return;
  const auto keep = shared_from_this();
  const std::uint64_t base = base_;
  for (std::size_t i = 0; active_ && base_ == base && i < active_->sent; ++i) {
    if (!active_->answered[i] && active_->subjects[i] == subject) {
      answer(i, error(Errc::kPermissionDenied, detail, subject));
    }
  }
}

void NatsPublisher::answer(std::size_t index, Result<jetstream::PubAck> result) {
  Batch& batch = *active_;
  if (batch.answered[index]) return;
  batch.answered[index] = true;
  --batch.outstanding;
  batch.outstanding_bytes -= batch.sizes[index];
  if (result) {
    batch.acknowledged[index] = true;
    last_acknowledged_ = std::max(last_acknowledged_, result->sequence);
    while (batch.front < batch.acknowledged.size() && batch.acknowledged[batch.front]) ++batch.front;
  } else if (!batch.failure) {
    batch.failure = result.error();
  }
  progressed_ = true;
  maybe_finish();
}

void NatsPublisher::maybe_finish() {
  Batch& batch = *active_;
  if (batch.front == batch.answered.size() || (batch.failure && batch.outstanding == 0)) return finish();
  pump();
}

void NatsPublisher::finish() {
  timer_.cancel();
  Batch batch = std::move(*active_);
  active_.reset();
  base_ += batch.answered.size();
  mailbox_->post([weak = weak_from_this()] {
    if (auto self = weak.lock(); self && !self->active_) self->pump();
  });
  if (batch.front > 0) return batch.done(batch.front);
  batch.done(batch.failure ? *batch.failure
                           : error(Errc::kTimeout, "the fleet acknowledged nothing in time"));
}

void NatsPublisher::detach(const Error& reason) {
  wire_.reset();
  timer_.cancel();
  std::deque<Batch> ended = std::move(waiting_);
  waiting_.clear();
  if (active_) {
    base_ += active_->answered.size();
    ended.push_front(std::move(*active_));
    active_.reset();
  }
  for (Batch& batch : ended) {
    mailbox_->post([done = std::move(batch.done), front = batch.front, reason] {
      if (front > 0) return done(front);
      done(reason);
    });
  }
}

void NatsPublisher::arm() {
  progressed_ = false;
  timer_.expires_after(ack_timeout_);
  timer_.async_wait([weak = weak_from_this(), base = base_](boost::system::error_code failure) {
    auto self = weak.lock();
    if (failure || !self || !self->active_ || self->base_ != base) return;
    // No answer for a whole period: what is acknowledged counts, the rest goes again.
    return self->progressed_ ? self->arm() : self->finish();
  });
}

}  // namespace decklog::uplink
