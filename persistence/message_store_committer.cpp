#include "persistence/message_store_committer.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace decklog::persistence {
namespace {
// So long must nothing be committed before files are tidied up.
constexpr std::chrono::milliseconds kTidyDelay{500};
}  // namespace

Committer::Committer(Database& database, Durability durability, std::function<void(CommitResult)> done)
    : database_(database), durability_(durability), done_(std::move(done)), thread_([this] { run(); }) {}

Committer::~Committer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Committer::submit(std::unique_ptr<SealedGroup> group) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(group));
  }
  wake_.notify_one();
}

void Committer::wait_idle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return waiting_.empty() && !busy_; });
}

CommitResult Committer::commit(std::vector<std::unique_ptr<SealedGroup>> groups) {
  CommitResult result;
  if (groups.front()->generation <= failed_generation_) {
    result.status = failure_;
  } else {
    if (failure_.code != Errc::kOk) result.status = database_.resume();
    if (result.status) result.status = database_.commit(groups, durability_, result.numbers);
    if (result.status) {
      failure_.code = Errc::kOk;
    } else {
      failed_generation_ = groups.back()->generation;
      failure_ = result.status.error();
    }
  }
  result.groups = std::move(groups);
  return result;
}

// Groups of one generation only: see the header.
std::vector<std::unique_ptr<SealedGroup>> Committer::take() {
  std::vector<std::unique_ptr<SealedGroup>> groups = std::exchange(waiting_, {});
  const auto other = std::find_if(groups.begin(), groups.end(), [&](const auto& group) {
    return group->generation != groups.front()->generation;
  });
  std::move(other, groups.end(), std::back_inserter(waiting_));
  groups.erase(other, groups.end());
  return groups;
}

void Committer::run() {
  bool more_to_clean = true;  // what a purge before the last stop left
  std::unique_lock lock(mutex_);
  for (;;) {
    if (waiting_.empty()) {
      busy_ = false;
      if (!more_to_clean) idle_.notify_all();
      if (stopping_) return;
      if (more_to_clean) {
        busy_ = true;
        lock.unlock();
        more_to_clean = database_.clean();
        lock.lock();
        continue;
      }
      const auto needed = [this] { return stopping_ || !waiting_.empty(); };
      if (!database_.wants_tidying()) {
        wake_.wait(lock, needed);
      } else if (!wake_.wait_for(lock, kTidyDelay, needed)) {
        lock.unlock();
        database_.tidy();
        lock.lock();
      }
      continue;
    }
    busy_ = true;
    std::vector<std::unique_ptr<SealedGroup>> groups = take();
    lock.unlock();
    done_(commit(std::move(groups)));
    more_to_clean = true;
    lock.lock();
  }
}

Reader::Reader(const Database& database, std::function<void(LoadResult)> done)
    : database_(database), done_(std::move(done)), thread_([this] { run(); }) {}

Reader::~Reader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Reader::submit(const LoadJob& job) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(job);
  }
  wake_.notify_one();
}

void Reader::wait_idle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return waiting_.empty() && !busy_; });
}

void Reader::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) return;
    if (waiting_.empty()) {
      busy_ = false;
      idle_.notify_all();
      wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      continue;
    }
    busy_ = true;
    const LoadJob job = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    done_(database_.load(job));
    lock.lock();
  }
}

}  // namespace decklog::persistence
