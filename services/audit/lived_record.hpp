// A recorded life prepared for living it again otherwise: which input answers which asking, and when, on one
// time line over all boots. Private to services/audit. Pure.
//
// An asking is an effect of a decision that the outside answers: a pull, create, start, stop, remove, a
// connect, an armed timer. The n-th asking of one kind for one thing (and one spec) is the same asking in
// every telling of the life; what followed it follows it there too.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "services/agent/state.hpp"
#include "services/audit/recorded_steps.hpp"

namespace decklog::audit {

// What a decision asks of the outside. `what` = `kind` and the spec it is asked for, where that matters.
struct Asked {
  std::string kind;  // "module/sensor start", "uplink connect"
  std::string what;  // "module/sensor start 9f3a6c0011223344"
};
std::vector<Asked> askings_of(const Fact& decision);

// What a decision does to a timer: armed for `deadline`, or cancelled.
struct TimerChange {
  std::string key;
  bool armed = false;
  MonoTime deadline;
};
std::vector<TimerChange> timer_changes_of(const Fact& decision);
// Timers that a service of the same boot goes on with.
std::vector<TimerChange> timers_of(const agent::AgentState& state);

struct Asking {
  std::string what;
  std::uint64_t ordinal = 0;           // among those that ask the same
  std::int64_t at = 0;                 // on the time line
  std::vector<std::size_t> followers;  // steps whose time counts from here
};

struct ArmedTimer {
  std::int64_t late_ns = 0;             // how long after its deadline it fired
  std::size_t fired = ~std::size_t{0};  // step; none = it never did
};

class LivedRecord {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};
  enum class Timing : std::uint8_t { kAbsolute, kAfterAsking, kTimer };
  struct Place {
    std::int64_t at = 0;         // on the time line
    std::size_t asking = kNone;  // what it belongs to: never happens without it
    Timing timing = Timing::kAbsolute;
  };

  LivedRecord(agent::AgentState begin, std::vector<RecordedStep> steps);

  const std::vector<RecordedStep>& steps() const { return steps_; }
  const Place& place(std::size_t step) const { return places_[step]; }
  // Which asking that is; kNone = the record has no such one.
  std::size_t asking(const std::string& what, std::uint64_t ordinal) const;
  const Asking& asking(std::size_t index) const { return askings_[index]; }
  const ArmedTimer* timer(const std::string& key, std::uint64_t ordinal) const;
  // Modules that existed at the runtime when a listing was taken.
  const std::set<std::string>& existed(std::size_t step) const;

  // Monotonic time of a boot + this = time line.
  std::int64_t offset(const BootId& boot) const;
  const agent::AgentState& begin() const { return begin_; }
  const agent::AgentState& end() const { return end_; }

 private:
  void place_on_time_line();
  void find_belonging(std::size_t step);
  void belong(std::size_t step, std::size_t asking);
  void match_timer(std::size_t step, const std::string& key);
  void note_decision(std::size_t step, const Envelope& decision);
  void change_timer(const TimerChange& change);
  std::size_t newest(const std::string& subject, std::initializer_list<const char*> kinds) const;

  agent::AgentState begin_, end_;
  std::vector<RecordedStep> steps_;
  std::vector<Place> places_;
  std::vector<Asking> askings_;
  std::map<std::string, std::vector<std::size_t>> by_what_;                // askings of one text, in order
  std::map<std::string, std::size_t> newest_;                              // by kind
  std::map<std::pair<std::uint64_t, std::string>, std::size_t> asked_by_;  // decision and kind
  std::map<std::string, std::vector<ArmedTimer>> timers_;
  std::map<std::string, MonoTime> armed_;  // now
  std::map<std::size_t, std::set<std::string>> existed_;
  std::map<BootId, std::int64_t> offsets_;
  std::size_t world_changed_ = 0;  // first asking after the newest start of the service or of an engine
};

}  // namespace decklog::audit
