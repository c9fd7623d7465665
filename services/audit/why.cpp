#include "services/audit/why.hpp"

#include <algorithm>

#include "services/agent/recovery.hpp"
#include "services/agent/report.hpp"
#include "services/audit/sentences.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::audit {
namespace {

// One event by its sequence; the log is read in a range of one.
std::optional<Envelope> event_at(const persistence::JournalReader& journal, Sequence sequence) {
  std::optional<Envelope> found;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    found = event;
    return false;
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  (void)journal.read(sequence, sequence, visitor);
  return found;
}

std::vector<Envelope> stream_events(const persistence::JournalReader& journal, const StreamId& stream) {
  std::vector<Envelope> events;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    events.push_back(event);
    return true;
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  (void)journal.read_stream(stream, Sequence{1}, visitor);
  return events;
}

const Envelope* newest_decision(const std::vector<Envelope>& events) {
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    const auto* fact = std::get_if<ModuleTransitioned>(&event->fact);
    // A step that only adjusts settings is not what people ask about.
    if (fact && (fact->from != fact->to || fact->effects != 0)) return &*event;
  }
  return nullptr;
}

bool shutdown_decision(const Envelope& event) {
  const auto* fact = std::get_if<ModuleTransitioned>(&event.fact);
  return fact && fact->reason == ModuleReason::kEngineGone && fact->from == fact->to;
}

// The exit that made a module back off, and the start that came before it.
Sequence run_before(const Envelope& event, const std::vector<Envelope>& stream) {
  for (auto before = stream.rbegin(); before != stream.rend(); ++before) {
    if (before->sequence >= event.sequence) continue;
    const auto* fact = std::get_if<ModuleTransitioned>(&before->fact);
    if (fact && fact->to == ModuleState::kRunning && fact->from != ModuleState::kRunning)
      return before->sequence;
  }
  return {};
}

std::vector<WhyLink> chain_back(const persistence::JournalReader& journal, const Envelope& event,
                                const std::vector<Envelope>& stream) {
  std::vector<WhyLink> chain;
  std::optional<Envelope> at = event;
  while (at) {
    chain.push_back({*at, sentence(*at)});
    const Sequence before = led_by(*at, stream);
    if (!before || before >= at->sequence) break;
    at = event_at(journal, before);
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

}  // namespace

std::vector<WhyLink> causes_of(const persistence::JournalReader& journal, const Envelope& event) {
  return chain_back(journal, event, stream_events(journal, event.stream));
}

std::optional<Envelope> newest_decision_before(const persistence::JournalReader& journal,
                                               const StreamId& stream, Sequence before) {
  std::optional<Envelope> newest;
  for (auto& event : stream_events(journal, stream)) {
    if (event.sequence < before && info(event.fact).kind == EventKind::kDecision) newest = std::move(event);
  }
  return newest;
}

Sequence led_by(const Envelope& event, const std::vector<Envelope>& stream_before) {
  if (event.cause) return event.cause;
  if (const auto* work = std::get_if<WorkFinished>(&event.fact)) return Sequence{work->asked_by};
  if (std::holds_alternative<TimerFired>(event.fact)) {
    for (auto before = stream_before.rbegin(); before != stream_before.rend(); ++before) {
      if (before->sequence >= event.sequence) continue;
      const auto* fact = std::get_if<ModuleTransitioned>(&before->fact);
      if (fact && (fact->effects & statemachines::kArmTimer)) return before->sequence;
    }
  }
  if (std::holds_alternative<ModuleObserved>(event.fact) || std::holds_alternative<ProbeFinished>(event.fact))
    return run_before(event, stream_before);
  return {};
}

Result<WhyAnswer> why(const persistence::JournalReader& journal, const ModuleName& module,
                      std::size_t most_links) {
  const auto events = stream_events(journal, StreamId::module(module));
  const Envelope* newest = newest_decision(events);
  if (!newest) return error(Errc::kNotFound, "the log knows no such module", module.value);
  WhyAnswer answer;
  answer.chain = chain_back(journal, *newest, events);
  std::erase_if(answer.chain, [](const WhyLink& link) { return shutdown_decision(link.event); });
  if (answer.chain.size() > most_links) {
    // The deployment at the beginning and the newest links say most; what is between repeats itself.
    const std::size_t head = std::min<std::size_t>(2, most_links / 2);
    answer.left_out = answer.chain.size() - most_links;
    answer.chain.erase(answer.chain.begin() + static_cast<std::ptrdiff_t>(head),
                       answer.chain.begin() + static_cast<std::ptrdiff_t>(head + answer.left_out));
  }
  const auto recovery = agent::recover(journal);
  const auto record = recovery.state.modules.find(module);
  const auto& life = std::get<ModuleTransitioned>(newest->fact);
  answer.headline = module.value + " is " + name_of(life.to) + " since " + to_rfc3339(newest->time.wall);
  if (record != recovery.state.modules.end())
    answer.headline += " (" + agent::module_description(record->second, recovery.state.desired(module)) + ")";
  const auto& report = recovery.state.report;
  if (report.through >= newest->sequence.value)
    answer.reported = "the fleet knows: reported up to event " + std::to_string(report.through) +
                      ", revision " + std::to_string(report.revision);
  else
    answer.reported =
        "not reported yet: the fleet holds the state up to event " + std::to_string(report.through);
  return answer;
}

}  // namespace decklog::audit
