// The local uplink's state on its executor. Private to local_session.cpp and local_uplink.cpp; see uplink.hpp
// for thread and failure.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "services/uplink/local_notify.hpp"
#include "services/uplink/local_scan.hpp"
#include "services/uplink/mailbox.hpp"
#include "services/uplink/worker.hpp"

namespace decklog::uplink {

class LocalSession final : public std::enable_shared_from_this<LocalSession> {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  LocalSession(boost::asio::any_io_executor executor, LocalOptions options)
      : executor_(executor),
        options_(options),
        mailbox_(std::make_shared<Mailbox>(executor)),
        store_(std::make_shared<LocalStore>(std::move(options))),
        timer_(executor) {}

  void shut();

  void connect();

  void disconnect();

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

  void watch_desired(const TwinKey& key);
  void watch_identities(const std::string& device);
  void accept_methods(const TwinKey& key);
  void accept_cloud_messages(const std::string& device);

  void publish(std::vector<Telemetry> batch, Callback<std::size_t> done);

  void mirror(std::vector<Uplink::MirroredEvent> events, Callback<std::size_t> done);

  void answer_method(std::uint64_t tag, const MethodAnswer& answer);

  void settle(std::uint64_t tag, Settle how);

  Listener listener;

 private:
  static LinkCause cause_of(const Error& failure);

  template <class T>
  void later(Callback<T> done, Error reason) {
    mailbox_->post([done = std::move(done), reason = std::move(reason)] { done(reason); });
  }

  template <class T>
  void job(std::function<Result<T>(LocalStore&)> work, std::function<void(Result<T>)> done) {
    auto held = std::make_shared<std::function<void(Result<T>)>>(std::move(done));
    auto body = [store = store_, mailbox = mailbox_, weak = weak_from_this(), work = std::move(work),
                 held]() mutable {
      mailbox->post([weak, held = std::move(held), result = work(*store)]() mutable {
        if (auto self = weak.lock()) (*held)(std::move(result));
      });
    };
    if (!worker_.run(std::move(body)))
      later<T>(*held, error(Errc::kUnavailable, "the worker's queue is full"));
  }

  // Counted from the front; an error when nothing was written.
  static Result<std::size_t> append(LocalStore& store,
                                    const std::vector<std::pair<std::string, LocalStore::Line>>& lines);

  void begin();

  void drop();

  void say(const LinkEvent& event);

  void lose(const Error& reason);

  // Something was unavailable: a file of its own, or the link?
  void check(std::uint64_t generation);

  void watch_folders();

  void rescan();

  void scanned(std::uint64_t generation, Result<ScanFinds> finds);

  void deliver(ScanFinds& finds);

  void tick();

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
  std::map<std::uint64_t, std::pair<std::string, SteadyTime>> calls_;       // tag: file, until
  std::map<std::uint64_t, std::pair<std::string, std::string>> messages_;   // tag: device, file
  std::multimap<SteadyTime, std::pair<std::string, std::string>> retries_;  // device, file
  std::map<std::string, Error> failures_;
  Worker worker_;  // last: its jobs end before what they refer to
};

}  // namespace decklog::uplink
