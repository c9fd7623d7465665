// The other half of NatsSession: documents, publishing, answers and the once-a-second look at what waits.
#include "services/uplink/nats_session.hpp"

namespace decklog::uplink {
namespace {

constexpr const char* kMessageId = "Nats-Msg-Id";
constexpr const char* kExpectedRevision = "Nats-Expected-Last-Subject-Sequence";
constexpr Duration kTick = std::chrono::seconds(1);

template <class T>
void refuse(const std::shared_ptr<Mailbox>& mailbox, Callback<T> done, Error reason) {
  mailbox->post([done = std::move(done), reason = std::move(reason)] { done(reason); });
}

}  // namespace

// A direct read of a bucket that is not there gets no answer at all. What the silence means is asked through
// something a device may also do with its own keys only: a consumer, which the server drops again by itself.
void NatsSession::get_last(const std::string& stream, const std::string& subject,
                           Callback<jetstream::Entry> done) {
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  wire_->request(jetstream::get_last(stream, subject), options_.request_timeout,
                 [weak, stream, subject, done = std::move(done)](Result<NatsMessage> answer) mutable {
                   if (answer) return done(jetstream::parse_entry(*answer));
                   auto self = weak.lock();
                   const Error reason = answer.error();
                   if (!self || !self->wire_ || reason.code != Errc::kTimeout) return done(reason);
                   jetstream::Consumer probe;
                   probe.stream = stream;
                   probe.name = "probe_" + escape_token(self->options_.device);
                   probe.filter = subject;
                   probe.explicit_ack = true;
                   self->wire_->request(
                       jetstream::create_consumer(probe), self->options_.request_timeout,
                       [done = std::move(done), reason](Result<NatsMessage> found) {
                         const Status exists = found ? jetstream::check(*found) : Status(reason);
                         const bool missing = !exists && exists.error().code == Errc::kNotFound;
                         done(missing ? exists.error() : reason);
                       });
                 });
}

void NatsSession::get_twin(const TwinKey& key, TwinPart part, Callback<TwinValue> done) {
  if (const Status valid = check_key(key); !valid) return refuse(mailbox_, std::move(done), valid.error());
  if (unavailable(done)) return;
  get_last(kTwinsStream, twin_subject(key, part), [done = std::move(done)](Result<jetstream::Entry> entry) {
    if (!entry) return done(entry.error());
    // A deleted document does not exist; its marker's revision is put()'s own business.
    if (entry->json.empty()) return done(TwinValue{});
    done(TwinValue{std::move(entry->json), entry->revision});
  });
}

void NatsSession::put_reported(const TwinKey& key, const std::string& json,
                               std::optional<std::uint64_t> expected, Callback<std::uint64_t> done) {
  if (const Status valid = check_key(key); !valid) return refuse(mailbox_, std::move(done), valid.error());
  if (unavailable(done)) return;
  NatsMessage message;
  message.subject = twin_subject(key, TwinPart::kReported);
  message.body = json;
  if (expected) message.headers.emplace_back(kExpectedRevision, std::to_string(*expected));
  put(std::move(message), expected == 0, std::move(done));
}

void NatsSession::put(NatsMessage message, bool retry_over_marker, Callback<std::uint64_t> done) {
  const std::weak_ptr<NatsSession> weak = weak_from_this();
  wire_->request(
      message, options_.request_timeout,
      [weak, message, retry_over_marker, done = std::move(done)](Result<NatsMessage> answer) mutable {
        if (!answer) return done(answer.error());
        const auto ack = jetstream::parse_ack(*answer);
        if (ack) return done(ack->sequence);
        auto self = weak.lock();
        if (ack.error().code != Errc::kConflict || !retry_over_marker || !self || !self->wire_) {
          return done(ack.error());
        }
        // "Must not exist" also holds for a deleted document, whose marker has a revision of its own.
        self->wire_->request(
            jetstream::get_last(kTwinsStream, message.subject), self->options_.request_timeout,
            [weak, message, done = std::move(done),
             conflict = ack.error()](Result<NatsMessage> last) mutable {
              auto again = weak.lock();
              const auto entry =
                  last ? jetstream::parse_entry(*last) : Result<jetstream::Entry>(last.error());
              if (!again || !again->wire_ || !entry || !entry->json.empty()) return done(conflict);
              message.headers.clear();
              message.headers.emplace_back(kExpectedRevision, std::to_string(entry->revision));
              again->put(std::move(message), false, std::move(done));
            });
      });
}

void NatsSession::get_identity(const TwinKey& key, Callback<std::string> done) {
  if (const Status valid = check_key(key); !valid) return refuse(mailbox_, std::move(done), valid.error());
  if (unavailable(done)) return;
  get_last(kIdentitiesStream, identity_subject(key),
           [done = std::move(done)](Result<jetstream::Entry> entry) {
             if (!entry) return done(entry.error());
             if (entry->json.empty())
               return done(error(Errc::kNotFound, "the fleet does not know this identity"));
             done(std::move(entry->json));
           });
}

void NatsSession::publish(std::vector<Telemetry> batch, Callback<std::size_t> done) {
  std::vector<NatsMessage> messages;
  messages.reserve(batch.size());
  for (Telemetry& item : batch) {
    NatsMessage message;
    message.subject = telemetry_subject(item);
    message.headers.emplace_back(kMessageId, telemetry_id(options_.device, item.epoch, item.sequence));
    message.headers.emplace_back("Decklog-Enqueued", to_rfc3339(item.enqueued));
    add_properties(message, item.properties);
    message.body = std::move(item.body);
    messages.push_back(std::move(message));
  }
  telemetry_->submit(std::move(messages), std::move(done));
}

void NatsSession::mirror(std::vector<Uplink::MirroredEvent> events, Callback<std::size_t> done) {
  std::vector<NatsMessage> messages;
  messages.reserve(events.size());
  for (Uplink::MirroredEvent& event : events) {
    NatsMessage message;
    message.subject = events_subject(options_.device, event.service);
    message.headers.emplace_back(kMessageId, event_id(options_.device, event));
    message.body = std::move(event.json);
    messages.push_back(std::move(message));
  }
  events_->submit(std::move(messages), std::move(done));
}

void NatsSession::checkpoint(Callback<std::string> done) {
  if (unavailable(done)) return;
  wire_->request(jetstream::stream_info(kTelemetryStream), options_.request_timeout,
                 [weak = weak_from_this(), done = std::move(done)](Result<NatsMessage> answer) {
                   auto self = weak.lock();
                   if (!self) return;
                   if (!answer) return done(answer.error());
                   const auto info = jetstream::parse_stream_info(*answer);
                   if (!info) return done(info.error());
                   if (info->created != self->stream_created_) {
                     self->stream_created_ = info->created;
                     self->regressions_ = 0;
                     self->telemetry_->forget_acknowledged();
                   } else if (info->last_sequence < self->telemetry_->last_acknowledged()) {
                     // Same stream, shorter than what it acknowledged: its server lost what it had not
                     // synced.
                     ++self->regressions_;
                     self->telemetry_->forget_acknowledged();
                   }
                   std::string identity = std::string(kTelemetryStream) + '@' + info->created;
                   if (self->regressions_ > 0) identity += '/' + std::to_string(self->regressions_);
                   done(std::move(identity));
                 });
}

void NatsSession::reply_to(const std::string& reply, const MethodAnswer& answer) {
  NatsMessage message;
  message.subject = reply;
  message.body = "{\"status\":" + std::to_string(answer.status) +
                 ",\"payload\":" + (answer.payload.empty() ? "null" : answer.payload) + "}";
  std::vector<NatsMessage> one;
  one.push_back(std::move(message));
  if (wire_) wire_->send(std::move(one));
}

void NatsSession::answer_method(std::uint64_t call_tag, const MethodAnswer& answer) {
  const auto found = calls_.find(call_tag);
  if (found == calls_.end()) return;  // its caller gave up, or asked over a connection that is gone
  const std::string reply = std::move(found->second.reply);
  calls_.erase(found);
  reply_to(reply, answer);
}

void NatsSession::watch_failed(const std::string& what, const Error& reason) {
  if (listener.on_watch_failed) listener.on_watch_failed(what, reason);
}

void NatsSession::tick() {
  timer_.expires_after(kTick);
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code failure) {
    auto self = weak.lock();
    if (failure || !self || !self->connected_) return;
    const SteadyTime now = std::chrono::steady_clock::now();
    std::vector<std::string> late;
    std::erase_if(self->calls_, [&](auto& entry) {
      if (now < entry.second.until) return false;
      late.push_back(entry.second.reply);
      return true;
    });
    for (const std::string& reply : late) self->reply_to(reply, {504, R"({"message":"no answer in time"})"});
    // Copies: a watch that reports may make its listener add or drop others.
    std::vector<std::shared_ptr<NatsWatch>> watches;
    for (auto& [device, watch] : self->twins_) watches.push_back(watch.watch);
    for (auto& [device, list] : self->identities_) watches.insert(watches.end(), list.begin(), list.end());
    std::vector<std::shared_ptr<NatsCloudInbox>> inboxes;
    for (auto& [device, inbox] : self->clouds_) inboxes.push_back(inbox);
    for (const auto& watch : watches) {
      if (watch) watch->tick(now);
    }
    for (const auto& inbox : inboxes) {
      if (inbox) inbox->tick(now);
    }
    if (self->connected_) self->tick();
  });
}

}  // namespace decklog::uplink
