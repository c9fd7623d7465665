#include "services/audit/minimise.hpp"

#include <algorithm>
#include <numeric>

#include "events/codec.hpp"
#include "services/agent/recovery.hpp"
#include "services/audit/bundle.hpp"
#include "services/audit/recorded_steps.hpp"
#include "services/audit/replay.hpp"

namespace decklog::audit {
namespace {

using agent::AgentCore;
using agent::AgentState;
using Subset = std::vector<std::size_t>;  // of steps, ascending; the last step is always in

// Where the answer's asking decision is, as the number of its step; the step itself when nobody asked.
std::vector<std::size_t> askers(const std::vector<RecordedStep>& steps) {
  std::vector<std::size_t> asker(steps.size());
  std::iota(asker.begin(), asker.end(), std::size_t{0});
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto* work = std::get_if<WorkFinished>(&steps[i].input.fact);
    if (!work || work->asked_by == 0) continue;
    const auto after = std::upper_bound(
        steps.begin(), steps.end(), Sequence{work->asked_by},
        [](Sequence asked, const RecordedStep& step) { return asked < step.input.sequence; });
    if (after != steps.begin()) asker[i] = static_cast<std::size_t>(after - steps.begin()) - 1;
  }
  return asker;
}

class Shrinker {
 public:
  Shrinker(AgentState begin, std::vector<RecordedStep> steps)
      : begin_(std::move(begin)), steps_(std::move(steps)), asker_(askers(steps_)) {
    Subset all(steps_.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    wanted_ = run(all).back();
  }

  Subset shrink(const std::function<void(std::uint64_t)>& progress) {
    Subset kept(steps_.size());
    std::iota(kept.begin(), kept.end(), std::size_t{0});
    // Delta debugging: chunks are left out, smaller ones each time nothing more can go.
    for (std::size_t chunk = std::max<std::size_t>(1, kept.size() / 2); chunk > 0;) {
      bool shrunk = false;
      // From the end: what came last is most likely needed, what it depends on is found first.
      for (std::size_t begin = 0; begin + 1 < kept.size();) {
        const std::size_t end = std::min(begin + chunk, kept.size() - 1);
        Subset less(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(begin));
        less.insert(less.end(), kept.begin() + static_cast<std::ptrdiff_t>(end), kept.end());
        less = closed(less);
        if (less.back() + 1 == steps_.size() && still_fails(less)) {
          kept = std::move(less);
          shrunk = true;
          if (progress) progress(kept.size());
        } else {
          begin = end;
        }
      }
      if (!shrunk || chunk > kept.size()) chunk /= 2;
    }
    return kept;
  }

  // What this build decides, step by step.
  std::vector<std::vector<Envelope>> run(const Subset& subset) const {
    AgentCore core(begin_);
    std::vector<std::vector<Envelope>> decisions;
    for (const std::size_t i : subset) decisions.push_back(core.take(steps_[i].input));
    return decisions;
  }
  const std::vector<RecordedStep>& steps() const { return steps_; }
  const AgentState& begin() const { return begin_; }
  std::uint64_t tries() const { return tries_; }

 private:
  Subset closed(const Subset& subset) const {
    Subset out;
    for (const std::size_t i : subset) {
      if (asker_[i] == i || std::binary_search(out.begin(), out.end(), asker_[i])) out.push_back(i);
    }
    if (out.empty()) out.push_back(0);
    return out;
  }

  bool still_fails(const Subset& subset) {
    ++tries_;
    const auto got = run(subset);
    if (!same_decisions(wanted_, got.back())) return false;
    // The events keep their sequences; what is decided must fit between the inputs.
    for (std::size_t i = 0; i + 1 < subset.size(); ++i) {
      if (!got[i].empty() && got[i].back().sequence >= steps_[subset[i + 1]].input.sequence) return false;
    }
    return true;
  }

  AgentState begin_;
  std::vector<RecordedStep> steps_;
  std::vector<std::size_t> asker_;
  std::vector<Envelope> wanted_;
  std::uint64_t tries_ = 0;
};

Status write(const persistence::JournalReader& journal, Sequence from, const Shrinker& shrinker,
             const Subset& kept, const std::string& path) {
  BundleWriter writer(path, journal.epoch());
  Sequence next = from;
  if (shrinker.begin().through)
    writer.snapshot(shrinker.begin().through, agent::encode_snapshot(shrinker.begin()));
  const auto decided = shrinker.run(kept);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const RecordedStep& step = shrinker.steps()[kept[i]];
    if (next < step.input.sequence)
      writer.missing({GapKind::kCompacted, next, {step.input.sequence.value - 1}, std::string(kLeftOut)});
    writer.event(step.input.sequence, encode(step.input));
    next = step.input.sequence.next();
    for (const auto& decision : i + 1 == kept.size() ? step.decisions : decided[i]) {
      writer.event(decision.sequence, encode(decision));
      next = decision.sequence.next();
    }
  }
  return writer.finish();
}

}  // namespace

Result<Minimised> minimise(const persistence::JournalReader& journal, const std::string& path,
                           const std::function<void(std::uint64_t)>& progress) {
  const auto report = replay_agent(journal, {.most = 1});
  if (report.divergences.empty())
    return error(Errc::kNotFound, "this build decides as the log has it: there is nothing to minimise");
  Minimised result;
  result.input = report.divergences.front().input;
  // What came before the last loss says nothing about what was decided after it.
  const Sequence from = report.seen_from;
  AgentState begin;
  if (from.value > 1) begin = agent::recover(journal, Sequence{from.value - 1}).state;
  auto steps = read_steps(journal, from, result.input);
  if (!steps) return steps.error();
  Shrinker shrinker(std::move(begin), std::move(*steps));
  result.inputs_before = shrinker.steps().size();
  const Subset kept = shrinker.shrink(progress);
  result.inputs = kept.size();
  result.tries = shrinker.tries();
  if (const auto written = write(journal, from, shrinker, kept, path); !written) return written.error();
  return result;
}

}  // namespace decklog::audit
