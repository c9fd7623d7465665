#include "services/audit/replay.hpp"

#include "events/build.hpp"
#include "persistence/merkle.hpp"
#include "services/agent/recovery.hpp"
#include "services/audit/sentences.hpp"

namespace decklog::audit {
namespace {

using agent::AgentCore;
using agent::AgentState;

constexpr std::uint64_t kProgressEvery = 65536;

// An input and the decisions that the log has behind it.
struct RecordedStep {
  Envelope input;
  std::vector<Envelope> decisions;
};

class Replay {
 public:
  Replay(const persistence::JournalReader& journal, AgentState state, const ReplayOptions& options,
         ReplayReport& report)
      : journal_(journal), core_(std::move(state)), options_(options), report_(report) {}

  // False when the replay is to end.
  bool take(const Envelope& event) {
    if (!report_.first) report_.first = event.sequence;
    report_.last = event.sequence;
    if (lost_sight_) {
      if (!std::holds_alternative<ServiceStarted>(event.fact)) return follow(event);
      see_again(event.sequence);  // a run begins with what the log says, and nothing else
    }
    if (event.build != last_build_) report_.recorded_by.insert(last_build_ = event.build);
    if (const auto* unknown = std::get_if<UnknownFact>(&event.fact); unknown && !event.may_ignore) {
      report_.not_proven.push_back("event " + std::to_string(event.sequence.value) + " has type " +
                                   std::to_string(unknown->type) + ", unknown to this build");
    }
    const EventKind kind = info(event.fact).kind;
    if (kind == EventKind::kDecision && step_) {
      step_->decisions.push_back(event);
      return true;
    }
    if (!finish_step()) return false;
    if (kind == EventKind::kInput) {
      step_ = RecordedStep{event, {}};
      return true;
    }
    if (const auto* taken = std::get_if<SnapshotTaken>(&event.fact)) compare_state(event, *taken);
    fold(event);
    return true;
  }

  // From here on the device decided from events it could not write. `known`: what it said of its state later.
  void lose_sight(Sequence at, std::optional<persistence::Snapshot> known) {
    own_.reset();
    if (!lost_sight_) lost_sight_ = at;
    if (!known_) known_ = std::move(known);
  }
  bool sees() const { return !lost_sight_; }
  void see_again(Sequence at) {
    report_.not_proven.push_back("events were lost before " + std::to_string(lost_sight_.value) +
                                 ": decisions from there to " + std::to_string(at.value - 1) +
                                 " are taken as they are recorded");
    lost_sight_ = {};
    known_.reset();
  }

  bool finish_step() {
    if (!step_) return true;
    const RecordedStep step = std::move(*step_);
    step_.reset();
    ++report_.inputs;
    report_.decisions += step.decisions.size();
    const auto got = core_.take(step.input);
    const bool same = same_decisions(step.decisions, got);
    bool follows = false;
    if (own_) {
      const auto own = own_->take(step.input);
      follows = same && !same_decisions(step.decisions, own);
      if (follows) note_divergence(step, own, true);
    }
    if (!same) {
      note_divergence(step, got, false);
      if (!own_) own_ = core_;
      // The recorded decisions count from here on. A step that differs is rare: its state is made again.
      core_ = AgentCore(agent::recover(journal_, last_of(step)).state);
    }
    if (options_.step && !options_.step({step.input, step.decisions, got, same})) return false;
    if (options_.progress && report_.inputs % kProgressEvery == 0) options_.progress(step.input.sequence);
    return report_.divergences.size() < options_.most;
  }

  void start_over(AgentState state) {
    step_.reset();
    own_.reset();
    core_ = AgentCore(std::move(state));
  }

  const AgentState& state() const { return own_ ? own_->state() : core_.state(); }

 private:
  bool follow(const Envelope& event) {
    core_.fold(event);
    if (!known_ || event.sequence < known_->through) return true;
    if (auto state = agent::decode_snapshot(known_->bytes)) core_ = AgentCore(std::move(*state));
    see_again(event.sequence.next());
    return true;
  }
  static Sequence last_of(const RecordedStep& step) {
    return step.decisions.empty() ? step.input.sequence : step.decisions.back().sequence;
  }

  void fold(const Envelope& event) {
    core_.fold(event);
    if (own_) own_->fold(event);
  }

  void compare_state(const Envelope& event, const SnapshotTaken& taken) {
    if (own_ || core_.state().through.value != taken.through) return;
    if (state_hash(core_.state()) == taken.digest) {
      ++report_.states_matched;
      return;
    }
    const std::string where = "the state after event " + std::to_string(taken.through);
    if (event.build == build_id())
      report_.state_problems.push_back(where + " is not the one the device had (event " +
                                       std::to_string(event.sequence.value) + ")");
    else
      report_.not_proven.push_back(where + " has another digest than build " + event.build + " gave it");
  }

  void note_divergence(const RecordedStep& step, const std::vector<Envelope>& got, bool consequence) {
    Divergence out;
    out.input = step.input.sequence;
    out.input_text = std::string(info(step.input.fact).name) + " on " + step.input.stream.value + ": " +
                     sentence(step.input);
    out.consequence = consequence;
    out.recorded_by = step.input.build;
    std::size_t i = 0;
    while (i < step.decisions.size() && i < got.size() && step.decisions[i].fact == got[i].fact) ++i;
    if (i < step.decisions.size()) out.expected = step.decisions[i];
    if (i < got.size()) out.got = got[i];
    if (out.expected && out.got) out.fields = differences(out.expected->fact, out.got->fact);
    const Envelope& about = out.expected ? *out.expected : out.got ? *out.got : step.input;
    out.chain = causes_of(journal_, out.expected ? *out.expected : step.input);
    if (const auto before = newest_decision_before(journal_, about.stream, step.input.sequence))
      out.state = fact_json(before->fact);
    report_.divergences.push_back(std::move(out));
  }

  const persistence::JournalReader& journal_;
  AgentCore core_;                // with the recorded decisions behind it
  std::optional<AgentCore> own_;  // from the first divergence on: with this build's own
  const ReplayOptions& options_;
  ReplayReport& report_;
  std::optional<RecordedStep> step_;
  Sequence lost_sight_;  // none = decisions can be made again
  std::optional<persistence::Snapshot> known_;
  std::string last_build_;
};

// The oldest state that was stored at or after `from`.
std::optional<persistence::Snapshot> state_after(const persistence::JournalReader& journal, Sequence from) {
  std::optional<persistence::Snapshot> oldest;
  for (Sequence at = journal.durable_sequence(); at >= from;) {
    auto snapshot = journal.latest_snapshot(persistence::kStateSnapshot, at);
    if (!snapshot || snapshot->through < from) break;
    at = Sequence{snapshot->through.value - 1};
    oldest = std::move(*snapshot);
  }
  return oldest;
}

// State to begin with at `from`: the newest snapshot before it and what follows, folded as recorded.
AgentState state_before(const persistence::JournalReader& journal, Sequence from, ReplayReport& report) {
  if (from.value <= 1) return {};
  auto recovery = agent::recover(journal, Sequence{from.value - 1});
  for (auto& problem : recovery.problems) report.not_proven.push_back(std::move(problem));
  return std::move(recovery.state);
}

}  // namespace

std::string state_hash(const agent::AgentState& state) {
  return persistence::to_hex(persistence::Sha256()({agent::encode_snapshot(state)}));
}

bool same_decisions(std::span<const Envelope> recorded, std::span<const Envelope> got) {
  if (recorded.size() != got.size()) return false;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(recorded[i].fact == got[i].fact)) return false;
  }
  return true;
}

ReplayReport replay_agent(const persistence::JournalReader& journal, const ReplayOptions& options) {
  ReplayReport report;
  const Sequence last = journal.durable_sequence();
  if (!last) return report;
  const Sequence complete = journal.complete_from();
  Sequence from = options.from ? options.from : Sequence{1};
  if (from < complete) {
    report.not_proven.push_back("events before " + std::to_string(complete.value) +
                                " are not kept here: replay starts there");
    from = complete;
  }
  const Sequence to = options.to && options.to < last ? options.to : last;
  Replay replay(journal, state_before(journal, from, report), options, report);
  persistence::Visitor visitor;
  bool ended = false;
  visitor.event = [&](const Envelope& event) {
    if ((ended = !replay.take(event))) return false;
    const auto* gap = std::get_if<GapRecorded>(&event.fact);
    if (gap && gap->gap == GapKind::kNotWritten && replay.sees())
      replay.lose_sight(event.sequence, state_after(journal, event.sequence));
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    report.not_proven.push_back("events " + std::to_string(range.first.value) + " to " +
                                std::to_string(range.last.value) + " are " + name_of(range.kind) +
                                (range.detail.empty() ? "" : ": " + range.detail));
    if ((ended = !replay.finish_step())) return false;
    // What happened in the gap is not known; a later snapshot, if there is one, knows the state behind it.
    const auto snapshot = journal.latest_snapshot(persistence::kStateSnapshot, range.last);
    if (snapshot && snapshot->through >= range.first) {
      if (auto state = agent::decode_snapshot(snapshot->bytes)) replay.start_over(std::move(*state));
    }
    return true;
  };
  if (const auto status = journal.read(from, to, visitor); !status)
    report.not_proven.push_back(describe(status.error()));
  if (!ended) replay.finish_step();
  if (!replay.sees()) replay.see_again(report.last.next());
  report.state_hash = state_hash(replay.state());
  return report;
}

}  // namespace decklog::audit
