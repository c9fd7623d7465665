#include "services/uplink/local_uplink.hpp"

#include <boost/asio/steady_timer.hpp>

#include "services/uplink/local_notify.hpp"
#include "services/uplink/local_scan.hpp"
#include "services/uplink/mailbox.hpp"
#include "services/uplink/names.hpp"
#include "services/uplink/worker.hpp"

namespace decklog::uplink {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kLinesAtOnce = 256;                    // between two looks at the link
constexpr Duration kTick = std::chrono::seconds(1);
constexpr Duration kCloudRetry = std::chrono::seconds(2);    // after Settle::kRetry

class LocalSession final : public std::enable_shared_from_this<LocalSession> {
 public:
  LocalSession(boost::asio::any_io_executor executor, LocalOptions options)
      : executor_(executor),
        options_(options),
        mailbox_(std::make_shared<Mailbox>(executor)),
        store_(std::make_shared<LocalStore>(std::move(options))),
        timer_(executor) {}

  void shut() {
    mailbox_->close();
    listener = {};
    drop();
  }

  void connect() {
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

  void disconnect() {
    connecting_ = false;
    ++generation_;
    if (!connected_) return;
    drop();
    mailbox_->post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->say({LinkChange::kLost, LinkCause::kRequested, "disconnected on request"});
    });
  }

  // Runs work on the worker when there is a link, gives its result to done on the executor.
  template <class T>
  void run(std::function<Result<T>(LocalStore&)> work, Callback<T> done) {
    if (!connected_) return later<T>(std::move(done), error(Errc::kUnavailable, "not connected"));
    const std::uint64_t generation = generation_;
    auto guarded = [work = std::move(work)](LocalStore& store) -> Result<T> {
      if (Status link = store.check_link(); !link) return link.error();
      return work(store);
    };
    job<T>(guarded, [this, generation, done = std::move(done)](Result<T> result) {
      if (!result && result.error().code == Errc::kUnavailable) check(generation);
      done(std::move(result));
    });
  }

  void watch_desired(const TwinKey& key) {
    if (interest_.desired.try_emplace(key, 0).second) rescan();
  }
  void watch_identities(const std::string& device) {
    if (interest_.identities.try_emplace(device).second) rescan();
  }
  void accept_methods(const TwinKey& key) {
    if (interest_.methods.insert(key).second) rescan();
  }
  void accept_cloud_messages(const std::string& device) {
    if (interest_.clouds.try_emplace(device).second) rescan();
  }

  void publish(std::vector<Telemetry> batch, Callback<std::size_t> done) {
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

  void mirror(std::vector<Uplink::MirroredEvent> events, Callback<std::size_t> done) {
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

  void answer_method(std::uint64_t tag, const MethodAnswer& answer) {
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

  void settle(std::uint64_t tag, Settle how) {
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

  Listener listener;

 private:
  static LinkCause cause_of(const Error& failure) {
    return failure.code == Errc::kUnavailable ? LinkCause::kRefusedByHost : LinkCause::kIo;
  }

  template <class T>
  void later(Callback<T> done, Error reason) {
    mailbox_->post([done = std::move(done), reason = std::move(reason)] { done(reason); });
  }

  template <class T>
  void job(std::function<Result<T>(LocalStore&)> work, std::function<void(Result<T>)> done) {
    auto held = std::make_shared<std::function<void(Result<T>)>>(std::move(done));
    auto body = [store = store_, mailbox = mailbox_, weak = weak_from_this(), work = std::move(work), held]() mutable {
      mailbox->post([weak, held = std::move(held), result = work(*store)]() mutable {
        if (auto self = weak.lock()) (*held)(std::move(result));
      });
    };
    if (!worker_.run(std::move(body))) later<T>(*held, error(Errc::kUnavailable, "the worker's queue is full"));
  }

  // Counted from the front; an error when nothing was written.
  static Result<std::size_t> append(LocalStore& store,
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

  void begin() {
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

  void drop() {
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

  void say(const LinkEvent& event) {
    if (listener.on_link) listener.on_link(event);
  }

  void lose(const Error& reason) {
    if (!connected_) return;
    drop();
    say({LinkChange::kLost, LinkCause::kClosed, describe(reason)});
  }

  // Something was unavailable: a file of its own, or the link?
  void check(std::uint64_t generation) {
    job<int>(
        [](LocalStore& store) -> Result<int> {
          if (Status link = store.check_link(); !link) return link.error();
          return 0;
        },
        [this, generation](Result<int> result) {
          if (!result && generation == generation_) lose(result.error());
        });
  }

  void watch_folders() {
    notify_->watch(store_->root(), LocalNotify::What::kNames);
    for (const auto& [key, revision] : interest_.desired) {
      notify_->watch(store_->folder(DocumentKind::kDesired, key.device), LocalNotify::What::kFiles);
    }
    for (const auto& [device, known] : interest_.identities) {
      notify_->watch(store_->folder(DocumentKind::kIdentity, device), LocalNotify::What::kFiles);
    }
    if (!interest_.methods.empty()) notify_->watch(store_->methods("in"), LocalNotify::What::kFiles);
    for (const auto& [device, files] : interest_.clouds) notify_->watch(store_->cloud(device, "in"), LocalNotify::What::kFiles);
  }

  void rescan() {
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
          job<ScanFinds>([interest = interest_](LocalStore& store) { return scan(store, interest); },
                         [this, generation](Result<ScanFinds> finds) { scanned(generation, std::move(finds)); });
        });
  }

  void scanned(std::uint64_t generation, Result<ScanFinds> finds) {
    if (generation != generation_ || !connected_) return;
    scanning_ = false;
    if (!finds) return lose(finds.error());
    const auto keep = shared_from_this();  // a listener may destroy the uplink
    const bool again = std::exchange(dirty_, false);
    deliver(*finds);
    if (connected_ && again) rescan();
  }

  void deliver(ScanFinds& finds) {
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

  void tick() {
    timer_.expires_after(kTick);
    timer_.async_wait([weak = weak_from_this()](boost::system::error_code failure) {
      auto self = weak.lock();
      if (failure || !self || !self->connected_) return;
      const SteadyTime now = std::chrono::steady_clock::now();
      std::vector<std::uint64_t> late;
      for (const auto& [tag, call] : self->calls_) {
        if (now >= call.second) late.push_back(tag);
      }
      for (const std::uint64_t tag : late) self->answer_method(tag, {504, R"({"message":"no answer in time"})"});
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

  boost::asio::any_io_executor executor_;
  LocalOptions options_;
  std::shared_ptr<Mailbox> mailbox_;
  std::shared_ptr<LocalStore> store_;  // touched by the worker only, but for its paths
  boost::asio::steady_timer timer_;
  std::shared_ptr<LocalNotify> notify_;
  bool created_ = false;
  bool connecting_ = false;
  bool connected_ = false;
  bool scanning_ = false;
  bool dirty_ = false;
  std::uint64_t generation_ = 0;
  std::uint64_t last_tag_ = 0;
  SteadyTime rescan_at_;
  ScanInterest interest_;
  std::map<std::uint64_t, std::pair<std::string, SteadyTime>> calls_;              // tag: file, until
  std::map<std::uint64_t, std::pair<std::string, std::string>> messages_;          // tag: device, file
  std::multimap<SteadyTime, std::pair<std::string, std::string>> retries_;         // device, file
  std::map<std::string, Error> failures_;
  Worker worker_;  // last: its jobs end before what they refer to
};

class LocalUplink final : public Uplink {
 public:
  LocalUplink(boost::asio::any_io_executor executor, LocalOptions options)
      : session_(std::make_shared<LocalSession>(std::move(executor), std::move(options))) {}
  ~LocalUplink() override { session_->shut(); }

  const char* kind() const override { return "local"; }
  void set_listener(Listener listener) override { session_->listener = std::move(listener); }
  void connect() override { session_->connect(); }
  void disconnect() override { session_->disconnect(); }
  void ping(Duration, Callback<void> done) override {
    session_->run<int>([](LocalStore&) -> Result<int> { return 0; }, [done = std::move(done)](Result<int> result) {
      if (result) return done(Result<void>());
      done(result.error());
    });
  }
  void watch_desired(const TwinKey& key) override { session_->watch_desired(key); }
  void watch_identities(const std::string& device) override { session_->watch_identities(device); }
  void accept_methods(const TwinKey& key) override { session_->accept_methods(key); }
  void accept_cloud_messages(const std::string& device) override { session_->accept_cloud_messages(device); }
  void get_desired(const TwinKey& key, Callback<TwinValue> done) override { get(DocumentKind::kDesired, key, std::move(done)); }
  void get_reported(const TwinKey& key, Callback<TwinValue> done) override { get(DocumentKind::kReported, key, std::move(done)); }
  void put_reported(const TwinKey& key, const std::string& json, std::optional<std::uint64_t> expected,
                    Callback<std::uint64_t> done) override {
    session_->run<std::uint64_t>(
        [key, json, expected](LocalStore& store) { return store.write(DocumentKind::kReported, key, json, expected); },
        std::move(done));
  }
  void get_identity(const TwinKey& key, Callback<std::string> done) override {
    session_->run<std::string>(
        [key](LocalStore& store) -> Result<std::string> {
          auto value = store.read(DocumentKind::kIdentity, key);
          if (!value) return value.error();
          if (value->json.empty()) return error(Errc::kNotFound, "the fleet does not know this identity");
          return std::move(value->json);
        },
        std::move(done));
  }
  void publish(std::vector<Telemetry> batch, Callback<std::size_t> done) override {
    session_->publish(std::move(batch), std::move(done));
  }
  void checkpoint(Callback<std::string> done) override {
    session_->run<std::string>([](LocalStore& store) { return store.stream_identity(); }, std::move(done));
  }
  void mirror(std::vector<MirroredEvent> events, Callback<std::size_t> done) override {
    session_->mirror(std::move(events), std::move(done));
  }
  void answer_method(std::uint64_t call_tag, const MethodAnswer& answer) override { session_->answer_method(call_tag, answer); }
  void settle(std::uint64_t delivery_tag, Settle how) override { session_->settle(delivery_tag, how); }

 private:
  void get(DocumentKind kind, const TwinKey& key, Callback<TwinValue> done) {
    session_->run<TwinValue>(
        [kind, key](LocalStore& store) -> Result<TwinValue> {
          auto value = store.read(kind, key);
          if (!value) return value.error();
          if (value->json.empty()) return TwinValue{};
          return value;
        },
        std::move(done));
  }

  std::shared_ptr<LocalSession> session_;
};

}  // namespace

std::unique_ptr<Uplink> make_local_uplink(boost::asio::any_io_executor executor, LocalOptions options) {
  return std::make_unique<LocalUplink>(std::move(executor), std::move(options));
}

}  // namespace decklog::uplink
