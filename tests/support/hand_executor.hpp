// An executor that is run by hand: what other threads post waits until its owner lets it run.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace decklog::test {

class HandExecutor final {
 public:
  explicit HandExecutor(std::chrono::seconds deadline = std::chrono::seconds(30)) : deadline_(deadline) {}

  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(work));
    }
    wake_.notify_one();
  }
  // Runs posted work until the condition holds; false when the deadline passes first.
  bool run_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + deadline_;
    while (!done()) {
      std::unique_lock lock(mutex_);
      if (!wake_.wait_until(lock, end, [this] { return !waiting_.empty(); })) return done();
      run_first(lock);
    }
    return true;
  }
  void run_ready() {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (waiting_.empty()) return;
      run_first(lock);
    }
  }

 private:
  void run_first(std::unique_lock<std::mutex>& lock) {
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
  }

  const std::chrono::seconds deadline_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace decklog::test
