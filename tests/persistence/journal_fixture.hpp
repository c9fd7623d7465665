// Events to append, directories to append in, and waiting for Done with a deadline.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <ostream>
#include <string>
#include <vector>

#include "persistence/journal.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog {

// What a failed comparison prints instead of bytes.
inline void PrintTo(const Envelope& event, std::ostream* out) {
  *out << event.sequence.value << " " << info(event.fact).name;
}

}  // namespace decklog

namespace decklog::persistence {

using test::TempDir;

inline Envelope envelope(std::uint64_t sequence, StreamId stream, Fact fact) {
  Envelope event;
  event.sequence = {sequence};
  event.stream = std::move(stream);
  const auto ns = static_cast<std::int64_t>(sequence) * 1'000'003;
  event.time = {{1'764'000'000'000'000'000 + ns}, {5'000'000'000 + ns}};
  event.boot = BootId("7b2d1f0a-90b8-4a51-8d9c-2f6f3c1f6a11");
  event.clock = ClockState::kSynced;
  event.build = "0.1.0-3f2a9c1";
  event.fact = std::move(fact);
  return event;
}

// Lifecycle: kept longest.
inline Envelope transition(std::uint64_t sequence, const std::string& module) {
  ModuleTransitioned fact;
  fact.module = ModuleName(module);
  fact.from = static_cast<ModuleState>(1);
  fact.to = static_cast<ModuleState>(2);
  fact.trigger = "exited";
  fact.life.restart_count = static_cast<std::uint32_t>(sequence % 20);
  Envelope event = envelope(sequence, StreamId::module(ModuleName(module)), fact);
  event.cause = {sequence > 1 ? sequence - 1 : 0};
  return event;
}

// Detail: compacted first.
inline Envelope probe(std::uint64_t sequence, const std::string& module, std::size_t detail_bytes = 0) {
  ProbeFinished fact;
  fact.module = ModuleName(module);
  fact.passed = true;
  // Bytes that do not compress, so that a budget is reached soon; the same for the same sequence.
  std::uint64_t state = sequence * 0x9e3779b97f4a7c15ull + 1;
  for (std::size_t i = 0; i < detail_bytes; ++i) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    fact.detail.push_back(static_cast<char>('!' + state % 90));
  }
  fact.took_ns = static_cast<std::int64_t>(sequence) * 17;
  Envelope event = envelope(sequence, StreamId::module(ModuleName(module)), fact);
  event.random = sequence * 0x9e3779b97f4a7c15ull;
  return event;
}

// The event that every test writes at this sequence: one in four is lifecycle, five modules.
inline Envelope event_at(std::uint64_t sequence, std::size_t detail_bytes = 0) {
  const std::string module = "module-" + std::to_string(sequence % 5);
  return sequence % 4 == 0 ? transition(sequence, module) : probe(sequence, module, detail_bytes);
}

inline std::vector<Envelope> events_from(std::uint64_t first, std::size_t count,
                                         std::size_t detail_bytes = 0) {
  std::vector<Envelope> events;
  for (std::size_t i = 0; i < count; ++i) events.push_back(event_at(first + i, detail_bytes));
  return events;
}

// Collects the results of Done calls, in the order they come.
class DoneLog final {
 public:
  Journal::Done expect() {
    const std::size_t id = asked_++;
    return [this, id](Status status) {
      const std::lock_guard lock(mutex_);
      order_.push_back(id);
      results_.push_back(std::move(status));
      changed_.notify_all();
    };
  }
  // Waits until every expected Done ran; false at the deadline.
  bool wait(std::chrono::seconds limit = std::chrono::seconds(30)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return results_.size() == asked_; });
  }
  std::vector<Status> results() {
    const std::lock_guard lock(mutex_);
    return results_;
  }
  std::vector<std::size_t> order() {
    const std::lock_guard lock(mutex_);
    return order_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t asked_ = 0;
  std::vector<std::size_t> order_;
  std::vector<Status> results_;
};

// One step, waited for.
inline Status append_now(Journal& journal, const std::vector<Envelope>& step) {
  DoneLog done;
  journal.append(step, done.expect());
  if (!done.wait()) return error(Errc::kTimeout, "Done did not run");
  return done.results().front();
}

inline Status snapshot_now(Journal& journal, Snapshot snapshot) {
  DoneLog done;
  journal.put_snapshot(std::move(snapshot), done.expect());
  if (!done.wait()) return error(Errc::kTimeout, "Done did not run");
  return done.results().front();
}

inline std::vector<Envelope> read_all(const JournalReader& journal,
                                      std::vector<MissingRange>* missing = nullptr) {
  std::vector<Envelope> events;
  Visitor visitor{[&](const Envelope& event) {
    events.push_back(event);
    return true;
  }};
  visitor.missing = [&](const MissingRange& range) {
    if (missing != nullptr) missing->push_back(range);
    return true;
  };
  const Status status = journal.read({1}, {~0ull}, visitor);
  EXPECT_TRUE(status.has_value()) << (status.has_error() ? describe(status.error()) : "");
  return events;
}

}  // namespace decklog::persistence
