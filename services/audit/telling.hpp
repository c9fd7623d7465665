// One telling of a recorded life with changes: the core between what was recorded and what it decides now.
// Private to services/audit; what_if.hpp says the rules. Lives for one run().
#pragma once

#include <map>
#include <queue>
#include <string>
#include <vector>

#include "services/agent/core.hpp"
#include "services/audit/lived_record.hpp"
#include "services/audit/what_if.hpp"

namespace decklog::audit {

// Changes as the telling needs them: by step of the record.
struct ChangedSteps {
  agent::AgentState begin;
  std::map<std::size_t, Duration> delayed;
  std::set<std::size_t> dropped;
  std::map<std::size_t, std::string> documents;  // in the place of the recorded ones
};

class Telling {
 public:
  Telling(const LivedRecord& record, ChangedSteps changes, WhatIfReport& report);

  void run();
  const DecidedLife& told() const { return told_; }
  const agent::AgentState& state() const { return core_.state(); }

 private:
  static constexpr std::size_t kNone = LivedRecord::kNone;
  enum class Fate : std::uint8_t { kWaiting, kFed, kDropped, kPassedOver, kNotReached };

  // Something that is going to happen.
  struct Coming {
    std::int64_t at = 0;
    std::uint64_t order = ~std::uint64_t{0};  // among those of one time: as recorded, then those of our own
    std::size_t step = kNone;                 // recorded; none = a timer that fires only here
    std::string timer = {};                   // key, when it is one
    std::string look = {};                    // module to look at, when it is a look of our own
    std::uint64_t arming = 0;                 // of the timer; a look: run of the service that asked for it
    bool stayed_quiet = false;                // a timer that the log armed, too, and that did not fire there
    friend bool operator>(const Coming& a, const Coming& b) {
      return std::tie(a.at, a.order) > std::tie(b.at, b.order);
    }
  };
  struct Made {
    Sequence by;
    std::uint64_t run = 0;  // of the service
    bool cancelled = false;
  };
  struct Timer {
    std::uint64_t armings = 0;
    bool armed = false;
  };
  struct Downtime {
    std::int64_t from, to;  // exclusive: nobody was there to hear anything
  };

  void find_downtimes();
  const Downtime* downtime_at(std::int64_t at) const;
  void come(Coming coming);
  void take(const Coming& coming);
  bool still_happens(const Coming& coming);
  Envelope input_of(const Coming& coming);
  Fact own_fact(const Coming& coming) const;
  void adapt(Envelope& input, std::size_t step, std::int64_t shift);
  void correct_listing(ModulesListed& listing, std::size_t step) const;
  void begin_run(const Envelope& started);
  void carry_out(const Envelope& decision);
  void ask(const Asked& asked, const Envelope& decision);
  void set_timer(const TimerChange& change);
  bool needs_look(const std::string& module) const;
  bool as_recorded() const;
  void compare(const Coming& coming, const Envelope& input, const std::vector<Envelope>& decisions);
  void depart(std::size_t step, const Envelope* input, const std::vector<Envelope>& decisions);
  void pass_over(std::size_t step);
  void count_fates();

  const LivedRecord& record_;
  ChangedSteps changes_;
  WhatIfReport& report_;
  agent::AgentCore core_;
  DecidedLife told_;
  std::priority_queue<Coming, std::vector<Coming>, std::greater<>> coming_;
  std::vector<Fate> fates_;
  std::vector<Downtime> downtimes_;
  std::map<std::string, std::uint64_t> asked_;  // how often, by what
  std::map<std::size_t, Made> made_;            // recorded asking -> what asked for it here
  std::map<std::string, std::size_t> pulls_;    // newest pull of a module
  std::map<std::string, Timer> timers_;
  Sequence next_;
  std::int64_t now_ = 0, end_ = 0, wall_minus_mono_ = 0;
  std::uint64_t run_ = 0;
  BootId boot_;
  std::string build_;
  std::size_t expected_ = 0;  // recorded step that comes next as long as nothing differs
};

}  // namespace decklog::audit
