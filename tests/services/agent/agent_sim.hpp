// The agent's core between a pretended runtime, a pretended uplink and a journal in memory, in virtual time.
// No thread, no sleep: the test says what happens next. Every step is held to the rules that must always be
// true; what is broken goes to `broken`, in words.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "persistence/memory_journal.hpp"
#include "services/agent/core.hpp"
#include "services/agent/planner.hpp"
#include "services/agent/recovery.hpp"
#include "services/workload/redact.hpp"
#include "statemachines/deployment_machine.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::agent::sim {

namespace sm = statemachines;

// A module as the engine has it.
struct Container {
  runtime::Presence presence = runtime::Presence::kCreated;
  std::string spec_hash, runtime_id, boot;
  int exit_code = 0, exit_signal = 0;
  std::int64_t started_at_ns = 0, finished_at_ns = 0;
};

class AgentSim {
 public:
  static constexpr std::uint8_t kEngine = static_cast<std::uint8_t>(runtime::RuntimeKind::kDocker);

  // Who draws: 0 to n - 1. The default is always 0: nothing goes wrong.
  using Draw = std::function<std::uint64_t(std::uint64_t n)>;

  explicit AgentSim(Draw draw = [](std::uint64_t) { return std::uint64_t{0}; })
      : draw_(std::move(draw)), keys_(std::string(32, 'k')), digests_(keys_.digests()) {
    start_agent();
  }

  std::map<std::string, Container> engine;  // what there is, by module name
  bool engine_up = true;
  bool failures = false;  // work may fail
  bool link_up = true;    // what a connect finds
  std::vector<std::string> broken;
  persistence::MemoryJournal journal;
  std::uint64_t reports = 0;
  std::vector<std::string> report_texts;

  const AgentState& state() const { return core_.state(); }
  MonoTime now() const { return now_; }
  AgentCore& core() { return core_; }

  void deploy(const std::string& document, std::uint64_t version = 0) {
    DesiredReceived fact;
    fact.source = "operator";
    fact.version = version ? version : state().deployment.last_version + 1;
    fact.size = document.size();
    fact.hash = digests_.digest(document);
    if (auto strict = parse_deployment(document); !strict) {
      fact.problem_code = desired_status_code(strict.error());
      fact.problem = describe(strict.error());
    } else {
      fact.document = workload::redact(document, digests_).value();
    }
    submit(std::move(fact));
  }

  void command(const std::string& verb, const std::string& module) {
    submit(OperatorCommanded{verb, ModuleName(module), "request/1"}, Actor("uid:0 (root)"));
  }
  void probe(const std::string& module, const std::string& which, bool passed) {
    submit(ProbeFinished{.module = ModuleName(module), .probe = which, .passed = passed});
  }

  // A run ends by itself.
  void end_run(const std::string& module, int code, int signal = 0) {
    const auto found = engine.find(module);
    if (found == engine.end() || found->second.presence != runtime::Presence::kRunning) return;
    finish(found->second, code, signal);
    if (engine_up) see(module);
  }
  // Somebody removes it at the engine.
  void vanish(const std::string& module) {
    if (engine.erase(module) != 0 && engine_up) see(module);
  }

  void engine_gone() {
    if (!std::exchange(engine_up, false)) return;
    submit(EngineObserved{kEngine, false, "connection refused"});
    std::vector<Work> lost;
    lost.swap(works_);
    for (const auto& work : lost) answer(work, Errc::kUnavailable, "engine");
    looks_.clear();
  }
  void engine_back() {
    if (std::exchange(engine_up, true)) return;
    submit(EngineObserved{kEngine, true, ""});
    list();
  }

  void list() {
    if (!engine_up) return;
    ModulesListed listing;
    listing.runtime = kEngine;
    for (const auto& [name, container] : engine) {
      listing.modules.push_back(name);
      see(name);
    }
    submit(std::move(listing));
  }

  // The agent's process dies: timers and calls in flight are gone; calls the engine has it may still finish.
  void crash_agent() {
    for (const auto& work : works_) {
      if (draw_(2) == 1) (void)do_work(work);
    }
    compare_with_log();
    start_agent();
  }
  void reboot() {
    for (auto& [name, container] : engine) {
      if (container.presence == runtime::Presence::kRunning) finish(container, 255, 0);
    }
    compare_with_log();
    boot_ = "boot-" + std::to_string(++boots_);
    now_ = {1'000'000'000};
    engine_up = true;
    start_agent();
  }
  void take_snapshot() {
    journal.put_snapshot({Sequence{journal.next_sequence().value - 1},
                          std::string(persistence::kStateSnapshot), encode_snapshot(state())},
                         [](Status) {});
  }

  // Lets the next thing happen: a look, a piece of work, the link, a timer. False when nothing is left to
  // happen.
  bool next() {
    if (!looks_.empty()) {
      const std::string name = looks_.front();
      looks_.pop_front();
      if (engine_up) see(name);
      return true;
    }
    if (std::exchange(pinging_, false)) {
      submit(LinkObserved{0, static_cast<std::uint8_t>(link_up ? 0 : 7), ""});
      return true;
    }
    if (connecting_) {
      connecting_ = false;
      submit(LinkObserved{static_cast<std::uint8_t>(link_up ? 1 : 4), 2, ""});
      return true;
    }
    if (!works_.empty()) {
      const auto at = static_cast<std::ptrdiff_t>(draw_(works_.size()));
      const Work work = works_[static_cast<std::size_t>(at)];
      works_.erase(works_.begin() + at);
      now_.ns += 10'000'000;
      answer_honestly(work);
      return true;
    }
    const auto first = std::min_element(timers_.begin(), timers_.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
    if (first == timers_.end()) return false;
    const std::string key = first->first;
    now_.ns = std::max(now_.ns, first->second.ns);
    timers_.erase(first);
    submit(TimerFired{key});
    return true;
  }
  // Until nothing is in flight; timers are left alone.
  void finish_work() {
    for (int i = 0; i < 10'000 && (!looks_.empty() || !works_.empty() || connecting_ || pinging_); ++i)
      next();
  }
  void pass(Duration time) {
    const MonoTime end = now_ + time;
    finish_work();
    for (int i = 0; i < 10'000; ++i) {
      const auto due = std::min_element(timers_.begin(), timers_.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
      if (due == timers_.end() || end < due->second) break;
      next();
      finish_work();
    }
    now_ = std::max(now_, end);
  }

  bool running(const std::string& module) const {
    const auto found = engine.find(module);
    return found != engine.end() && found->second.presence == runtime::Presence::kRunning;
  }
  ModuleState life(const std::string& module) const {
    const auto found = state().modules.find(ModuleName(module));
    return found == state().modules.end() ? ModuleState::kRemoved : found->second.life.state;
  }
  std::size_t in_flight() const { return works_.size(); }

  void compare_with_log() {
    const auto recovered = recover(journal);
    if (!recovered.problems.empty()) broken.push_back("recovery: " + recovered.problems.front());
    for (auto& difference : differences_of(state(), recovered.state)) broken.push_back(difference);
  }

  static std::vector<std::string> differences_of(const AgentState& live, const AgentState& folded) {
    std::vector<std::string> out;
    const auto say = [&](bool same, const std::string& what) {
      if (!same) out.push_back("the fold of the log differs from the live state: " + what);
    };
    say(to_json(live.settings) == to_json(folded.settings), "settings");
    say(live.boot == folded.boot, "boot");
    say(live.through == folded.through, "through");
    say(live.version == folded.version, "version");
    say(live.deployment == folded.deployment, "deployment");
    say(live.engines == folded.engines, "engines");
    say(live.uplink == folded.uplink, "uplink");
    say(live.clean_shutdown == folded.clean_shutdown, "clean shutdown");
    say(live.report.through == folded.report.through && live.report.revision == folded.report.revision &&
            live.report.digest == folded.report.digest,
        "report checkpoint");
    std::string documents, folded_documents;
    for (const auto& [hash, document] : live.documents) documents += hash + document->text;
    for (const auto& [hash, document] : folded.documents) folded_documents += hash + document->text;
    say(documents == folded_documents, "documents");
    say(live.modules.size() == folded.modules.size(), "number of modules");
    for (const auto& [name, module] : live.modules) {
      const auto found = folded.modules.find(name);
      if (found == folded.modules.end()) {
        say(false, "module " + name.value + " is missing");
        continue;
      }
      const auto& other = found->second;
      say(module.life == other.life, name.value + " life");
      say(module.observed == other.observed, name.value + " observed");
      say(module.probe_failures == other.probe_failures && module.probe_passes == other.probe_passes &&
              module.startup_passed == other.startup_passed,
          name.value + " probes");
      say(module.last_error == other.last_error, name.value + " last error");
      say(module.last_restart == other.last_restart, name.value + " last restart");
      say(module.next_try == other.next_try, name.value + " next try");
      say(module == other, name.value + " record");
    }
    return out;
  }

 private:
  struct Work {
    ModuleName module;
    PendingWork work = PendingWork::kNone;
    Sequence by;
    std::string spec_hash;
  };

  void start_agent() {
    works_.clear();
    looks_.clear();
    timers_.clear();
    connecting_ = pinging_ = false;
    core_ = AgentCore(recover(journal).state);
    const bool same_boot = state().boot.value == boot_;
    ServiceStarted started{.service = "agent", .version = "1", .device = "edge-1"};
    started.clean_shutdown = state().clean_shutdown;
    started.settings = to_json(CoreSettings{.device = "edge-1", .uplink = {}, .uplink_wanted = true});
    submit(std::move(started));
    if (same_boot) {
      for (const auto& [name, module] : state().modules) {
        if (module.life.deadline_mono_ns != 0)
          timers_["module/" + name.value] = {module.life.deadline_mono_ns};
      }
      if (const auto deadline = deployment_timer(state().deployment); deadline.ns != 0)
        timers_["deployment"] = deadline;
    }
    submit(EngineObserved{kEngine, engine_up, ""});
    list();
  }

  void submit(Fact input, Actor actor = {}) {
    now_.ns += 1'000'000;
    if (!core_.matters(input)) return;
    Envelope event;
    event.sequence = journal.next_sequence();
    event.stream = stream_of(input);
    event.time = {{1'700'000'000'000'000'000 + now_.ns}, now_};
    event.boot = BootId(boot_);
    event.random = draw_(~std::uint64_t{0});
    event.actor = std::move(actor);
    event.build = "sim";
    event.fact = std::move(input);
    AgentCore plans_anew(core_.state());
    const auto decisions = core_.take(event);
    if (plans_anew.take(event) != decisions)
      broken.push_back("planning only when something changed decides otherwise, at " + event.stream.value);
    std::vector<Envelope> step{event};
    step.insert(step.end(), decisions.begin(), decisions.end());
    check(step);
    check_survey();
    journal.append(step, [this](Status done) {
      if (!done) broken.push_back("the journal refused: " + describe(done.error()));
    });
    for (const auto& decision : decisions) carry_out(decision);
  }

  void check(const std::vector<Envelope>& step) {
    Sequence expected = step.front().sequence;
    for (const auto& event : step) {
      if (event.sequence != expected) broken.push_back("sequences are not contiguous within a step");
      expected = expected.next();
      if (&event == &step.front()) continue;
      if (info(event.fact).kind != EventKind::kDecision)
        broken.push_back("a core decides facts that are none");
      if (!event.cause) broken.push_back("a decision without a cause");
      if (event.cause >= event.sequence) broken.push_back("a cause that comes later");
    }
    if (step.size() > 1000) broken.push_back("a step that does not end");
  }

  // The one walk finds what the plan and the turns are, for the document in force and for the others there
  // are.
  void check_survey() {
    for (const auto& [hash, document] : state().documents) {
      const Survey seen = survey(document->deployment, state());
      if (seen.differs == plan(document->deployment, state()).empty() ||
          seen.turn_due == granted_turns(document->deployment, state()).empty())
        broken.push_back("the survey and the plan say different things");
    }
  }

  void carry_out(const Envelope& event) {
    if (const auto* link = std::get_if<UplinkTransitioned>(&event.fact)) {
      if (link->effects & sm::kCancelUplinkTimer) timers_.erase("uplink");
      if (link->effects & sm::kArmUplinkTimer) timers_["uplink"] = {link->life.deadline_mono_ns};
      if (link->effects & sm::kConnect) connecting_ = true;
      if (link->effects & sm::kPing) pinging_ = true;
      return;
    }
    if (const auto* deployment = std::get_if<DeploymentTransitioned>(&event.fact)) {
      if (deployment->effects & sm::kCancelDeploymentTimer) timers_.erase("deployment");
      if (deployment->effects & sm::kArmDeploymentTimer)
        timers_["deployment"] = deployment_timer(deployment->life);
      return;
    }
    const auto* decision = std::get_if<ModuleTransitioned>(&event.fact);
    if (!decision) return;
    const std::string key = "module/" + decision->module.value;
    const auto has = [&](std::uint32_t effect) { return (decision->effects & effect) != 0; };
    if (decision->to == ModuleState::kRemoved || has(sm::kCancelTimer)) timers_.erase(key);
    if (has(sm::kArmTimer)) timers_[key] = {decision->life.deadline_mono_ns};
    if (has(sm::kCancelPull)) {
      std::erase_if(works_, [&](const Work& work) {
        return work.module == decision->module && work.work == PendingWork::kPull;
      });
    }
    for (const auto& [effect, work] :
         {std::pair{sm::kPull, PendingWork::kPull}, std::pair{sm::kCreate, PendingWork::kCreate},
          std::pair{sm::kStart, PendingWork::kStart}, std::pair{sm::kStop, PendingWork::kStop},
          std::pair{sm::kRemove, PendingWork::kRemove}}) {
      if (has(effect)) ask({decision->module, work, event.sequence, ""});
    }
    if (has(sm::kInspect)) looks_.push_back(decision->module.value);
  }

  void ask(Work work) {
    for (const auto& other : works_) {
      if (other.module == work.module)
        broken.push_back("two works in flight for " + work.module.value + ": " + name_of(other.work) +
                         " and " + name_of(work.work));
    }
    const auto* desired = state().desired(work.module);
    if (work.work == PendingWork::kCreate && !desired)
      broken.push_back("create of a module nobody wants: " + work.module.value);
    if (desired) work.spec_hash = desired->spec_hash;
    if (work.work == PendingWork::kStart) {
      const auto& life = state().modules.at(work.module).life;
      if (life.target != ModuleTarget::kRunning || life.operator_hold)
        broken.push_back("start of a module that is not to run: " + work.module.value);
    }
    works_.push_back(std::move(work));
  }

  void answer_honestly(const Work& work) {
    if (!engine_up) return answer(work, Errc::kUnavailable, "engine");
    if (failures && draw_(5) == 1) {
      const Errc kinds[] = {Errc::kIo, Errc::kTimeout, Errc::kNotFound, Errc::kUnauthenticated,
                            work.work == PendingWork::kPull ? Errc::kCorrupt : Errc::kInvalidArgument};
      return answer(work, kinds[draw_(5)], "");
    }
    answer(work, do_work(work), "");
  }

  // What the engine does; idempotent as the runtime's contract says.
  Errc do_work(const Work& work) {
    const std::string& name = work.module.value;
    const auto found = engine.find(name);
    switch (work.work) {
      case PendingWork::kCreate:
        if (found != engine.end() && found->second.spec_hash != work.spec_hash) return Errc::kAlreadyExists;
        if (found == engine.end())
          engine[name] = {.spec_hash = work.spec_hash, .runtime_id = "c" + std::to_string(++made_)};
        return Errc::kOk;
      case PendingWork::kStart:
        if (found == engine.end()) return Errc::kNotFound;
        if (found->second.presence != runtime::Presence::kRunning) {
          found->second.presence = runtime::Presence::kRunning;
          found->second.started_at_ns = 1'700'000'000'000'000'000 + now_.ns;
          found->second.boot = boot_;
        }
        return Errc::kOk;
      case PendingWork::kStop:
        if (found != engine.end() && found->second.presence == runtime::Presence::kRunning)
          finish(found->second, 143, 15);
        return Errc::kOk;
      case PendingWork::kRemove:
        engine.erase(name);
        return Errc::kOk;
      case PendingWork::kPull:
      case PendingWork::kNone:
        return Errc::kOk;
    }
    return Errc::kInternal;
  }

  void answer(const Work& work, Errc code, const std::string& where) {
    WorkFinished fact{.module = work.module, .work = work.work, .asked_by = work.by.value};
    fact.code = static_cast<std::uint16_t>(code);
    fact.message = code == Errc::kOk ? "" : std::string("simulated ") + to_string(code);
    fact.detail = where;
    const auto found = engine.find(work.module.value);
    if (code == Errc::kOk && work.work == PendingWork::kPull) fact.detail = "sha256:" + work.spec_hash;
    if (code == Errc::kOk && (work.work == PendingWork::kCreate || work.work == PendingWork::kStart))
      fact.detail = found == engine.end() ? work.spec_hash : found->second.spec_hash;
    if (code == Errc::kOk && work.work == PendingWork::kStop && found != engine.end()) {
      fact.exit_code = found->second.exit_code;
      fact.exit_signal = found->second.exit_signal;
    }
    submit(std::move(fact));
    if (code == Errc::kOk && (work.work == PendingWork::kStart || work.work == PendingWork::kStop) &&
        engine_up)
      see(work.module.value);
  }

  void finish(Container& container, int code, int signal) {
    container.presence = runtime::Presence::kExited;
    container.exit_code = code;
    container.exit_signal = signal;
    container.finished_at_ns = 1'700'000'000'000'000'000 + now_.ns;
  }

  // The engine's word on one module.
  void see(const std::string& name) {
    ModuleObserved fact{.module = ModuleName(name)};
    fact.runtime = kEngine;
    if (const auto found = engine.find(name); found != engine.end()) {
      const Container& container = found->second;
      fact.presence = static_cast<std::uint8_t>(container.presence);
      fact.spec_hash = container.spec_hash;
      fact.runtime_id = container.runtime_id;
      fact.exit_code = container.exit_code;
      fact.exit_signal = container.exit_signal;
      fact.started_at_ns = container.started_at_ns;
      fact.finished_at_ns = container.finished_at_ns;
      fact.boot = container.boot;
    }
    submit(std::move(fact));
  }

  Draw draw_;
  workload::DeviceKeys keys_;
  workload::KeyedDigest digests_;
  AgentCore core_;
  MonoTime now_{1'000'000'000};
  std::string boot_ = "boot-1";
  int boots_ = 1, made_ = 0;
  bool connecting_ = false, pinging_ = false;
  std::vector<Work> works_;
  std::deque<std::string> looks_;
  std::map<std::string, MonoTime> timers_;
};

}  // namespace decklog::agent::sim
