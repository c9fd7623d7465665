#include "services/audit/what_if.hpp"

#include <algorithm>

#include "services/agent/recovery.hpp"
#include "services/audit/replay.hpp"
#include "services/audit/telling.hpp"

namespace decklog::audit {
namespace {

using persistence::JournalReader;
using persistence::MissingRange;

struct Excerpt {
  agent::AgentState begin;
  std::vector<RecordedStep> steps;
};

std::string range_text(Sequence first, Sequence last) {
  return "events " + std::to_string(first.value) + " to " + std::to_string(last.value);
}

// The part of the log that can be lived again: whole steps up to the first thing that is not known.
Result<Excerpt> excerpt_of(const JournalReader& journal, const WhatIfOptions& options, WhatIfReport& report) {
  Excerpt excerpt;
  const Sequence complete = journal.complete_from();
  Sequence from = std::max(options.from ? options.from : Sequence{1}, complete);
  if (!options.from && complete.value > 1)
    report.notes.push_back("events before " + std::to_string(complete.value) + " are not kept here");
  bool cut = false;
  const auto missing = [&](const MissingRange& range) {
    report.notes.push_back("ends early: " + range_text(range.first, range.last) + " are " +
                           name_of(range.kind));
    cut = true;
    return false;
  };
  const auto note = [&](const Envelope& event) {
    const auto* gap = std::get_if<GapRecorded>(&event.fact);
    if (!gap || gap->gap != GapKind::kNotWritten) return true;
    report.notes.push_back("ends early: at event " + std::to_string(event.sequence.value) +
                           " the store had refused events");
    return false;
  };
  auto steps = read_steps(journal, from, options.to ? options.to : journal.durable_sequence(), missing, note);
  if (!steps) return steps.error();
  if (cut && !steps->empty()) steps->pop_back();  // its decisions may be among what is missing
  if (steps->empty()) return error(Errc::kNotFound, "no input in this range of the log");
  excerpt.steps = std::move(*steps);
  const Sequence first = excerpt.steps.front().input.sequence;
  if (first.value > 1) excerpt.begin = agent::recover(journal, Sequence{first.value - 1}).state;
  return excerpt;
}

Result<std::size_t> step_of(const Change& change, const Excerpt& excerpt) {
  const auto& steps = excerpt.steps;
  const auto found =
      std::lower_bound(steps.begin(), steps.end(), change.input,
                       [](const RecordedStep& step, Sequence at) { return step.input.sequence < at; });
  if (found == steps.end() || found->input.sequence != change.input) {
    for (const auto& step : steps) {
      for (const auto& decision : step.decisions) {
        if (decision.sequence == change.input)
          return error(Errc::kInvalidArgument,
                       "event " + std::to_string(change.input.value) + " is a decision, made at input " +
                           std::to_string(step.input.sequence.value) + ": only inputs can be changed",
                       change.text);
      }
    }
    return error(Errc::kInvalidArgument,
                 "no input " + std::to_string(change.input.value) + " among " +
                     range_text(steps.front().input.sequence, steps.back().input.sequence),
                 change.text);
  }
  if (std::holds_alternative<ServiceStarted>(found->input.fact))
    return error(Errc::kInvalidArgument, "a start of the service stays where it is: what follows ran in it",
                 change.text);
  return static_cast<std::size_t>(found - steps.begin());
}

Result<ChangedSteps> changed_steps(const std::vector<Change>& changes, const Excerpt& excerpt) {
  ChangedSteps changed;
  changed.begin = excerpt.begin;
  for (const auto& change : changes) {
    if (change.kind == Change::Kind::kSet) continue;
    const auto step = step_of(change, excerpt);
    if (!step) return step.error();
    if (change.kind == Change::Kind::kDrop)
      changed.dropped.insert(*step);
    else
      changed.delayed[*step] += change.by;
  }
  DocumentChanges documents(changes);
  if (documents.none()) return changed;
  if (const auto applied = documents.apply(changed.begin); !applied) return applied.error();
  for (std::size_t i = 0; i < excerpt.steps.size(); ++i) {
    const auto* desired = std::get_if<DesiredReceived>(&excerpt.steps[i].input.fact);
    if (!desired || desired->problem_code != 0) continue;
    auto text = documents.apply(desired->document);
    if (!text) return text.error();
    changed.documents[i] = std::move(*text);
  }
  if (const auto used = documents.all_used(); !used) return used.error();
  return changed;
}

// What the log has, and what this build makes of it when nothing is changed.
DecidedLife recorded_life(const LivedRecord& record) {
  DecidedLife life;
  life.begin_ns = record.steps().front().input.time.wall.ns;
  for (const auto& step : record.steps()) {
    for (const auto& decision : step.decisions) life.add(decision);
  }
  life.end = end_state(record.end());
  return life;
}

std::vector<PartAtEnd> both_ends(const DecidedLife& recorded, const DecidedLife& told) {
  std::vector<PartAtEnd> parts;
  for (const auto& [part, text] : recorded.end) {
    const auto other = told.end.find(part);
    parts.push_back({part, text, other == told.end.end() ? "not there" : other->second});
  }
  for (const auto& [part, text] : told.end) {
    if (!recorded.end.contains(part)) parts.push_back({part, "not there", text});
  }
  return parts;
}

}  // namespace

Result<WhatIfReport> what_if(const JournalReader& journal, const std::vector<Change>& changes,
                             const WhatIfOptions& options) {
  if (const Status fits = check_replayable(journal); !fits) return fits.error();
  WhatIfReport report;
  auto excerpt = excerpt_of(journal, options, report);
  if (!excerpt) return excerpt.error();
  auto changed = changed_steps(changes, *excerpt);
  if (!changed) return changed.error();
  report.first = excerpt->steps.front().input.sequence;
  report.last = excerpt->steps.back().input.sequence;
  report.inputs = excerpt->steps.size();
  const auto& last = excerpt->steps.back();
  const Sequence end = last.decisions.empty() ? report.last : last.decisions.back().sequence;
  const auto unchanged = replay_agent(journal, {.from = report.first, .to = end, .most = 1});
  if (!unchanged.divergences.empty())
    report.notes.push_back("this build decides otherwise from input " +
                           std::to_string(unchanged.divergences.front().input.value) +
                           " on, also when nothing is changed");
  const LivedRecord record(std::move(excerpt->begin), std::move(excerpt->steps));
  Telling telling(record, std::move(*changed), report);
  telling.run();
  const DecidedLife recorded = recorded_life(record);
  report.streams = diff_lives(recorded, telling.told()).streams;
  report.end = both_ends(recorded, telling.told());
  return report;
}

}  // namespace decklog::audit
