#include "services/uplink/nats_session.hpp"

#include <charconv>

#include "services/uplink/names.hpp"

namespace decklog::uplink {
namespace {

constexpr std::uint64_t kTelemetryTokens = 1;
constexpr std::uint64_t kEventTokens = std::uint64_t{1} << 63;

}  // namespace

NatsSession::NatsSession(boost::asio::any_io_executor executor, NatsOptions options)
    : executor_(executor),
      options_(std::move(options)),
      mailbox_(std::make_shared<Mailbox>(executor)),
      timer_(executor),
      telemetry_(
          std::make_shared<NatsPublisher>(executor, mailbox_, options_.request_timeout, kTelemetryTokens)),
      events_(std::make_shared<NatsPublisher>(executor, mailbox_, options_.request_timeout, kEventTokens)) {}

NatsSession::~NatsSession() = default;

void NatsSession::shut() {
  mailbox_->close();
  listener = {};
  drop_session(error(Errc::kClosed, "the uplink was closed"));
}

void NatsSession::connect() {
  if (wire_) return;  // one attempt at a time; a connected uplink stays as it is
  wire_ = std::make_shared<NatsWire>(executor_, mailbox_, worker_, options_);
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  NatsWire::Events events;
  events.on_ready = [weak] {
    if (auto self = weak.lock()) self->ready();
  };
  events.on_end = [weak](LinkChange change, LinkCause cause, const std::string& detail) {
    if (auto self = weak.lock()) self->ended(change, cause, detail);
  };
  events.on_publish_reply = [weak](std::uint64_t token, NatsMessage reply) {
    auto self = weak.lock();
    if (!self) return;
    if (token >= kEventTokens) {
      self->events_->on_reply(token, reply);
    } else {
      self->telemetry_->on_reply(token, reply);
    }
  };
  events.on_denied = [weak](const std::string& subject, const std::string& detail) {
    auto self = weak.lock();
    if (!self) return;
    self->telemetry_->on_denied(subject, detail);
    self->events_->on_denied(subject, detail);
    for (const TwinKey& key : std::set<TwinKey>(self->methods_)) {
      if (method_filter(key) == subject)
        self->watch_failed(subject, error(Errc::kPermissionDenied, detail, subject));
    }
  };
  wire_->open(std::move(events));
}

void NatsSession::ready() {
  subscribing_ = true;
  for (const TwinKey& key : methods_) start_methods(key);
  // Connected is said when the subscriptions before it are known to the server: a method called then arrives.
  wire_->ping(options_.connect_timeout,
              [weak = weak_from_this(), wire = std::weak_ptr(wire_)](Result<void> answer) {
                auto self = weak.lock();
                if (!self || !self->wire_ || wire.lock() != self->wire_) return;
                if (!answer)
                  return self->ended(LinkChange::kFailed, LinkCause::kTimeout, answer.error().message);
                self->announce();
              });
}

void NatsSession::announce() {
  connected_ = true;
  telemetry_->attach(wire_);
  events_->attach(wire_);
  for (auto& [device, watch] : twins_) start_twin_watch(device);
  for (auto& [device, watches] : identities_) start_identity_watches(device);
  for (auto& [device, inbox] : clouds_) start_cloud_inbox(device);
  tick();
  if (listener.on_link) listener.on_link({LinkChange::kConnected, LinkCause::kNone, {}});
}

void NatsSession::ended(LinkChange change, LinkCause cause, const std::string& detail) {
  // Lost before it was ever ready is a failed attempt.
  const bool was_connected = connected_;
  drop_session(error(Errc::kUnavailable, "the link is gone: " + detail));
  const bool refused = cause == LinkCause::kAuth || cause == LinkCause::kPermission;
  if (!was_connected && change == LinkChange::kLost)
    change = refused ? LinkChange::kRefused : LinkChange::kFailed;
  if (listener.on_link) listener.on_link({change, cause, detail});
}

void NatsSession::drop_session(const Error& reason) {
  connected_ = subscribing_ = false;
  timer_.cancel();
  telemetry_->detach(reason);
  events_->detach(reason);
  for (auto& [device, watch] : twins_) {
    if (watch.watch) watch.watch->stop();
    watch.watch.reset();
    watch.delivered.clear();
  }
  for (auto& [device, watches] : identities_) {
    for (auto& watch : watches) watch->stop();
    watches.clear();
  }
  for (auto& [device, inbox] : clouds_) {
    if (inbox) inbox->stop();
    inbox.reset();
  }
  calls_.clear();
  if (const auto wire = std::exchange(wire_, nullptr)) wire->close(reason);
}

void NatsSession::disconnect() {
  if (!wire_) return;
  const bool was_connected = connected_;
  drop_session(error(Errc::kUnavailable, "disconnected on request"));
  if (was_connected) say(LinkChange::kLost, LinkCause::kRequested, "disconnected on request");
}

void NatsSession::say(LinkChange change, LinkCause cause, std::string detail) {
  mailbox_->post([weak = weak_from_this(), event = LinkEvent{change, cause, std::move(detail)}] {
    if (auto self = weak.lock(); self && self->listener.on_link) self->listener.on_link(event);
  });
}

void NatsSession::ping(Duration timeout, Callback<void> done) {
  if (!unavailable(done)) wire_->ping(timeout, std::move(done));
}

void NatsSession::watch_desired(const TwinKey& key) {
  DeviceWatch& watch = twins_[key.device];
  if (!watch.modules.insert(key.module).second || !connected_) return;
  if (!watch.watch) return start_twin_watch(key.device);
  // The device's watch runs already and has shown this document before anybody asked for it.
  get_twin(key, TwinPart::kDesired, [weak = weak_from_this(), key](Result<TwinValue> value) {
    auto self = weak.lock();
    if (!self || !value || value->revision == 0) return;
    self->desired_arrived(twin_subject(key, TwinPart::kDesired), {value->json, value->revision});
  });
}

void NatsSession::start_twin_watch(const std::string& device) {
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  NatsWatch::Events events;
  events.on_entry = [weak](std::string subject, jetstream::Entry entry) {
    if (auto self = weak.lock()) self->desired_arrived(subject, std::move(entry));
  };
  events.on_restart = [weak, device] {
    // A bucket made anew counts its revisions from the start.
    if (auto self = weak.lock()) self->twins_[device].delivered.clear();
  };
  events.on_failed = [weak, device](const Error& reason) {
    if (auto self = weak.lock()) self->watch_failed("desired/" + device, reason);
  };
  auto watch = std::make_shared<NatsWatch>(wire_, kTwinsStream, desired_filter(device), std::move(events));
  twins_[device].watch = watch;
  watch->start();
}

void NatsSession::desired_arrived(const std::string& subject, jetstream::Entry entry) {
  const auto key = key_of_twin_subject(subject);
  if (!key) return;
  const auto found = twins_.find(key->device);
  if (found == twins_.end() || !found->second.modules.contains(key->module)) return;
  std::uint64_t& delivered = found->second.delivered[key->module];
  if (entry.revision <= delivered) return;
  delivered = entry.revision;
  if (listener.on_desired) listener.on_desired(*key, {std::move(entry.json), entry.revision});
}

void NatsSession::watch_identities(const std::string& device) {
  const auto [entry, fresh] = identities_.try_emplace(device);
  if (fresh && connected_) start_identity_watches(device);
}

void NatsSession::start_identity_watches(const std::string& device) {
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  const std::string own = identity_subject({device, {}});
  for (const std::string& filter : {own, own + ".*"}) {
    NatsWatch::Events events;
    events.on_entry = [weak](std::string subject, jetstream::Entry entry) {
      auto self = weak.lock();
      const auto key = key_of_identity_subject(subject);
      if (self && key && self->listener.on_identity) self->listener.on_identity(*key, entry.json);
    };
    events.on_failed = [weak, device](const Error& reason) {
      if (auto self = weak.lock()) self->watch_failed("identities/" + device, reason);
    };
    auto watch = std::make_shared<NatsWatch>(wire_, kIdentitiesStream, filter, std::move(events));
    identities_[device].push_back(watch);
    watch->start();
  }
}

void NatsSession::accept_cloud_messages(const std::string& device) {
  const auto [entry, fresh] = clouds_.try_emplace(device);
  if (fresh && connected_) start_cloud_inbox(device);
}

void NatsSession::start_cloud_inbox(const std::string& device) {
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  NatsCloudInbox::Events events;
  events.next_tag = [weak] {
    auto self = weak.lock();
    return self ? ++self->last_tag_ : 0;
  };
  events.on_message = [weak](CloudMessage message) {
    auto self = weak.lock();
    if (self && self->listener.on_cloud_message) self->listener.on_cloud_message(message);
  };
  events.on_failed = [weak, device](const Error& reason) {
    if (auto self = weak.lock()) self->watch_failed("c2d/" + device, reason);
  };
  auto inbox = std::make_shared<NatsCloudInbox>(wire_, device, std::move(events));
  clouds_[device] = inbox;
  inbox->start();
}

void NatsSession::settle(std::uint64_t delivery_tag, Settle how) {
  for (auto& [device, inbox] : clouds_) {
    if (inbox && inbox->settle(delivery_tag, how)) return;
  }
}

void NatsSession::accept_methods(const TwinKey& key) {
  // While connecting, too: ready() may have passed already.
  if (methods_.insert(key).second && subscribing_) start_methods(key);
}

void NatsSession::start_methods(const TwinKey& key) {
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  const std::string filter = method_filter(key);
  wire_->subscribe(
      filter,
      [weak, key](NatsMessage message) {
        if (auto self = weak.lock()) self->method_arrived(key, std::move(message));
      },
      [weak, filter](Error reason) {
        if (auto self = weak.lock()) self->watch_failed(filter, reason);
      });
}

void NatsSession::method_arrived(const TwinKey& key, NatsMessage message) {
  const auto name = unescape_token(std::string_view(message.subject).substr(message.subject.rfind('.') + 1));
  if (!name || message.reply.empty()) return;
  if (calls_.size() >= kMaxMethodCalls || !listener.on_method) {
    return reply_to(message.reply, {429, R"({"message":"too many calls are waiting"})"});
  }
  MethodCall call;
  call.device = key.device;
  call.module = key.module;
  call.name = *name;
  call.payload = message.body.empty() ? "null" : std::move(message.body);
  call.timeout = kMethodTimeout;
  if (const std::string* timeout = message.header("Decklog-Timeout-Ms")) {
    std::int64_t ms = 0;
    const auto [end, failure] = std::from_chars(timeout->data(), timeout->data() + timeout->size(), ms);
    if (failure == std::errc() && ms > 0 && ms <= 600000) call.timeout = std::chrono::milliseconds(ms);
  }
  call.call_tag = ++last_tag_;
  calls_[call.call_tag] = {message.reply, std::chrono::steady_clock::now() + call.timeout};
  listener.on_method(call);
}

}  // namespace decklog::uplink
