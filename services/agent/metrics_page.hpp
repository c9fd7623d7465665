// The agent's /metrics: a function of its state, its tally and what the machine says. Pure; any thread.
#pragma once

#include <map>
#include <string>

#include "observability/exposition.hpp"
#include "observability/tally.hpp"
#include "persistence/journal.hpp"
#include "services/agent/metrics_host.hpp"
#include "services/agent/state.hpp"

namespace decklog::agent {

struct MetricsView {
  const AgentState& state;
  const observability::Tally& tally;
  const std::map<std::string, std::uint64_t>& methods;  // direct methods since start, by name
  persistence::JournalStats journal;
  Sequence newest;  // durable
  std::uint64_t lag_events = 0;
  HostFacts host;
  MonoTime started, now;  // of the same boot
  observability::Labels common;
};

std::string metrics_page(const MetricsView& view);

}  // namespace decklog::agent
