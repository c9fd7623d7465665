// Writes numbered messages into a store and says on standard output what is durable, until it is killed.
// Usage: store_writer DIRECTORY FIRST_NUMBER. Output lines: "put <number>" after the commit, "ack <number>"
// before it.
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <mutex>

#include "persistence/message_store.hpp"

namespace {

using namespace decklog;
using namespace decklog::persistence;

std::mutex mutex;
std::condition_variable wake;
std::deque<std::function<void()>> waiting;

void say(const std::string& line) {
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  Instant now{{1'800'000'000'000'000'000}, {1}};
  std::map<std::uint64_t, std::uint64_t> numbers;  // message id -> number
  QueueId queue;
  MessageId cursor;
  std::unique_ptr<MessageStore> store;
  StoreHooks hooks;
  hooks.post = [](std::function<void()> work) {
    const std::lock_guard lock(mutex);
    waiting.push_back(std::move(work));
    wake.notify_one();
  };
  hooks.committed = [&](const Committed& done) {
    if (!done.status) std::_Exit(4);
    std::string lines;
    for (std::uint64_t id = done.first.value; id <= done.last.value; ++id) {
      lines += "put " + std::to_string(numbers.at(id)) + "\n";
      numbers.erase(id);
    }
    say(lines);
    // Half of what arrives is taken at once, in order.
    std::vector<Delivery> out;
    store->fetch(queue, cursor, {.max_messages = 8}, now, out);
    for (std::size_t i = 0; i < out.size() / 2; ++i) {
      say("ack " + std::string(out[i].body.substr(0, out[i].body.find(' '))) + "\n");
      store->ack(queue, out[i].id);
    }
    if (!out.empty()) cursor = out[out.size() / 2].id;
  };
  auto opened = MessageStore::open({.directory = argv[1]}, hooks, BootId{"b"}, now);
  if (!opened) return 5;
  store = std::move(*opened);
  queue = *store->open_queue({QueueKind::kSession, "s", 9});
  const QueueId other = *store->open_queue({QueueKind::kSession, "other", 9});
  std::uint64_t number = std::strtoull(argv[2], nullptr, 10);
  for (;;) {
    while (numbers.size() < 64) {
      const std::string body = std::to_string(number) + " " + std::string(number % 700, 'x');
      const QueueRef refs[] = {{queue}, {other}};
      const auto id = store->put({"h", body, 1}, std::span(refs, number % 3 == 0 ? 2 : 1), now);
      if (!id) return 6;
      numbers[id->value] = number++;
    }
    std::unique_lock lock(mutex);
    wake.wait(lock, [] { return !waiting.empty(); });
    const std::function<void()> work = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    work();
  }
}
