#include "services/audit/telling.hpp"

#include <algorithm>

#include "services/audit/replay.hpp"
#include "services/audit/sentences.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::audit {
namespace {

constexpr std::size_t kMostNamed = 20;
// Asked what a module does, a runtime answers within this; otherwise we say what was last seen here.
constexpr Duration kLookAnswered = std::chrono::seconds(1);
// Timers of our own may follow from each other without end; the recorded life never does.
constexpr std::uint64_t kMostOwnTimers = 1'000'000;

// An answer is given to a run of the service; what is seen of a module can be seen by the next one too.
bool dies_with_service(const Fact& fact) {
  return std::holds_alternative<WorkFinished>(fact) || std::holds_alternative<LinkObserved>(fact) ||
         std::holds_alternative<PullProgressed>(fact);
}

std::string named(const Envelope& input) {
  return std::string(info(input.fact).name) + " on " + input.stream.value + ": " + sentence(input);
}

// The same key fires with the same draw in every telling.
std::uint64_t own_draw(const std::string& key, std::uint64_t arming) {
  std::uint64_t draw = 1469598103934665603ull;
  for (const unsigned char c : key) draw = (draw ^ c) * 1099511628211ull;
  return (draw ^ arming) * 0x9E3779B97F4A7C15ull;
}

}  // namespace

Telling::Telling(const LivedRecord& record, ChangedSteps changes, WhatIfReport& report)
    : record_(record),
      changes_(std::move(changes)),
      report_(report),
      core_(changes_.begin),
      fates_(record.steps().size()) {
  find_downtimes();
  boot_ = changes_.begin.boot;
  next_ = changes_.begin.through.next();
}

void Telling::find_downtimes() {
  for (std::size_t i = 1; i < record_.steps().size(); ++i) {
    if (std::holds_alternative<ServiceStarted>(record_.steps()[i].input.fact))
      downtimes_.push_back({record_.place(i - 1).at, record_.place(i).at});
  }
}

const Telling::Downtime* Telling::downtime_at(std::int64_t at) const {
  const auto after =
      std::lower_bound(downtimes_.begin(), downtimes_.end(), at,
                       [](const Downtime& down, std::int64_t time) { return down.to <= time; });
  return after == downtimes_.end() || at <= after->from ? nullptr : &*after;
}

void Telling::run() {
  for (std::size_t i = 0; i < fates_.size(); ++i) {
    end_ = std::max(end_, record_.place(i).at);
    if (record_.place(i).timing == LivedRecord::Timing::kAbsolute)
      come({record_.place(i).at, record_.steps()[i].input.sequence.value, i});
  }
  if (!fates_.empty()) now_ = record_.place(0).at;
  for (const auto& timer : timers_of(changes_.begin)) set_timer(timer);
  while (!coming_.empty() && coming_.top().at <= end_) {
    Coming next = coming_.top();
    coming_.pop();
    const bool given =
        next.step != kNone && record_.place(next.step).timing == LivedRecord::Timing::kAbsolute;
    if (const Downtime* down = downtime_at(next.at); down && !given) {
      next.at = down->to;
      next.order = ~std::uint64_t{0};
      coming_.push(std::move(next));
      continue;
    }
    now_ = next.at;
    take(next);
    if (report_.timers > kMostOwnTimers) {
      report_.notes.push_back("ends early: timers follow from each other without end");
      break;
    }
  }
  if (!report_.departure) {
    for (; expected_ < fates_.size() && !report_.departure; ++expected_) depart(expected_, nullptr, {});
  }
  count_fates();
  told_.end = end_state(core_.state());
}

// Drops and delays are made here, where everything that is to happen passes by.
void Telling::come(Coming coming) {
  if (coming.step != kNone) {
    if (changes_.dropped.contains(coming.step)) {
      fates_[coming.step] = Fate::kDropped;
      return;
    }
    if (const auto delayed = changes_.delayed.find(coming.step); delayed != changes_.delayed.end())
      coming.at += delayed->second.count();
  }
  coming_.push(std::move(coming));
}

bool Telling::still_happens(const Coming& coming) {
  if (!coming.timer.empty()) {
    Timer& timer = timers_[coming.timer];
    const bool fires = timer.armed && timer.armings == coming.arming;
    if (fires) timer.armed = false;
    // The service ended in the moment it was due.
    return fires && !(coming.stayed_quiet && as_recorded());
  }
  if (!coming.look.empty()) return coming.arming == run_ && needs_look(coming.look);
  const auto& place = record_.place(coming.step);
  if (place.asking == kNone) return true;
  const auto made = made_.find(place.asking);
  if (made == made_.end()) return false;
  const Envelope& input = record_.steps()[coming.step].input;
  if (!dies_with_service(input.fact))
    return place.timing == LivedRecord::Timing::kAbsolute || input.boot == boot_;
  return made->second.run == run_ && !made->second.cancelled;
}

void Telling::take(const Coming& coming) {
  if (!still_happens(coming)) {
    if (coming.step != kNone) pass_over(coming.step);
    return;
  }
  const Envelope input = input_of(coming);
  if (coming.step == kNone) ++(coming.timer.empty() ? report_.looks : report_.timers);
  if (const auto* started = std::get_if<ServiceStarted>(&input.fact); started) begin_run(input);
  std::vector<Envelope> decisions;
  if (core_.matters(input.fact)) {
    decisions = core_.take(input);
    next_ = (decisions.empty() ? input.sequence : decisions.back().sequence).next();
  } else {
    ++report_.no_news;
  }
  compare(coming, input, decisions);
  for (const auto& decision : decisions) {
    told_.add(decision);
    carry_out(decision);
  }
  report_.decisions += decisions.size();
}

Envelope Telling::input_of(const Coming& coming) {
  Envelope input;
  if (coming.step != kNone) {
    input = record_.steps()[coming.step].input;
    fates_[coming.step] = Fate::kFed;
    const std::int64_t shift = now_ - record_.place(coming.step).at;
    report_.moved += shift != 0;
    adapt(input, coming.step, shift);
    build_ = input.build;
  } else {
    input.fact = own_fact(coming);
    input.stream = stream_of(input.fact);
    input.time.mono.ns = now_ - record_.offset(boot_);
    input.time.wall.ns = input.time.mono.ns + wall_minus_mono_;
    input.boot = boot_;
    input.random = own_draw(coming.timer + coming.look, coming.arming);
    input.build = build_;
  }
  wall_minus_mono_ = input.time.wall.ns - input.time.mono.ns;
  if (told_.begin_ns == 0) told_.begin_ns = input.time.wall.ns;
  // As long as nothing differs, everything has the sequence it has in the log.
  input.sequence = report_.departure ? next_ : std::max(next_, input.sequence);
  return input;
}

// As long as nothing differs the log itself answers, or nobody did.
bool Telling::needs_look(const std::string& module) const {
  const auto found = core_.state().modules.find(ModuleName(module));
  return report_.departure && found != core_.state().modules.end() && found->second.life.blind;
}

// Whatever the log holds up to now happened here, too.
bool Telling::as_recorded() const {
  for (std::size_t i = expected_; i < fates_.size() && record_.place(i).at < now_; ++i) {
    if (fates_[i] != Fate::kFed) return false;
  }
  return !report_.departure;
}

Fact Telling::own_fact(const Coming& coming) const {
  if (!coming.timer.empty()) return TimerFired{coming.timer};
  ModuleObserved seen = core_.state().modules.at(ModuleName(coming.look)).observed;
  // What ran when the device went down does not run after it.
  if (seen.presence == static_cast<std::uint8_t>(runtime::Presence::kRunning) && !seen.boot.empty() &&
      seen.boot != boot_.value)
    seen.presence = static_cast<std::uint8_t>(runtime::Presence::kExited);
  return seen;
}

void Telling::adapt(Envelope& input, std::size_t step, std::int64_t shift) {
  input.time.mono.ns += shift;
  input.time.wall.ns += shift;
  if (auto* work = std::get_if<WorkFinished>(&input.fact)) {
    const auto made = made_.find(record_.place(step).asking);
    if (made != made_.end()) work->asked_by = made->second.by.value;
  } else if (auto* seen = std::get_if<ModuleObserved>(&input.fact)) {
    if (seen->started_at_ns != 0) seen->started_at_ns += shift;
    if (seen->finished_at_ns != 0) seen->finished_at_ns += shift;
  } else if (auto* listing = std::get_if<ModulesListed>(&input.fact)) {
    correct_listing(*listing, step);
  } else if (auto* desired = std::get_if<DesiredReceived>(&input.fact)) {
    const auto changed = changes_.documents.find(step);
    if (changed != changes_.documents.end()) desired->document = changed->second;
  }
}

// A listing shows what the device did: what it made or removed only in one of the two lives is corrected.
void Telling::correct_listing(ModulesListed& listing, std::size_t step) const {
  const auto& existed = record_.existed(step);
  const auto exists = [&](const std::string& name) {
    const auto found = core_.state().modules.find(ModuleName(name));
    return found != core_.state().modules.end() && found->second.life.exists;
  };
  std::erase_if(listing.modules,
                [&](const std::string& name) { return existed.contains(name) && !exists(name); });
  for (const auto& [name, module] : core_.state().modules) {
    if (module.life.exists && module.runtime == listing.runtime && !existed.contains(name.value) &&
        std::find(listing.modules.begin(), listing.modules.end(), name.value) == listing.modules.end())
      listing.modules.push_back(name.value);
  }
}

void Telling::begin_run(const Envelope& started) {
  ++run_;
  // Deadlines of another boot are void.
  if (boot_ != started.boot) {
    for (auto& [key, timer] : timers_) timer.armed = false;
  }
  boot_ = started.boot;
}

void Telling::carry_out(const Envelope& decision) {
  if (const auto* module = std::get_if<ModuleTransitioned>(&decision.fact)) {
    const auto pull = pulls_.find(decision.stream.value);
    if ((module->effects & statemachines::kCancelPull) && pull != pulls_.end())
      made_[pull->second].cancelled = true;
    if (module->effects & statemachines::kInspect) {
      Coming look{now_ + kLookAnswered.count()};
      look.look = module->module.value;
      look.arming = run_;
      come(std::move(look));
    }
  }
  for (const auto& change : timer_changes_of(decision.fact)) set_timer(change);
  for (const auto& asked : askings_of(decision.fact)) ask(asked, decision);
}

void Telling::ask(const Asked& asked, const Envelope& decision) {
  const std::size_t index = record_.asking(asked.what, asked_[asked.what]++);
  if (index == kNone) {
    // A ping that is answered is no news and in no log.
    if (asked.kind != "uplink ping" && report_.unanswered.size() < kMostNamed)
      report_.unanswered.push_back(asked.kind + " at " + to_rfc3339(decision.time.wall));
    return;
  }
  made_[index] = {decision.sequence, run_, false};
  if (asked.kind.ends_with(" pull")) pulls_[decision.stream.value] = index;
  const Asking& recorded = record_.asking(index);
  for (const std::size_t step : recorded.followers)
    come({now_ + record_.place(step).at - recorded.at, record_.steps()[step].input.sequence.value, step});
}

void Telling::set_timer(const TimerChange& change) {
  Timer& timer = timers_[change.key];
  timer.armed = change.armed;
  if (!change.armed) return;
  const ArmedTimer* recorded = record_.timer(change.key, timer.armings++);
  Coming coming{change.deadline.ns + record_.offset(boot_)};
  coming.timer = change.key;
  coming.arming = timer.armings;
  if (recorded && recorded->fired != kNone) {
    coming.at += recorded->late_ns;
    coming.step = recorded->fired;
    coming.order = record_.steps()[coming.step].input.sequence.value;
  }
  coming.stayed_quiet = recorded && recorded->fired == kNone;
  coming.at = std::max(coming.at, now_);
  come(std::move(coming));
}

void Telling::compare(const Coming& coming, const Envelope& input, const std::vector<Envelope>& decisions) {
  if (report_.departure) return;
  if (coming.step != kNone) {
    // What is recorded before it and did not happen here.
    for (; expected_ < coming.step && !report_.departure; ++expected_) {
      if (fates_[expected_] != Fate::kFed) depart(expected_, nullptr, {});
    }
    if (report_.departure) return;
    if (expected_ == coming.step) {
      ++expected_;
      if (same_decisions(record_.steps()[coming.step].decisions, decisions)) return;
    }
  }
  if (coming.step != kNone || !decisions.empty()) depart(coming.step, &input, decisions);
}

// At `step` of the record, told as `input`; no difference without a decision on either side.
void Telling::depart(std::size_t step, const Envelope* input, const std::vector<Envelope>& decisions) {
  static const std::vector<Envelope> kNothing;
  const auto& recorded = step == kNone ? kNothing : record_.steps()[step].decisions;
  std::size_t i = 0;
  while (i < recorded.size() && i < decisions.size() && recorded[i].fact == decisions[i].fact) ++i;
  if (i == recorded.size() && i == decisions.size()) return;
  Departure departure;
  if (step != kNone) departure.input = record_.steps()[step].input.sequence;
  departure.input_text = named(step != kNone ? record_.steps()[step].input : *input);
  if (i < recorded.size()) departure.recorded = recorded[i];
  if (i < decisions.size()) departure.told = decisions[i];
  if (departure.recorded && departure.told)
    departure.fields = differences(departure.recorded->fact, departure.told->fact);
  report_.departure = std::move(departure);
}

void Telling::pass_over(std::size_t step) {
  fates_[step] = Fate::kPassedOver;
}

void Telling::count_fates() {
  for (; !coming_.empty(); coming_.pop()) {
    const std::size_t step = coming_.top().step;
    if (step != kNone && fates_[step] == Fate::kWaiting) fates_[step] = Fate::kNotReached;
  }
  for (std::size_t i = 0; i < fates_.size(); ++i) {
    const Envelope& input = record_.steps()[i].input;
    report_.fed += fates_[i] == Fate::kFed;
    report_.not_reached += fates_[i] == Fate::kNotReached;
    const bool dropped = changes_.dropped.contains(i);
    report_.dropped += dropped;
    if (dropped || (fates_[i] != Fate::kWaiting && fates_[i] != Fate::kPassedOver)) continue;
    ++report_.passed_over;
    if (report_.passed.size() < kMostNamed)
      report_.passed.push_back("event " + std::to_string(input.sequence.value) + ", " + named(input));
  }
}

}  // namespace decklog::audit
