// Two logs side by side: two devices, two runs, or what two builds made of one log. Decisions are compared
// stream by stream in their order, whatever their sequences; then the states at the end; then how far apart
// in time the same decisions came. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "persistence/journal.hpp"

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

}  // namespace decklog::audit
