// What a what-if changes in a recorded life, as people write it:
//     drop=SEQ             the input SEQ never came
//     delay=SEQ:DURATION   it came later ("30s", "1m30s")
//     set=PATH=VALUE       every desired document says so: modules.sensor.restartPolicy=never
// PATH names members from the document's root with dots; the module it names must be in the document, members
// below it are made. VALUE is JSON, or else a text. Errors name the change as it was written. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "events/event.hpp"
#include "events/result.hpp"
#include "services/agent/state.hpp"

namespace decklog::audit {

struct Change {
  enum class Kind : std::uint8_t { kDrop = 1, kDelay = 2, kSet = 3 } kind = Kind::kDrop;
  std::string text;         // as written
  Sequence input;           // drop, delay
  Duration by{};            // delay
  std::string path, value;  // set
};

Result<Change> parse_change(const std::string& text);

// The `set` changes of a list, applied to documents.
class DocumentChanges {
 public:
  explicit DocumentChanges(const std::vector<Change>& changes);

  bool none() const { return changes_.empty(); }
  // The document with every change that has its place in it; kInvalidArgument when the agent would refuse the
  // outcome.
  Result<std::string> apply(const std::string& document);
  Status apply(agent::AgentState& state);
  // The first change that had no place in any document so far; kInvalidArgument.
  Status all_used() const;

 private:
  std::vector<Change> changes_;
  std::vector<bool> used_;
};

}  // namespace decklog::audit
