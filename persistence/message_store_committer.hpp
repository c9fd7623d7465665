// The commit thread and the read thread of the message store. Private to persistence.
//
// Committer: takes all groups that wait, writes them as one batch with one sync, hands them back in one post.
// After a failed batch everything behind it fails too (same generation) until the executor, which has taken
// the failure in, sends groups of the next generation: counters in a group build on the groups before it.
// Owner: MessageStore::Core. Destruction finishes what waits; results posted after that are for nobody (weak
// owner).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "persistence/message_store_database.hpp"

namespace decklog::persistence {

struct CommitResult {
  std::vector<std::unique_ptr<SealedGroup>> groups;
  Status status;
  CommitNumbers numbers;
};

class Committer final {
 public:
  // `done` runs on the commit thread: it posts and returns.
  Committer(Database& database, Durability durability, std::function<void(CommitResult)> done);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void submit(std::unique_ptr<SealedGroup> group);
  void wait_idle();

 private:
  void run();
  std::vector<std::unique_ptr<SealedGroup>> take();
  CommitResult commit(std::vector<std::unique_ptr<SealedGroup>> groups);

  Database& database_;
  const Durability durability_;
  const std::function<void(CommitResult)> done_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<std::unique_ptr<SealedGroup>> waiting_;
  bool busy_ = false;
  bool stopping_ = false;
  std::uint64_t failed_generation_ = 0;  // groups of this and older generations fail
  Error failure_{Errc::kOk, {}, {}};     // code kOk: the last batch was written
  std::thread thread_;
};

class Reader final {
 public:
  Reader(const Database& database, std::function<void(LoadResult)> done);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void submit(const LoadJob& job);
  void wait_idle();

 private:
  void run();

  const Database& database_;
  const std::function<void(LoadResult)> done_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<LoadJob> waiting_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace decklog::persistence
