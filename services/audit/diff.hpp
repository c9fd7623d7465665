// Two logs side by side: two devices, two runs, or what two builds made of one log. Decisions are compared
// stream by stream in their order, whatever their sequences; then the states at the end; then how far apart
// in time the same decisions came. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "persistence/journal.hpp"
#include "services/agent/state.hpp"

namespace decklog::audit {

struct StreamDifference {
  std::string stream;
  std::uint64_t same = 0;        // decisions before the first that differs
  std::optional<Envelope> a, b;  // the first that differs; none = that log has no further one
  std::vector<FieldDifference> fields;
};

struct LogDifference {
  std::uint64_t decisions_a = 0, decisions_b = 0, same = 0;
  std::vector<StreamDifference> streams;  // that differ
  std::vector<FieldDifference> state;     // at the end: module or part, in A and in B
  std::int64_t apart_max_ns = 0;          // same decisions: later in one log than in the other,
  std::string apart_where;                // counted from each log's beginning

  bool equal() const { return streams.empty() && state.empty(); }
};

LogDifference diff_logs(const persistence::JournalReader& a, const persistence::JournalReader& b);

// What was decided in one life, and what came of it.
struct DecidedLife {
  std::map<std::string, std::vector<Envelope>> by_stream;
  std::uint64_t count = 0;
  std::int64_t begin_ns = 0;               // wall
  std::map<std::string, std::string> end;  // part of the device -> its state in words

  void add(const Envelope& decision);
};
LogDifference diff_lives(const DecidedLife& a, const DecidedLife& b);
std::map<std::string, std::string> end_state(const agent::AgentState& state);

}  // namespace decklog::audit
