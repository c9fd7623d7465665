// Re-executes every recorded input through this build's core of the service that wrote the log, under the
// recorded time and draws, and compares decision by decision. No device, no network, no engine. Reads any
// journal; changes nothing.
//
// The first divergence is told whole. From there on two cores go on: one with what this build decided, one
// with what the log has. A later step that differs only for the first is a consequence; one that differs for
// the second too is independent. Behind events that are missing, decisions cannot be compared: they are taken
// as recorded until the device's state is known again (a stored state, or a run that began from what the log
// has), and the report says from where to where. The last step before such a range, or of a log that may have
// been cut, need not have all its decisions. Where the log holds the digest of the device's state, the
// replayed state is held to it.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "persistence/journal.hpp"
#include "services/agent/core.hpp"
#include "services/audit/why.hpp"

namespace decklog::audit {

struct Divergence {
  Sequence input;  // the input whose decisions differ
  std::string input_text;
  bool consequence = false;             // of an earlier one; the first never is
  std::optional<Envelope> expected;     // recorded; none = the log has no decision here
  std::optional<Envelope> got;          // this build's; none = it would not have decided
  std::vector<FieldDifference> fields;  // when both are there
  std::string state;                    // what both decided by: the newest decision of that stream, as JSON
  std::string recorded_by;              // build id of the writer
  std::vector<WhyLink> chain;           // causes back to where it began, oldest first
};

// One input, what the log has behind it, and what this build decided.
struct ReplayedStep {
  const Envelope& input;
  std::span<const Envelope> recorded, got;
  bool same = true;
};

struct ReplayOptions {
  Sequence from, to;                                   // none = whole log
  std::size_t most = 10;                               // divergences to look for
  std::function<bool(const ReplayedStep&)> step = {};  // false ends the replay
  std::function<void(Sequence)> progress = {};         // now and then
};

struct ReplayReport {
  std::uint64_t inputs = 0, decisions = 0;
  Sequence first, last;
  Sequence seen_from;  // from here to the end (or the last divergence) everything could be compared
  std::vector<Divergence> divergences;
  // "not comparable from sequence 13 (events 9..12 lost)", unknown types, in words
  std::vector<std::string> not_proven;
  std::vector<std::string> state_problems;  // the device's state, by its digest, was another one
  std::uint64_t states_matched = 0;         // digests of the device's state that hold
  std::string state_hash;                   // of the state at the end: equal runs, equal hash
  std::set<std::string> recorded_by;        // build ids
  double seconds = 0;                       // filled by the caller that has a clock

  bool honest() const { return divergences.empty() && state_problems.empty(); }
};

// An agent's log or a hub's, as the log itself says; an agent's when it does not say.
ReplayReport replay_log(const persistence::JournalReader& journal, const ReplayOptions& options);
ReplayReport replay_agent(const persistence::JournalReader& journal, const ReplayOptions& options);
// kUnsupported for another service's log: what is told otherwise, or made smaller, is an agent's.
Status check_replayable(const persistence::JournalReader& journal);

// Hex SHA-256 of the state's snapshot.
std::string state_hash(const agent::AgentState& state);
bool same_decisions(std::span<const Envelope> recorded, std::span<const Envelope> got);

}  // namespace decklog::audit
