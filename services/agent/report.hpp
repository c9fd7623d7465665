// The reported document ($edgeAgent reported properties): a projection of the agent's state, nothing of its
// own. Shape: Azure IoT Edge's, with `deployment` and `decklog` (epoch, sequence, as-of time) beside it.
// Times are RFC 3339 with Z; "never happened" is left out instead of being a year-one date. Pure; any thread.
#pragma once

#include <string>

#include "services/agent/state.hpp"

namespace decklog::agent {

struct ReportContext {
  std::string build;
  std::string architecture;
  std::uint64_t epoch = 0;
  WallTime as_of;
  std::string tree_head;  // newest signed head as JSON, or empty
};

struct Report {
  std::string json;
  std::string
      digest;  // over everything but sequence, as-of time and tree head: equal digest, nothing new to say
  std::uint64_t through = 0;  // newest event it covers
};

Report make_report(const AgentState& state, const ReportContext& context);

// One module in words, for statusDescription, `list` and `why`: "exit code 1; try 3 of 20 at
// 2026-11-24T03:15:19Z (step 40s, drawn 31s)".
std::string module_description(const ModuleRecord& module, const DesiredModule* desired);

}  // namespace decklog::agent
