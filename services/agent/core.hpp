// The agent's core: input -> decide. One call per input; the machines take every transition, the planner says
// what to tell them. Reads nothing but its state and the input (time and random draw come with it). No I/O,
// no clock. Owner: the service loop, or a replay. One thread at a time.
#pragma once

#include <string_view>
#include <vector>

#include "services/agent/state.hpp"

namespace decklog::agent {

// Numbered behaviour of this build, recorded in ServiceStarted: replay of an older log sees what differs.
inline constexpr std::string_view kBehaviour[] = {"plan-1", "restart-1", "rollback-1"};

class AgentCore {
 public:
  AgentCore() = default;
  explicit AgentCore(AgentState state) : state_(std::move(state)) {}

  const AgentState& state() const { return state_; }

  // Takes an input that has its sequence. Folds it, decides, folds the decisions, and gives them in order
  // with the sequences that follow the input's.
  std::vector<Envelope> take(const Envelope& input);

  // Folds an event as recorded, deciding nothing: recovery.
  void fold(const Envelope& event) {
    apply(state_, event);
    settled_ = false;
  }

  // False when the input would change nothing and is not worth a place in the log (an unchanged observation,
  // a passed probe of a healthy module).
  bool matters(const Fact& input) const;

  // Plan lines for a document that is not applied yet.
  std::vector<std::string> dry_run(const Deployment& deployment) const;

 private:
  AgentState state_;
  bool settled_ = false;  // see Turn
};

}  // namespace decklog::agent
