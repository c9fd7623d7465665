#include "services/audit/replay.hpp"

#include "events/build.hpp"
#include "persistence/merkle.hpp"
#include "services/agent/recovery.hpp"
#include "services/audit/bundle.hpp"
#include "services/audit/sentences.hpp"
#include "services/audit/sight.hpp"
#include "services/hub/recovery.hpp"

namespace decklog::audit {
namespace {

using agent::AgentCore;
using hub::HubCore;
using persistence::JournalReader;

constexpr std::uint64_t kProgressEvery = 65536;

// The step being read. What it is made of keeps its memory from one step to the next.
class StepRead {
 public:
  void begin(const Envelope& input) {
    input_ = input;
    count_ = 0;
    open_ = true;
  }
  void add(const Envelope& decision) {
    if (count_ == decisions_.size()) decisions_.emplace_back();
    decisions_[count_++] = decision;
  }
  void end() { open_ = false; }
  bool open() const { return open_; }
  const Envelope& input() const { return input_; }
  std::span<const Envelope> decisions() const { return std::span(decisions_).first(count_); }
  Sequence last() const { return count_ == 0 ? input_.sequence : decisions_[count_ - 1].sequence; }

 private:
  Envelope input_;
  std::vector<Envelope> decisions_;
  std::size_t count_ = 0;
  bool open_ = false;
};

// What a replay needs to know of a service's core.
template <class Core>
struct Life;

template <>
struct Life<AgentCore> {
  struct Found {
    AgentCore core;
    Sequence snapshot;
    std::uint64_t events = 0;
    bool whole = true;
  };
  static Found recover(const JournalReader& journal, Sequence at) {
    auto found = agent::recover(journal, at);
    return {AgentCore(std::move(found.state)), found.snapshot, found.events, found.problems.empty()};
  }
  static std::optional<AgentCore> decode(std::string_view snapshot) {
    auto state = agent::decode_snapshot(snapshot);
    if (!state) return {};
    return AgentCore(std::move(*state));
  }
  static std::string digest(const AgentCore& core) { return state_hash(core.state()); }
};

template <>
struct Life<HubCore> {
  static hub::Recovery recover(const JournalReader& journal, Sequence at) {
    return hub::recover(journal, at);
  }
  static std::optional<HubCore> decode(std::string_view snapshot) {
    HubCore core;
    if (!core.restore(snapshot)) return {};
    return core;
  }
  static std::string digest(const HubCore& core) {
    return persistence::to_hex(persistence::Sha256()({core.snapshot()}));
  }
};

template <class Core>
class Replay {
 public:
  Replay(const JournalReader& journal, Core core, const ReplayOptions& options, ReplayReport& report)
      : journal_(journal), core_(std::move(core)), options_(options), report_(report) {}

  // False when the replay is to end.
  bool take(const Envelope& event) {
    if (!report_.first) report_.first = report_.seen_from = event.sequence;
    report_.last = event.sequence;
    if (blind_ && !look_again(event)) return true;
    if (event.build != last_build_) report_.recorded_by.insert(last_build_ = event.build);
    if (const auto* unknown = std::get_if<UnknownFact>(&event.fact); unknown && !event.may_ignore) {
      report_.not_proven.push_back("event " + std::to_string(event.sequence.value) + " has type " +
                                   std::to_string(unknown->type) + ", unknown to this build");
    }
    const EventKind kind = info(event.fact).kind;
    if (kind == EventKind::kDecision && step_.open()) {
      step_.add(event);
      return true;
    }
    if (!finish_step()) return false;
    if (kind == EventKind::kInput) {
      step_.begin(event);
      return true;
    }
    if (const auto* taken = std::get_if<SnapshotTaken>(&event.fact)) compare_state(event, *taken);
    fold(event);
    return true;
  }

  // From `at` on decisions cannot be compared, because of what is missing before it.
  void lose_sight(Sequence at, const std::string& why, KnownAgain again) {
    own_.reset();
    if (blind_)
      blind_->why += ", " + why;
    else
      blind_ = Blind{at, why, {}};
    blind_->again = std::move(again);
  }

  // At the end: nothing showed the state again.
  void end() {
    if (blind_) say_blind("");
  }

  // `open`: what follows is missing, and may hold more decisions of this step.
  bool finish_step(bool open = false) {
    if (!step_.open()) return true;
    step_.end();
    const Envelope& input = step_.input();
    const auto recorded = step_.decisions();
    ++report_.inputs;
    report_.decisions += recorded.size();
    auto got = core_.take(input);
    if (open && recorded.size() < got.size()) got.resize(recorded.size());
    const bool same = same_decisions(recorded, got);
    if (own_) {
      const auto own = own_->take(input);
      if (same && !same_decisions(recorded, own)) note_divergence(own, true);
    }
    if (!same) {
      note_divergence(got, false);
      if (!own_) own_ = core_;
      // The recorded decisions count from here on. A step that differs is rare: its state is made again.
      core_ = Life<Core>::recover(journal_, step_.last()).core;
    }
    if (options_.step && !options_.step({input, recorded, got, same})) return false;
    if (options_.progress && report_.inputs % kProgressEvery == 0) options_.progress(input.sequence);
    return report_.divergences.size() < options_.most;
  }

  const Core& core() const { return own_ ? *own_ : core_; }

 private:
  struct Blind {
    Sequence from;
    std::string why;
    KnownAgain again;
  };

  void say_blind(const std::string& until) {
    report_.not_proven.push_back("not comparable from sequence " + std::to_string(blind_->from.value) + " (" +
                                 blind_->why + ")" + until);
  }
  void see_again(Sequence at) {
    if (blind_->from < at)
      say_blind(" to " + std::to_string(at.value - 1));
    else
      say_blind(": the state behind them was stored");
    report_.seen_from = at;
    blind_.reset();
  }
  bool take_state(const persistence::Snapshot& stored) {
    auto core = Life<Core>::decode(stored.bytes);
    if (core) core_ = std::move(*core);
    return core.has_value();
  }

  // While blind: the event is taken as recorded. True when it can be compared again.
  bool look_again(const Envelope& event) {
    const auto& stored = blind_->again.state;
    if (stored && stored->through < event.sequence && take_state(*stored)) {
      see_again(event.sequence);
      return true;
    }
    if (event.sequence == blind_->again.start) {
      core_ = Life<Core>::recover(journal_, Sequence{event.sequence.value - 1}).core;
      see_again(event.sequence);
      return true;
    }
    core_.fold(event);
    return false;
  }

  void fold(const Envelope& event) {
    core_.fold(event);
    if (own_) own_->fold(event);
  }

  void compare_state(const Envelope& event, const SnapshotTaken& taken) {
    if (own_ || core_.state().through.value != taken.through) return;
    if (Life<Core>::digest(core_) == taken.digest) {
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

  void note_divergence(const std::vector<Envelope>& got, bool consequence) {
    const Envelope& input = step_.input();
    const auto recorded = step_.decisions();
    Divergence out;
    out.input = input.sequence;
    out.input_text =
        std::string(info(input.fact).name) + " on " + input.stream.value + ": " + sentence(input);
    out.consequence = consequence;
    out.recorded_by = input.build;
    std::size_t i = 0;
    while (i < recorded.size() && i < got.size() && recorded[i].fact == got[i].fact) ++i;
    if (i < recorded.size()) out.expected = recorded[i];
    if (i < got.size()) out.got = got[i];
    if (out.expected && out.got) out.fields = differences(out.expected->fact, out.got->fact);
    const Envelope& about = out.expected ? *out.expected : out.got ? *out.got : input;
    out.chain = causes_of(journal_, out.expected ? *out.expected : input);
    if (const auto before = newest_decision_before(journal_, about.stream, input.sequence))
      out.state = fact_json(before->fact);
    report_.divergences.push_back(std::move(out));
  }

  const JournalReader& journal_;
  Core core_;                // with the recorded decisions behind it
  std::optional<Core> own_;  // from the first divergence on: with this build's own
  const ReplayOptions& options_;
  ReplayReport& report_;
  StepRead step_;
  std::optional<Blind> blind_;  // decisions cannot be made again
  std::string last_build_;
};

// State to begin with at `from`: the newest snapshot before it and what follows, folded as recorded. What was
// missing on the way is given to `missing`.
template <class Core>
Core core_before(const JournalReader& journal, Sequence from,
                 const std::function<void(const persistence::MissingRange&)>& missing) {
  if (from.value <= 1) return {};
  const Sequence end{from.value - 1};
  auto recovery = Life<Core>::recover(journal, end);
  if (!recovery.snapshot && recovery.events == 0) {
    missing({GapKind::kLost, Sequence{1}, end, "the log begins here, without a state"});
    return {};
  }
  persistence::Visitor visitor;
  visitor.event = [](const Envelope&) { return true; };
  visitor.missing = [&](const persistence::MissingRange& range) {
    missing(range);
    return true;
  };
  if (!recovery.whole) (void)journal.read(recovery.snapshot.next(), end, visitor);
  return std::move(recovery.core);
}

// Of the first run that the log tells of; of the newest state, when none is kept.
std::string service_of(const JournalReader& journal) {
  std::string service;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    if (const auto* started = std::get_if<ServiceStarted>(&event.fact)) service = started->service;
    return service.empty();
  };
  visitor.missing = [](const persistence::MissingRange&) { return true; };
  (void)journal.read_stream(StreamId::service(), {1}, visitor);
  if (!service.empty()) return service;
  const auto state = journal.latest_snapshot(persistence::kStateSnapshot, journal.durable_sequence());
  return state && Life<HubCore>::decode(state->bytes) ? "hub" : "";
}

template <class Core>
ReplayReport replay_as(const JournalReader& journal, const ReplayOptions& options) {
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
  std::vector<persistence::MissingRange> before;
  Replay<Core> replay(journal,
                      core_before<Core>(journal, from, [&](const auto& range) { before.push_back(range); }),
                      options, report);
  for (const auto& range : before) replay.lose_sight(from, lost_text(range), known_after(journal, range));
  persistence::Visitor visitor;
  bool ended = false;
  visitor.event = [&](const Envelope& event) {
    if ((ended = !replay.take(event))) return false;
    const auto* gap = std::get_if<GapRecorded>(&event.fact);
    if (gap && gap->gap == GapKind::kNotWritten)
      replay.lose_sight(event.sequence, std::to_string(gap->count) + " events before it were not written",
                        known_after_refusal(journal, event.sequence));
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    if ((ended = !replay.finish_step(true))) return false;
    if (range.detail == kLeftOut)
      report.not_proven.push_back(lost_text(range));
    else
      replay.lose_sight(range.last.next(), lost_text(range), known_after(journal, range));
    return true;
  };
  const auto status = journal.read(from, to, visitor);
  if (!status) report.not_proven.push_back(describe(status.error()));
  if (!ended && to == last && !ends_whole(journal))
    report.not_proven.push_back("the bundle has no end mark: what followed event " +
                                std::to_string(last.value) + " may have been cut off");
  if (!ended) replay.finish_step(!status || to < last || !ends_whole(journal));
  replay.end();
  report.state_hash = Life<Core>::digest(replay.core());
  return report;
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

Status check_replayable(const JournalReader& journal) {
  const std::string service = service_of(journal);
  if (service.empty() || service == "agent") return {};
  return error(Errc::kUnsupported,
               "this is the log of the " + service + "; only an agent's can be made another", "log");
}

ReplayReport replay_agent(const JournalReader& journal, const ReplayOptions& options) {
  return replay_as<AgentCore>(journal, options);
}

ReplayReport replay_log(const JournalReader& journal, const ReplayOptions& options) {
  if (service_of(journal) == "hub") return replay_as<HubCore>(journal, options);
  return replay_agent(journal, options);
}

}  // namespace decklog::audit
