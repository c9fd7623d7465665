// One thread that does an uplink's blocking work in order: a connect, socket writes, file writes and syncs.
//
// Owned by one uplink. The destructor drops what is still queued and waits for the job that runs; each job
// has its own deadline, so that wait is bounded by it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace decklog::uplink {

class Worker final {
 public:
  // Every job comes from a bounded caller (publish window, request table); this only catches a bug.
  static constexpr std::size_t kMaxJobs = 65536;

  Worker();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // False when the queue is full: the job was not taken.
  [[nodiscard]] bool run(std::function<void()> job);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace decklog::uplink
