// How foreign threads (the uplink's worker, nats.c's own threads) reach the executor: they post here and
// return.
//
// Shared by both sides. Once closed (by the owner, on the executor's thread) nothing more is posted, so that
// the executor may be destroyed right after its uplink; functions posted earlier must check for themselves
// that their owner still lives (weak pointer). Thread-safe.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <mutex>
#include <utility>

namespace decklog::uplink {

class Mailbox final {
 public:
  explicit Mailbox(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  template <class Function>
  void post(Function&& function) {
    const std::lock_guard lock(mutex_);
    if (open_) boost::asio::post(executor_, std::forward<Function>(function));
  }

  void close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }

 private:
  std::mutex mutex_;
  bool open_ = true;
  boost::asio::any_io_executor executor_;
};

}  // namespace decklog::uplink
