// Named one-shot timers on the monotonic clock that counts while suspended. A fired timer is an input, never
// a callback into the core. Thread: the executor's. Arming a key again replaces its deadline.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "services/loop/clock.hpp"

namespace decklog::loop {

class Timers {
 public:
  using Fired = std::function<void(const std::string& key)>;

  Timers(boost::asio::any_io_executor executor, Surroundings& surroundings, Fired fired)
      : executor_(std::move(executor)), surroundings_(surroundings), fired_(std::move(fired)) {}

  void arm(const std::string& key, MonoTime deadline) {
    auto& armed = timers_[key];
    armed.use = ++last_use_;
    armed.timer = std::make_unique<boost::asio::steady_timer>(executor_);
    const Duration wait = std::max(deadline - surroundings_.now().mono, Duration::zero());
    // After a suspend the steady clock is behind: wake up now and then and look again.
    const Duration slice = std::min<Duration>(wait, std::chrono::minutes(1));
    armed.timer->expires_after(std::chrono::duration_cast<boost::asio::steady_timer::duration>(slice));
    armed.timer->async_wait([this, key, deadline, use = armed.use](boost::system::error_code cancelled) {
      if (cancelled) return;
      // One that had fired already when its key was armed again or cancelled is nobody's any more.
      const auto found = timers_.find(key);
      if (found == timers_.end() || found->second.use != use) return;
      if (surroundings_.now().mono < deadline) return arm(key, deadline);
      timers_.erase(found);
      fired_(key);
    });
  }
  void cancel(const std::string& key) { timers_.erase(key); }

 private:
  struct Armed {
    std::uint64_t use = 0;  // names this arming of the key
    std::unique_ptr<boost::asio::steady_timer> timer;
  };
  boost::asio::any_io_executor executor_;
  Surroundings& surroundings_;
  Fired fired_;
  std::map<std::string, Armed> timers_;
  std::uint64_t last_use_ = 0;
};

}  // namespace decklog::loop
