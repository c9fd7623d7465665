#include "services/audit/replay.hpp"

#include "services/agent/recovery.hpp"
#include "services/audit/sentences.hpp"

namespace decklog::audit {
namespace {

using agent::AgentCore;
using agent::AgentState;

// An input and the decisions that the log has behind it.
struct RecordedStep {
  Envelope input;
  std::vector<Envelope> decisions;
};

class Replay {
 public:
  Replay(AgentState state, std::size_t most, ReplayReport& report)
      : core_(std::move(state)), most_(most), report_(report) {}

  // False when enough divergences were found.
  bool take(const Envelope& event) {
    if (!report_.first) report_.first = event.sequence;
    report_.last = event.sequence;
    if (lost_sight_) {
      if (!std::holds_alternative<ServiceStarted>(event.fact)) return follow(event);
      see_again(event.sequence);  // a run begins with what the log says, and nothing else
    }
    if (const auto* unknown = std::get_if<UnknownFact>(&event.fact); unknown && !event.may_ignore) {
      report_.not_proven.push_back("event " + std::to_string(event.sequence.value) + " has type " +
                                   std::to_string(unknown->type) + ", unknown to this build");
    }
    switch (info(event.fact).kind) {
      case EventKind::kInput:
        if (!finish_step()) return false;
        step_ = RecordedStep{event, {}};
        return true;
      case EventKind::kDecision:
        if (step_)
          step_->decisions.push_back(event);
        else
          core_.fold(event);
        return true;
      case EventKind::kNote:
        if (!finish_step()) return false;
        core_.fold(event);
        return true;
    }
    return true;
  }

  // From here on the device decided from events it could not write. `known`: what it said of its state later.
  void lose_sight(Sequence at, std::optional<persistence::Snapshot> known) {
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
    // A copy is only needed when a step diverges, which is rare: it is made again from the log then.
    const AgentState before = keep_copies_ ? core_.state() : AgentState{};
    const auto got = core_.take(step.input);
    report_.decisions += step.decisions.size();
    if (same(step.decisions, got)) return true;
    report_.divergences.push_back(difference(step, got));
    if (report_.divergences.size() >= most_) return false;
    core_ = AgentCore(before);
    core_.fold(step.input);
    for (const auto& decision : step.decisions) core_.fold(decision);
    return true;
  }

  void keep_copies(std::size_t most) { keep_copies_ = most > 1; }
  void start_over(AgentState state) {
    step_.reset();
    core_ = AgentCore(std::move(state));
  }

 private:
  bool follow(const Envelope& event) {
    core_.fold(event);
    if (!known_ || event.sequence < known_->through) return true;
    if (auto state = agent::decode_snapshot(known_->bytes)) core_ = AgentCore(std::move(*state));
    see_again(event.sequence.next());
    return true;
  }
  static bool same(const std::vector<Envelope>& recorded, const std::vector<Envelope>& got) {
    if (recorded.size() != got.size()) return false;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (!(recorded[i].fact == got[i].fact)) return false;
    }
    return true;
  }

  static Divergence difference(const RecordedStep& step, const std::vector<Envelope>& got) {
    Divergence out;
    out.input = step.input.sequence;
    out.input_text = std::string(info(step.input.fact).name) + " on " + step.input.stream.value + ": " +
                     sentence(step.input);
    out.recorded_by = step.input.build;
    std::size_t i = 0;
    while (i < step.decisions.size() && i < got.size() && step.decisions[i].fact == got[i].fact) ++i;
    if (i < step.decisions.size()) out.expected = step.decisions[i];
    if (i < got.size()) out.got = got[i];
    if (out.expected && out.got) out.fields = differences(out.expected->fact, out.got->fact);
    out.chain = {step.input.sequence};
    if (out.expected && out.expected->cause && out.expected->cause != step.input.sequence)
      out.chain.insert(out.chain.begin(), out.expected->cause);
    return out;
  }

  AgentCore core_;
  std::size_t most_;
  ReplayReport& report_;
  std::optional<RecordedStep> step_;
  bool keep_copies_ = false;
  Sequence lost_sight_;  // none = decisions can be made again
  std::optional<persistence::Snapshot> known_;
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

ReplayReport replay_agent(const persistence::JournalReader& journal, const ReplayOptions& options) {
  ReplayReport report;
  const Sequence last = journal.durable_sequence();
  if (!last) return report;
  const Sequence complete = journal.complete_from();
  Sequence from = options.from ? options.from : Sequence{1};
  if (from < complete) {
    report.not_proven.push_back("events before " + std::to_string(complete.value) +
                                " were compacted: replay starts there");
    from = complete;
  }
  const Sequence to = options.to && options.to < last ? options.to : last;
  Replay replay(state_before(journal, from, report), options.most, report);
  replay.keep_copies(options.most);
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (!replay.take(event)) return false;
    const auto* gap = std::get_if<GapRecorded>(&event.fact);
    if (gap && gap->gap == GapKind::kNotWritten && replay.sees())
      replay.lose_sight(event.sequence, state_after(journal, event.sequence));
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    report.not_proven.push_back("events " + std::to_string(range.first.value) + " to " +
                                std::to_string(range.last.value) + " are " + name_of(range.kind));
    replay.finish_step();
    // What happened in the gap is not known; a later snapshot, if there is one, knows the state behind it.
    const auto snapshot = journal.latest_snapshot(persistence::kStateSnapshot, range.last);
    if (snapshot && snapshot->through >= range.first) {
      if (auto state = agent::decode_snapshot(snapshot->bytes)) replay.start_over(std::move(*state));
    }
    return true;
  };
  if (const auto status = journal.read(from, to, visitor); !status)
    report.not_proven.push_back(describe(status.error()));
  if (report.divergences.size() < options.most) replay.finish_step();
  if (!replay.sees()) replay.see_again(report.last.next());
  return report;
}

}  // namespace decklog::audit
