// The causal chain behind a module's present state, from the deployment to the reported patch, in plain
// words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "persistence/journal.hpp"

namespace decklog::audit {

struct WhyLink {
  Envelope event;
  std::string text;
};

struct WhyAnswer {
  std::string headline;        // "sensor is backing-off since 03:15:19Z: ..."
  std::vector<WhyLink> chain;  // oldest first; the last one is the newest decision
  std::string reported;        // whether the fleet knows
  std::size_t left_out = 0;    // links between the deployment and the first one shown
};

// kNotFound when the log never heard of the module.
Result<WhyAnswer> why(const persistence::JournalReader& journal, const ModuleName& module,
                      std::size_t most_links = 14);

// The events that led to this one, oldest first; it is the last.
std::vector<WhyLink> causes_of(const persistence::JournalReader& journal, const Envelope& event);

std::optional<Envelope> newest_decision_before(const persistence::JournalReader& journal,
                                               const StreamId& stream, Sequence before);

// The event that led to this one: its cause, the decision that asked for the work, the one that armed the
// timer.
Sequence led_by(const Envelope& event, const std::vector<Envelope>& stream_before);

}  // namespace decklog::audit
