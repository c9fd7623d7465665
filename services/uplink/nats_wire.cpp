#include "services/uplink/nats_wire.hpp"

#include <charconv>
#include <random>

#include "services/uplink/names.hpp"

namespace decklog::uplink {
namespace {

std::string random_token() {
  std::random_device source;
  std::string out;
  for (int i = 0; i < 4; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    for (std::uint32_t bits = source(), n = 0; n < 8; ++n, bits >>= 4) out += kDigits[bits & 15];
  }
  return out;
}

}  // namespace

NatsWire::NatsWire(boost::asio::any_io_executor executor, std::shared_ptr<Mailbox> mailbox, Worker& worker,
                   NatsOptions options)
    : executor_(executor),
      mailbox_(std::move(mailbox)),
      worker_(worker),
      options_(std::move(options)),
      inbox_(inbox_prefix(options_.device) + '.' + random_token()),
      timer_(executor) {}

void NatsWire::open(Events events) {
  events_ = std::move(events);
  const std::weak_ptr<NatsWire> weak = weak_from_this();
  NatsConnection::Events link;
  link.on_closed = [weak, mailbox = mailbox_](LinkCause cause, const std::string& detail) {
    mailbox->post([weak, cause, detail] {
      if (auto self = weak.lock()) self->end(LinkChange::kLost, cause, detail);
    });
  };
  link.on_denied = [weak, mailbox = mailbox_](const std::string& subject, const std::string& detail) {
    mailbox->post([weak, subject, detail] {
      if (auto self = weak.lock()) self->denied(subject, detail);
    });
  };
  auto job = [weak, link, mailbox = mailbox_, options = options_, inbox = inbox_ + ".r.*",
              replies = inbound_handler(0)] {
    auto result = NatsConnection::open(options, link);
    if (result.connection) {
      // Cannot fail on a fresh connection except by its closing, which on_closed reports.
      (void)result.connection->subscribe(inbox, replies);
    }
    mailbox->post([weak, result] {
      if (auto self = weak.lock()) self->opened(result);
    });
  };
  if (!worker_.run(std::move(job))) {
    mailbox_->post([weak] {
      if (auto self = weak.lock())
        self->end(LinkChange::kFailed, LinkCause::kIo, "the worker's queue is full");
    });
  }
}

void NatsWire::opened(NatsConnection::Opened result) {
  if (ended_) return;
  if (!result.connection) {
    const bool refused = result.cause == LinkCause::kAuth || result.cause == LinkCause::kPermission;
    return end(refused ? LinkChange::kRefused : LinkChange::kFailed, result.cause, result.detail);
  }
  connection_ = std::move(result.connection);
  // Connected is what works in both directions; this also finds credentials that may not use their own inbox.
  ping(options_.connect_timeout, [weak = weak_from_this()](Result<void> answer) {
    auto self = weak.lock();
    if (!self || self->ended_) return;
    if (answer) return self->events_.on_ready();
    const Errc code = answer.error().code;
    if (code == Errc::kPermissionDenied) {
      return self->end(LinkChange::kRefused, LinkCause::kPermission, answer.error().message);
    }
    self->end(LinkChange::kFailed, code == Errc::kTimeout ? LinkCause::kTimeout : LinkCause::kClosed,
              answer.error().message);
  });
}

void NatsWire::end(LinkChange change, LinkCause cause, const std::string& detail) {
  if (ended_) return;
  const auto keep = shared_from_this();
  auto on_end = events_.on_end;
  close(error(Errc::kUnavailable, "the link is gone: " + detail));
  on_end(change, cause, detail);
}

void NatsWire::close(const Error& reason) {
  if (ended_) return;
  ended_ = true;
  timer_.cancel();
  subscriptions_.clear();
  fail_pending(reason);
  // If the queue is full the destructor of the last reference closes instead.
  if (connection_) (void)worker_.run([connection = std::move(connection_)] { connection->close(); });
  connection_.reset();
}

void NatsWire::fail_pending(const Error& reason) {
  for (auto& [token, request] : requests_) {
    mailbox_->post([done = std::move(request.done), reason] { done(reason); });
  }
  requests_.clear();
  deadlines_.clear();
}

void NatsWire::request(NatsMessage message, Duration timeout, Callback<NatsMessage> done) {
  if (ended_ || !connection_ || requests_.size() >= kMaxRequests) {
    const Error reason = ended_ || !connection_
                             ? error(Errc::kUnavailable, "not connected")
                             : error(Errc::kUnavailable, "too many requests are in flight");
    mailbox_->post([done = std::move(done), reason] { done(reason); });
    return;
  }
  const std::uint64_t token = ++last_token_;
  message.reply = inbox_ + ".r.R" + std::to_string(token);
  const auto deadline = deadlines_.emplace(std::chrono::steady_clock::now() + timeout, token);
  requests_[token] = {message.subject, std::move(done), deadline};
  if (deadline == deadlines_.begin()) arm();
  std::vector<NatsMessage> one;
  one.push_back(std::move(message));
  send(std::move(one), [weak = weak_from_this(), token](std::size_t, Error reason) {
    if (auto self = weak.lock()) self->finish_request(token, std::move(reason));
  });
}

void NatsWire::ping(Duration timeout, Callback<void> done) {
  NatsMessage message;
  message.subject = inbox_ + ".r.R" + std::to_string(last_token_ + 1);  // its own reply subject
  request(std::move(message), timeout, [done = std::move(done)](Result<NatsMessage> answer) {
    if (answer) return done(Result<void>());
    done(answer.error());
  });
}

void NatsWire::send(std::vector<NatsMessage> messages, std::function<void(std::size_t, Error)> failed) {
  if (!connection_) return;
  auto job = [connection = connection_, mailbox = mailbox_, messages = std::move(messages), failed] {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      auto sent = connection->publish(messages[i]);
      if (sent) continue;
      if (failed) mailbox->post([failed, i, reason = sent.error()] { failed(i, reason); });
      return;
    }
  };
  if (!worker_.run(std::move(job)) && failed) {
    mailbox_->post([failed] { failed(0, error(Errc::kUnavailable, "the worker's queue is full")); });
  }
}

std::string NatsWire::publish_reply_subject(std::uint64_t token) const {
  return inbox_ + ".r.P" + std::to_string(token);
}

std::uint64_t NatsWire::subscribe(const std::string& subject, Handler handler,
                                  std::function<void(Error)> failed) {
  const std::uint64_t handle = ++last_token_;
  auto id = std::make_shared<std::uint64_t>(0);
  subscriptions_[handle] = {std::move(handler), id};
  if (!connection_) return handle;
  auto job = [connection = connection_, mailbox = mailbox_, subject, id, failed,
              arrived = inbound_handler(handle)] {
    auto result = connection->subscribe(subject, arrived);
    if (result) {
      *id = *result;
    } else if (failed) {
      mailbox->post([failed, reason = result.error()] { failed(reason); });
    }
  };
  if (!worker_.run(std::move(job)) && failed) {
    mailbox_->post([failed] { failed(error(Errc::kUnavailable, "the worker's queue is full")); });
  }
  return handle;
}

void NatsWire::unsubscribe(std::uint64_t handle) {
  const auto found = subscriptions_.find(handle);
  if (found == subscriptions_.end()) return;
  if (connection_) {
    (void)worker_.run([connection = connection_, id = found->second.id] { connection->unsubscribe(*id); });
  }
  subscriptions_.erase(found);
}

NatsConnection::Handler NatsWire::inbound_handler(std::uint64_t subscription) {
  return
      [weak = weak_from_this(), mailbox = mailbox_, inbound = inbound_, subscription](NatsMessage message) {
        const std::lock_guard lock(inbound->mutex);
        inbound->bytes += message.body.size() + message.subject.size() + 256;
        inbound->items.push_back({subscription, std::move(message)});
        if (std::exchange(inbound->posted, true)) return;
        mailbox->post([weak] {
          if (auto self = weak.lock()) self->drain_inbound();
        });
      };
}

void NatsWire::drain_inbound() {
  std::vector<Inbound::Item> batch;
  std::size_t bytes = 0;
  {
    const std::lock_guard lock(inbound_->mutex);
    batch.swap(inbound_->items);
    bytes = std::exchange(inbound_->bytes, 0);
    inbound_->posted = false;
  }
  if (bytes > kMaxInboundBytes) {
    return end(LinkChange::kLost, LinkCause::kProtocol, "more arrived at once than the service can take");
  }
  for (auto& item : batch) {
    if (ended_) return;
    if (item.subscription == 0) {
      dispatch_reply(std::move(item.message));
      continue;
    }
    const auto found = subscriptions_.find(item.subscription);
    if (found == subscriptions_.end()) continue;
    const Handler handler = found->second.handler;  // it may unsubscribe itself
    handler(std::move(item.message));
  }
}

void NatsWire::dispatch_reply(NatsMessage message) {
  const std::size_t dot = message.subject.rfind('.');
  if (dot == std::string::npos || dot + 2 > message.subject.size()) return;
  const char kind = message.subject[dot + 1];
  std::uint64_t token = 0;
  const char* begin = message.subject.data() + dot + 2;
  const char* end = message.subject.data() + message.subject.size();
  const auto [last, failure] = std::from_chars(begin, end, token);
  if (failure != std::errc() || last != end) return;
  if (kind == 'R') finish_request(token, std::move(message));
  if (kind == 'P') events_.on_publish_reply(token, std::move(message));
}

void NatsWire::finish_request(std::uint64_t token, Result<NatsMessage> result) {
  const auto found = requests_.find(token);
  if (found == requests_.end()) return;
  auto done = std::move(found->second.done);
  deadlines_.erase(found->second.deadline);
  requests_.erase(found);
  done(std::move(result));
}

void NatsWire::denied(const std::string& subject, const std::string& detail) {
  if (ended_) return;
  const bool inbox = subject.starts_with(inbox_);
  std::vector<std::uint64_t> tokens;
  for (const auto& [token, request] : requests_) {
    if (inbox || request.subject == subject) tokens.push_back(token);
  }
  for (const std::uint64_t token : tokens)
    finish_request(token, error(Errc::kPermissionDenied, detail, subject));
  if (!ended_) events_.on_denied(subject, detail);
}

void NatsWire::arm() {
  if (deadlines_.empty()) return;
  timer_.expires_at(deadlines_.begin()->first);
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code failure) {
    auto self = weak.lock();
    if (failure || !self || self->ended_) return;
    const auto now = std::chrono::steady_clock::now();
    while (!self->deadlines_.empty() && self->deadlines_.begin()->first <= now) {
      const std::uint64_t token = self->deadlines_.begin()->second;
      self->finish_request(token, error(Errc::kTimeout, "the fleet did not answer in time"));
    }
    self->arm();
  });
}

}  // namespace decklog::uplink
