#include "services/audit/lived_record.hpp"

#include <cstdio>

#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"
#include "statemachines/uplink_machine.hpp"

namespace decklog::audit {

namespace sm = statemachines;

namespace {

std::string hex(std::uint64_t spec) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(spec));
  return text;
}

std::string subject_of(const ModuleName& module) {
  return StreamId::module(module).value;
}

}  // namespace

std::vector<Asked> askings_of(const Fact& decision) {
  std::vector<Asked> asked;
  if (const auto* module = std::get_if<ModuleTransitioned>(&decision)) {
    const auto add = [&](std::uint32_t effect, const char* kind, std::uint64_t spec) {
      if (!(module->effects & effect)) return;
      const std::string text = subject_of(module->module) + " " + kind;
      asked.push_back({text, spec == 0 ? text : text + " " + hex(spec)});
    };
    add(sm::kPull, "pull", module->life.wanted_spec);
    add(sm::kCreate, "create", module->life.wanted_spec);
    add(sm::kStart, "start", module->life.current_spec);
    add(sm::kStop, "stop", 0);
    add(sm::kRemove, "remove", 0);
  } else if (const auto* link = std::get_if<UplinkTransitioned>(&decision)) {
    if (link->effects & sm::kConnect) asked.push_back({"uplink connect", "uplink connect"});
    if (link->effects & sm::kPing) asked.push_back({"uplink ping", "uplink ping"});
  }
  return asked;
}

std::vector<TimerChange> timer_changes_of(const Fact& decision) {
  std::vector<TimerChange> changes;
  const auto add = [&](const std::string& key, bool cancel, bool arm, MonoTime deadline) {
    if (cancel) changes.push_back({key, false, {}});
    if (arm) changes.push_back({key, true, deadline});
  };
  if (const auto* module = std::get_if<ModuleTransitioned>(&decision)) {
    add(subject_of(module->module),
        module->to == ModuleState::kRemoved || (module->effects & sm::kCancelTimer) != 0,
        (module->effects & sm::kArmTimer) != 0, {module->life.deadline_mono_ns});
  } else if (const auto* link = std::get_if<UplinkTransitioned>(&decision)) {
    add("uplink", (link->effects & sm::kCancelUplinkTimer) != 0, (link->effects & sm::kArmUplinkTimer) != 0,
        {link->life.deadline_mono_ns});
  } else if (const auto* deployment = std::get_if<DeploymentTransitioned>(&decision)) {
    add("deployment", (deployment->effects & sm::kCancelDeploymentTimer) != 0,
        (deployment->effects & sm::kArmDeploymentTimer) != 0, agent::deployment_timer(deployment->life));
  }
  return changes;
}

std::vector<TimerChange> timers_of(const agent::AgentState& state) {
  std::vector<TimerChange> timers;
  const auto add = [&](const std::string& key, MonoTime deadline) {
    if (deadline.ns != 0) timers.push_back({key, true, deadline});
  };
  for (const auto& [name, module] : state.modules) add(subject_of(name), {module.life.deadline_mono_ns});
  add("uplink", {state.uplink.deadline_mono_ns});
  add("deployment", agent::deployment_timer(state.deployment));
  return timers;
}

LivedRecord::LivedRecord(agent::AgentState begin, std::vector<RecordedStep> steps)
    : begin_(std::move(begin)), end_(begin_), steps_(std::move(steps)), places_(steps_.size()) {
  place_on_time_line();
  for (const auto& timer : timers_of(begin_)) change_timer(timer);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const RecordedStep& step = steps_[i];
    if (std::holds_alternative<ModulesListed>(step.input.fact)) {
      for (const auto& [name, module] : end_.modules) {
        if (module.life.exists) existed_[i].insert(name.value);
      }
    }
    find_belonging(i);
    apply(end_, step.input);
    for (const auto& decision : step.decisions) {
      note_decision(i, decision);
      apply(end_, decision);
    }
  }
}

// Within a boot the monotonic clock is the time line; from boot to boot the wall clock has to do, never
// backwards.
void LivedRecord::place_on_time_line() {
  if (!steps_.empty()) offsets_[begin_.boot] = 0;
  std::int64_t line = 0;
  const Envelope* before = nullptr;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Envelope& input = steps_[i].input;
    if (!offsets_.contains(input.boot)) {
      const std::int64_t away =
          before ? std::max<std::int64_t>(input.time.wall.ns - before->time.wall.ns, 0) : 0;
      offsets_[input.boot] = line + away - input.time.mono.ns;
    }
    line = std::max(line, input.time.mono.ns + offsets_[input.boot]);
    places_[i].at = line;
    before = &input;
  }
}

std::int64_t LivedRecord::offset(const BootId& boot) const {
  const auto found = offsets_.find(boot);
  return found == offsets_.end() ? 0 : found->second;
}

std::size_t LivedRecord::newest(const std::string& subject, std::initializer_list<const char*> kinds) const {
  std::size_t newest = kNone;
  for (const char* kind : kinds) {
    const auto found = newest_.find(subject + " " + kind);
    if (found != newest_.end() && (newest == kNone || newest < found->second)) newest = found->second;
  }
  return newest;
}

void LivedRecord::find_belonging(std::size_t step) {
  const Fact& fact = steps_[step].input.fact;
  if (const auto* work = std::get_if<WorkFinished>(&fact)) {
    const auto asked = asked_by_.find({work->asked_by, subject_of(work->module) + " " + name_of(work->work)});
    belong(step, asked == asked_by_.end() ? kNone : asked->second);
  } else if (const auto* link = std::get_if<LinkObserved>(&fact)) {
    belong(step, newest("uplink", {link->change == 0 ? "ping" : "connect"}));
  } else if (const auto* seen = std::get_if<ModuleObserved>(&fact)) {
    belong(step, newest(subject_of(seen->module), {"create", "start", "stop", "remove"}));
  } else if (const auto* probe = std::get_if<ProbeFinished>(&fact)) {
    belong(step, newest(subject_of(probe->module), {"start"}));
  } else if (const auto* pull = std::get_if<PullProgressed>(&fact)) {
    belong(step, newest(subject_of(pull->module), {"pull"}));
  } else if (const auto* timer = std::get_if<TimerFired>(&fact)) {
    match_timer(step, timer->key);
  } else if (std::holds_alternative<ServiceStarted>(fact) || std::holds_alternative<EngineObserved>(fact)) {
    world_changed_ = askings_.size();
    // Deadlines of another boot are void; the core says so in decisions that arm what is to be armed.
    if (steps_[step].input.boot != end_.boot) armed_.clear();
  }
}

void LivedRecord::belong(std::size_t step, std::size_t asking) {
  if (asking == kNone) return;
  places_[step].asking = asking;
  // What is seen after a start of the service is seen because of that start, not so long after the asking.
  if (asking < world_changed_) return;
  places_[step].timing = Timing::kAfterAsking;
  askings_[asking].followers.push_back(step);
}

void LivedRecord::match_timer(std::size_t step, const std::string& key) {
  const auto armed = armed_.find(key);
  if (armed == armed_.end()) return;
  ArmedTimer& timer = timers_[key].back();
  timer.fired = step;
  timer.late_ns = places_[step].at - (armed->second.ns + offset(steps_[step].input.boot));
  places_[step].timing = Timing::kTimer;
  armed_.erase(armed);
}

void LivedRecord::note_decision(std::size_t step, const Envelope& decision) {
  for (const auto& asked : askings_of(decision.fact)) {
    auto& same = by_what_[asked.what];
    const std::size_t index = askings_.size();
    askings_.push_back({asked.what, same.size(), places_[step].at, {}});
    same.push_back(index);
    newest_[asked.kind] = index;
    asked_by_[{decision.sequence.value, asked.kind}] = index;
  }
  for (const auto& change : timer_changes_of(decision.fact)) change_timer(change);
}

void LivedRecord::change_timer(const TimerChange& change) {
  if (!change.armed) {
    armed_.erase(change.key);
    return;
  }
  armed_[change.key] = change.deadline;
  timers_[change.key].push_back({});
}

std::size_t LivedRecord::asking(const std::string& what, std::uint64_t ordinal) const {
  const auto found = by_what_.find(what);
  return found == by_what_.end() || found->second.size() <= ordinal ? kNone : found->second[ordinal];
}

const ArmedTimer* LivedRecord::timer(const std::string& key, std::uint64_t ordinal) const {
  const auto found = timers_.find(key);
  return found == timers_.end() || found->second.size() <= ordinal ? nullptr : &found->second[ordinal];
}

const std::set<std::string>& LivedRecord::existed(std::size_t step) const {
  static const std::set<std::string> kNothing;
  const auto found = existed_.find(step);
  return found == existed_.end() ? kNothing : found->second;
}

}  // namespace decklog::audit
