// A recorded life lived again with something changed. HYPOTHETICAL: nothing of it happened, nothing is
// written.
//
// The recorded inputs go through this build's core; what a decision asks for is answered with what was
// recorded for the same asking, as long after it as on the device. An answer whose asking does not happen any
// more is passed over and counted; an asking without a recorded answer stays open and is named, for the log
// does not know that world; only a look at a module is then answered with what was last seen of it here.
// Timers fire by the decisions that armed them. What comes from outside (documents, operators, engines,
// starts of the service) comes when it came. The life ends where the log ends, or before the first range that
// is missing.
//
// Pure; the caller's thread; holds the part of the log in question in memory. Errors: kInvalidArgument names
// the change that is not possible, kNotFound says that there is nothing to begin with,
// kUnsupported that it is not an agent's log.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "services/audit/change.hpp"
#include "services/audit/diff.hpp"

namespace decklog::audit {

// Where the told life leaves the recorded one.
struct Departure {
  Sequence input;  // recorded; none = a timer that only fires here
  std::string input_text;
  std::optional<Envelope> recorded;     // none = the log has no (further) decision here
  std::optional<Envelope> told;         // none = not decided here
  std::vector<FieldDifference> fields;  // when both are there
};

// A part of the device at the end: "module sensor", "deployment", "uplink".
struct PartAtEnd {
  std::string part, recorded, told;
  bool same() const { return recorded == told; }
};

struct WhatIfReport {
  Sequence first, last;                   // recorded inputs lived through
  std::uint64_t inputs = 0;               // recorded ones
  std::uint64_t fed = 0;                  // of them, those that came here too,
  std::uint64_t moved = 0;                // of those, at another time,
  std::uint64_t no_news = 0;              // or as no news, which the core does not take
  std::uint64_t dropped = 0;              // left out by a change
  std::uint64_t passed_over = 0;          // their asking does not happen here (any more)
  std::uint64_t not_reached = 0;          // would come after the log's end
  std::uint64_t timers = 0;               // fired here only
  std::uint64_t looks = 0;                // at a runtime that the log does not answer: as last seen here
  std::uint64_t decisions = 0;            // told
  std::vector<std::string> passed;        // the first of the passed over, in words
  std::vector<std::string> unanswered;    // askings that the log has no answer for
  std::vector<std::string> notes;         // where it ends early; what this build decides otherwise anyway
  std::optional<Departure> departure;     // none = the changes change nothing
  std::vector<StreamDifference> streams;  // what was decided otherwise; A = recorded, B = told
  std::vector<PartAtEnd> end;
};

struct WhatIfOptions {
  Sequence from, to;  // none = whole log
};

Result<WhatIfReport> what_if(const persistence::JournalReader& journal, const std::vector<Change>& changes,
                             const WhatIfOptions& options = {});

}  // namespace decklog::audit
