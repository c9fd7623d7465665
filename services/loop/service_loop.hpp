// The loop of a service. Its order is the guarantee:
//     take input -> core decides -> append input and decisions -> state is folded -> durable -> effects.
// Steps that arrive while a sync is in flight are decided at once and share the next sync; what they cause
// leaves the process only when they are on disk.
//
// When the store refuses (disk full, I/O error) the device goes on: effects are then released without a log
// entry, what was not written is counted, and once the store takes events again a GapRecorded(kNotWritten),
// the state as a snapshot and the store's recovery are written first.
//
// Thread: everything on the executor given; the journal's thread only posts to it. Owner: the service.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "events/event.hpp"
#include "persistence/journal.hpp"
#include "services/loop/clock.hpp"

namespace decklog::loop {

// What the loop runs. Pure: see AgentCore and HubCore.
class Core {
 public:
  virtual ~Core() = default;
  virtual std::vector<Envelope> take(const Envelope& input) = 0;
  virtual void fold(const Envelope& event) = 0;
  virtual bool matters(const Fact& input) const = 0;
  virtual std::string snapshot() const = 0;
};

struct LoopOptions {
  std::string build;  // build id, into every event
  std::uint64_t snapshot_every_events = 5000;
  Duration retry_store_every = std::chrono::seconds(2);
  Duration clock_step_least = std::chrono::seconds(1);  // a smaller jump of the wall clock is not an event
};

struct LoopStats {
  std::uint64_t inputs = 0, inputs_dropped = 0, events = 0, not_written = 0;
  bool degraded = false;
};

class ServiceLoop {
 public:
  // Called for every event in order once it is durable (or, degraded, could not be made so).
  using Released = std::function<void(const Envelope&)>;
  using Accepted = std::function<void(Result<Sequence>)>;

  ServiceLoop(boost::asio::any_io_executor executor, persistence::Journal& journal, Core& core,
              Surroundings& surroundings, LoopOptions options);
  ~ServiceLoop();

  void on_release(Released handler) { released_ = std::move(handler); }
  // More facts to append after a step, e.g. signed heads; asked for with every released event.
  void on_note(std::function<std::vector<Fact>(const Envelope&)> source) { notes_ = std::move(source); }

  // An input. An input that does not matter to the core is dropped, its handler called with the newest
  // sequence. `accepted` runs when input and decisions are durable.
  void submit(Fact input, Actor actor = {}, Correlation correlation = {}, Accepted accepted = {});
  // A fact that is no input: a gap, a remark, a signed head.
  void note(Fact fact, Sequence cause = {});
  // Takes a snapshot soon (the journal's hook asks for it).
  void want_snapshot();

  Sequence released_through() const { return released_through_; }
  LoopStats stats() const { return stats_; }
  persistence::Journal& journal() { return journal_; }

 private:
  struct Step {
    std::vector<Envelope> events;
    Accepted accepted;
  };

  Envelope envelope(Fact fact);
  void append(std::shared_ptr<Step> step);
  void finished(const std::shared_ptr<Step>& step, const Status& status);
  void release(const Step& step);
  void degrade(const Error& error);
  void try_store_again();
  void recovered(std::uint64_t lost);
  void take_snapshot();
  void look_at_clock(const Instant& now);
  void submit_now(Fact input, Actor actor, Correlation correlation, Accepted accepted);

  boost::asio::any_io_executor executor_;
  persistence::Journal& journal_;
  Core& core_;
  Surroundings& surroundings_;
  LoopOptions options_;
  Released released_;
  std::function<std::vector<Fact>(const Envelope&)> notes_;
  Sequence next_;
  Sequence released_through_;
  LoopStats stats_;
  std::uint64_t since_snapshot_ = 0;
  std::int64_t wall_minus_mono_ = 0;
  bool clock_known_ = false;
  std::uint64_t in_flight_ = 0;
  bool probing_ = false;
  boost::asio::steady_timer retry_;
  std::shared_ptr<int> alive_;  // callbacks look whether the loop still is
};

}  // namespace decklog::loop
