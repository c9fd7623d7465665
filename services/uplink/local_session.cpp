#include "services/uplink/local_session.hpp"

#include "services/uplink/names.hpp"

namespace decklog::uplink {
namespace {

constexpr std::size_t kLinesAtOnce = 256;  // between two looks at the link
constexpr Duration kTick = std::chrono::seconds(1);
constexpr Duration kCloudRetry = std::chrono::seconds(2);  // after Settle::kRetry

}  // namespace

void LocalSession::shut() {
  mailbox_->close();
  listener = {};
  drop();
}

void LocalSession::connect() {
  if (connecting_ || connected_) return;
  connecting_ = true;
  const std::uint64_t attempt = ++generation_;
  // Made once; a root that disappears later is a lost link, not something to paper over.
  auto work = [create = !created_](LocalStore& store) -> Result<int> {
    if (create) {
      if (Status made = store.create(); !made) return made.error();
    }
    if (Status link = store.check_link(); !link) return link.error();
    return 0;
  };
  job<int>(work, [this, attempt](Result<int> result) {
    if (attempt != generation_ || !connecting_) return;
    connecting_ = false;
    if (!result) return say({LinkChange::kFailed, cause_of(result.error()), describe(result.error())});
    created_ = true;
    connected_ = true;
    begin();
    say({LinkChange::kConnected, LinkCause::kNone, {}});
  });
}

void LocalSession::disconnect() {
  connecting_ = false;
  ++generation_;
  if (!connected_) return;
  drop();
  mailbox_->post([weak = weak_from_this()] {
    if (auto self = weak.lock())
      self->say({LinkChange::kLost, LinkCause::kRequested, "disconnected on request"});
  });
}

void LocalSession::watch_desired(const TwinKey& key) {
  if (interest_.desired.try_emplace(key, 0).second) rescan();
}

void LocalSession::watch_identities(const std::string& device) {
  if (interest_.identities.try_emplace(device).second) rescan();
}

void LocalSession::accept_methods(const TwinKey& key) {
  if (interest_.methods.insert(key).second) rescan();
}

void LocalSession::accept_cloud_messages(const std::string& device) {
  if (interest_.clouds.try_emplace(device).second) rescan();
}

void LocalSession::publish(std::vector<Telemetry> batch, Callback<std::size_t> done) {
  run<std::size_t>(
      [batch = std::move(batch), sender = options_.device](LocalStore& store) -> Result<std::size_t> {
        std::vector<std::pair<std::string, LocalStore::Line>> lines;
        for (const Telemetry& message : batch) {
          lines.emplace_back(store.telemetry(message.device), LocalStore::telemetry_line(sender, message));
        }
        return append(store, lines);
      },
      std::move(done));
}

void LocalSession::mirror(std::vector<Uplink::MirroredEvent> events, Callback<std::size_t> done) {
  run<std::size_t>(
      [events = std::move(events), sender = options_.device](LocalStore& store) -> Result<std::size_t> {
        std::vector<std::pair<std::string, LocalStore::Line>> lines;
        for (const Uplink::MirroredEvent& event : events) {
          const std::string id = event_id(sender, event);
          lines.emplace_back(store.events(sender, event.service),
                             LocalStore::Line{id, "{\"id\":\"" + id + "\",\"event\":" + event.json + "}"});
        }
        return append(store, lines);
      },
      std::move(done));
}

void LocalSession::answer_method(std::uint64_t tag, const MethodAnswer& answer) {
  const auto found = calls_.find(tag);
  if (found == calls_.end()) return;  // answered for it when its time was up
  const std::string file = found->second.first;
  calls_.erase(found);
  // The name stays claimed until the file is gone, or the scan would take the call for a lost one.
  run<int>(
      [file, answer](LocalStore& store) -> Result<int> {
        if (Status written = write_answer(store, file, answer); !written) return written.error();
        return 0;
      },
      [this, file](Result<int>) { interest_.calls.erase(file); });
}

void LocalSession::settle(std::uint64_t tag, Settle how) {
  const auto found = messages_.find(tag);
  if (found == messages_.end()) return;
  const auto [device, file] = found->second;
  messages_.erase(found);
  if (how == Settle::kRetry) {
    retries_.emplace(std::chrono::steady_clock::now() + kCloudRetry, std::pair(device, file));
    return;
  }
  run<int>(
      [device = device, file = file, how](LocalStore& store) -> Result<int> {
        if (Status settled = settle_file(store, device, file, how); !settled) return settled.error();
        return 0;
      },
      [this, device = device, file = file](Result<int> result) {
        // A file that could not be moved is still there and would come again at once: leave it claimed.
        if (result) interest_.clouds[device].erase(file);
        rescan();
      });
}

LinkCause LocalSession::cause_of(const Error& failure) {
  return failure.code == Errc::kUnavailable ? LinkCause::kRefusedByHost : LinkCause::kIo;
}

Result<std::size_t> LocalSession::append(LocalStore& store,
                                         const std::vector<std::pair<std::string, LocalStore::Line>>& lines) {
  std::size_t done = 0;
  while (done < lines.size()) {
    if (Status link = store.check_link(); !link) {
      if (done > 0) return done;
      return link.error();
    }
    const std::size_t end = std::min(lines.size(), done + kLinesAtOnce);
    std::map<std::string, std::vector<LocalStore::Line>> by_log;
    for (std::size_t i = done; i < end; ++i) by_log[lines[i].first].push_back(lines[i].second);
    for (const auto& [log, part] : by_log) {
      if (Status written = store.append(log, part); !written) {
        if (done > 0) return done;
        return written.error();
      }
    }
    done = end;
  }
  return done;
}

void LocalSession::begin() {
  for (auto& [key, revision] : interest_.desired) revision = 0;
  for (auto& [device, known] : interest_.identities) known.clear();
  notify_ = std::make_shared<LocalNotify>(executor_, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->rescan();
  });
  notify_->start();
  rescan_at_ = std::chrono::steady_clock::now() + options_.rescan;
  rescan();
  tick();
}

void LocalSession::drop() {
  connected_ = connecting_ = false;
  ++generation_;
  timer_.cancel();
  if (notify_) notify_->stop();
  notify_.reset();
  scanning_ = dirty_ = false;
  calls_.clear();
  interest_.calls.clear();
  messages_.clear();
  retries_.clear();
  for (auto& [device, files] : interest_.clouds) files.clear();
}

void LocalSession::say(const LinkEvent& event) {
  if (listener.on_link) listener.on_link(event);
}

void LocalSession::lose(const Error& reason) {
  if (!connected_) return;
  drop();
  say({LinkChange::kLost, LinkCause::kClosed, describe(reason)});
}

void LocalSession::check(std::uint64_t generation) {
  job<int>(
      [](LocalStore& store) -> Result<int> {
        if (Status link = store.check_link(); !link) return link.error();
        return 0;
      },
      [this, generation](Result<int> result) {
        if (!result && generation == generation_) lose(result.error());
      });
}

void LocalSession::watch_folders() {
  notify_->watch(store_->root(), LocalNotify::What::kNames);
  for (const auto& [key, revision] : interest_.desired) {
    notify_->watch(store_->folder(DocumentKind::kDesired, key.device), LocalNotify::What::kFiles);
  }
  for (const auto& [device, known] : interest_.identities) {
    notify_->watch(store_->folder(DocumentKind::kIdentity, device), LocalNotify::What::kFiles);
  }
  if (!interest_.methods.empty()) notify_->watch(store_->methods("in"), LocalNotify::What::kFiles);
  for (const auto& [device, files] : interest_.clouds)
    notify_->watch(store_->cloud(device, "in"), LocalNotify::What::kFiles);
}

void LocalSession::rescan() {
  if (!connected_) return;
  if (std::exchange(scanning_, true)) {
    dirty_ = true;
    return;
  }
  const std::uint64_t generation = generation_;
  // First the folders, then their watches, then the look: nothing can slip in between.
  job<int>(
      [interest = interest_](LocalStore& store) -> Result<int> {
        if (Status link = store.check_link(); !link) return link.error();
        for (const auto& [key, revision] : interest.desired) {
          (void)make_directories(store.folder(DocumentKind::kDesired, key.device));
        }
        for (const auto& [device, known] : interest.identities) {
          (void)make_directories(store.folder(DocumentKind::kIdentity, device));
        }
        for (const auto& [device, files] : interest.clouds) (void)make_directories(store.cloud(device, "in"));
        return 0;
      },
      [this, generation](Result<int> result) {
        if (generation != generation_ || !connected_) return;
        if (!result) return lose(result.error());
        watch_folders();
        job<ScanFinds>(
            [interest = interest_](LocalStore& store) { return scan(store, interest); },
            [this, generation](Result<ScanFinds> finds) { scanned(generation, std::move(finds)); });
      });
}

void LocalSession::scanned(std::uint64_t generation, Result<ScanFinds> finds) {
  if (generation != generation_ || !connected_) return;
  scanning_ = false;
  if (!finds) return lose(finds.error());
  const auto keep = shared_from_this();  // a listener may destroy the uplink
  const bool again = std::exchange(dirty_, false);
  deliver(*finds);
  if (connected_ && again) rescan();
}

void LocalSession::deliver(ScanFinds& finds) {
  const std::uint64_t generation = generation_;
  for (auto& [key, value] : finds.desired) {
    interest_.desired[key] = value.revision;
    if (listener.on_desired) listener.on_desired(key, value);
    if (generation != generation_) return;
  }
  for (auto& [key, value] : finds.identities) {
    interest_.identities[key.device][key] = value.revision;
    if (listener.on_identity) listener.on_identity(key, value.json);
    if (generation != generation_) return;
  }
  for (auto& [file, call] : finds.calls) {
    call.call_tag = ++last_tag_;
    interest_.calls.insert(file);
    calls_[call.call_tag] = {file, std::chrono::steady_clock::now() + call.timeout};
  }
  for (auto& [file, message] : finds.clouds) {
    message.delivery_tag = ++last_tag_;
    interest_.clouds[message.device].insert(file);
    messages_[message.delivery_tag] = {message.device, file};
  }
  for (auto& [file, call] : finds.calls) {
    if (listener.on_method) listener.on_method(call);
    if (generation != generation_) return;
  }
  for (auto& [file, message] : finds.clouds) {
    if (listener.on_cloud_message) listener.on_cloud_message(message);
    if (generation != generation_) return;
  }
  for (auto& [what, reason] : finds.failures) {
    const bool known = failures_.contains(what) && failures_[what] == reason;
    if (failures_.size() >= 1024) failures_.clear();
    failures_[what] = reason;
    if (!known && listener.on_watch_failed) listener.on_watch_failed(what, reason);
    if (generation != generation_) return;
  }
}

void LocalSession::tick() {
  timer_.expires_after(kTick);
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code failure) {
    auto self = weak.lock();
    if (failure || !self || !self->connected_) return;
    const SteadyTime now = std::chrono::steady_clock::now();
    std::vector<std::uint64_t> late;
    for (const auto& [tag, call] : self->calls_) {
      if (now >= call.second) late.push_back(tag);
    }
    for (const std::uint64_t tag : late)
      self->answer_method(tag, {504, R"({"message":"no answer in time"})"});
    bool look = now >= self->rescan_at_;
    while (!self->retries_.empty() && self->retries_.begin()->first <= now) {
      const auto& [device, file] = self->retries_.begin()->second;
      self->interest_.clouds[device].erase(file);
      self->retries_.erase(self->retries_.begin());
      look = true;
    }
    if (look) {
      self->rescan_at_ = now + self->options_.rescan;
      self->rescan();
    }
    self->tick();
  });
}

}  // namespace decklog::uplink
