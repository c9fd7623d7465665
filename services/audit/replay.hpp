// Re-executes every recorded input through this build's core, under the recorded time and draws, and compares
// decision by decision. No device, no network, no engine. Reads any journal; changes nothing.
//
// After a divergence the recorded decisions are folded, so each further divergence is the next independent
// one and not an echo of the first. A range that is missing is passed over: the state is taken again from the
// next snapshot or, when there is none, from the recorded decisions, and the report says what was not proven.
// Behind events that a full store refused, decisions are taken as recorded up to the next stored state or
// start.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "persistence/journal.hpp"
#include "services/agent/core.hpp"

namespace decklog::audit {

struct Divergence {
  Sequence input;  // the input whose decisions differ
  std::string input_text;
  std::optional<Envelope> expected;     // recorded; none = the log has no decision here
  std::optional<Envelope> got;          // this build's; none = it would not have decided
  std::vector<FieldDifference> fields;  // when both are there
  std::string recorded_by;              // build id of the writer
  std::vector<Sequence> chain;          // causes back from the recorded decision
};

struct ReplayOptions {
  Sequence from, to;     // none = whole log
  std::size_t most = 1;  // divergences to look for
};

struct ReplayReport {
  std::uint64_t inputs = 0, decisions = 0;
  Sequence first, last;
  std::vector<Divergence> divergences;
  std::vector<std::string> not_proven;  // missing ranges, unknown types, in words
  double seconds = 0;                   // filled by the caller that has a clock
};

ReplayReport replay_agent(const persistence::JournalReader& journal, const ReplayOptions& options);

}  // namespace decklog::audit
