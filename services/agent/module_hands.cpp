#include "services/agent/module_hands.hpp"

#include "events/utf8.hpp"
#include "services/agent/turn.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::agent {

namespace sm = statemachines;
using runtime::ModuleRuntime;
using runtime::Observation;
using runtime::RuntimeKind;

namespace {

// One progress event a second is enough for people and kind to flash.
constexpr Duration kProgressEvery = std::chrono::seconds(1);

ModuleObserved to_fact(RuntimeKind kind, const Observation& seen) {
  ModuleObserved fact;
  fact.module = seen.name;
  fact.presence = static_cast<std::uint8_t>(seen.presence);
  fact.health = static_cast<std::uint8_t>(seen.health);
  fact.runtime_id = seen.runtime_id;
  fact.spec_hash = seen.spec_hash;
  fact.image_id = seen.image_id;
  fact.exit_code = seen.exit_code;
  fact.exit_signal = seen.signal;
  fact.oom_killed = seen.oom_killed;
  fact.started_at_ns = seen.started_at.ns;
  fact.finished_at_ns = seen.finished_at.ns;
  fact.boot = seen.boot.value;
  fact.runtime = static_cast<std::uint8_t>(kind);
  return fact;
}

std::string timer_key(const ModuleName& name) {
  return "module/" + name.value;
}

}  // namespace

ModuleHands::ModuleHands(loop::ServiceLoop& loop, const AgentState& state, loop::Surroundings& surroundings,
                         loop::Timers& timers, SpecSource specs)
    : loop_(loop), state_(state), surroundings_(surroundings), timers_(timers), specs_(std::move(specs)) {}

void ModuleHands::add(ModuleRuntime& runtime) {
  runtimes_[runtime.kind()] = &runtime;
}

void ModuleHands::start() {
  for (auto& [kind, runtime] : runtimes_) {
    runtime->start({[this, kind = kind](const Observation& seen) { observed(kind, seen); },
                    [this, kind = kind, runtime = runtime](Status there) {
                      loop_.submit(EngineObserved{static_cast<std::uint8_t>(kind), there.has_value(),
                                                  there ? "" : describe(there.error())});
                      if (there) list_one(*runtime);
                    }});
  }
}

void ModuleHands::list() {
  for (auto& [kind, runtime] : runtimes_) list_one(*runtime);
}

void ModuleHands::list_one(ModuleRuntime& runtime) {
  runtime.list([this, kind = runtime.kind(),
                begun = surroundings_.now().mono](Result<std::vector<Observation>> found) {
    if (!found) return;  // the engine's absence comes through on_engine
    ModulesListed listing;
    listing.runtime = static_cast<std::uint8_t>(kind);
    for (const auto& seen : *found) {
      listing.modules.push_back(seen.name.value);
      // A listing that began before a module's work ended tells what was true before.
      const auto ended = last_work_.find(seen.name);
      if (ended == last_work_.end() || ended->second < begun) observed(kind, seen);
    }
    loop_.submit(std::move(listing));
  });
}

void ModuleHands::observed(RuntimeKind kind, const Observation& seen) {
  loop_.submit(to_fact(kind, seen));
}

void ModuleHands::rearm() {
  for (const auto& [name, module] : state_.modules) {
    if (module.life.deadline_mono_ns != 0) timers_.arm(timer_key(name), {module.life.deadline_mono_ns});
  }
}

ModuleRuntime* ModuleHands::runtime_of(const ModuleName& name) const {
  const auto module = state_.modules.find(name);
  if (module == state_.modules.end()) return nullptr;
  const auto found = runtimes_.find(static_cast<RuntimeKind>(module->second.runtime));
  return found == runtimes_.end() ? nullptr : found->second;
}

void ModuleHands::carry_out(const Envelope& event, const ModuleTransitioned& decision) {
  const auto has = [&](std::uint32_t effect) { return (decision.effects & effect) != 0; };
  if (decision.to == ModuleState::kRemoved) {
    timers_.cancel(timer_key(decision.module));
    last_work_.erase(decision.module);
  }
  if (has(sm::kCancelTimer)) timers_.cancel(timer_key(decision.module));
  if (has(sm::kArmTimer)) timers_.arm(timer_key(decision.module), {decision.life.deadline_mono_ns});
  if (has(sm::kCancelPull)) pulls_.erase(decision.module);
  Asked asked{decision.module, PendingWork::kNone, event.sequence, surroundings_.now().mono};
  if (has(sm::kPull)) pull((asked.work = PendingWork::kPull, asked));
  if (has(sm::kCreate)) create((asked.work = PendingWork::kCreate, asked));
  if (has(sm::kStart)) start_module((asked.work = PendingWork::kStart, asked));
  if (has(sm::kStop)) stop((asked.work = PendingWork::kStop, asked));
  if (has(sm::kRemove)) remove((asked.work = PendingWork::kRemove, asked));
  if (has(sm::kInspect)) inspect(decision.module);
}

template <class Work>
void ModuleHands::with_spec(const Asked& asked, Work work) {
  auto spec = specs_(asked.module);
  if (!spec) return answer(asked, spec.error(), nullptr);
  const auto found = runtimes_.find(spec->kind);
  if (found == runtimes_.end()) {
    return answer(
        asked,
        error(Errc::kUnsupported, "this agent has no runtime for modules of its type (agent.docker is off)"),
        nullptr);
  }
  work(*found->second, *spec);
}

void ModuleHands::pull(const Asked& asked) {
  with_spec(asked, [&](ModuleRuntime& runtime, const runtime::ModuleSpec& spec) {
    const auto progress = [this, name = asked.module](const runtime::PullProgress& done) {
      const MonoTime now = surroundings_.now().mono;
      if (auto& last = last_progress_[name]; now - last < kProgressEvery && last.ns != 0)
        return;
      else
        last = now;
      loop_.submit(PullProgressed{name, done.bytes_done, done.bytes_total, done.phase});
    };
    pulls_[asked.module] = runtime.pull(spec, progress, [this, asked](Result<runtime::PullResult> done) {
      const auto handle = std::move(pulls_[asked.module]);  // kept alive until this callback ends
      pulls_.erase(asked.module);
      last_progress_.erase(asked.module);
      if (!done) return answer(asked, done.error(), nullptr);
      answer(asked, {}, nullptr, done->digest.empty() ? done->image_id : done->digest, done->bytes);
    });
  });
}

void ModuleHands::create(const Asked& asked) {
  with_spec(asked, [&](ModuleRuntime& runtime, const runtime::ModuleSpec& spec) {
    runtime.create(spec, [this, asked, hash = spec.spec_hash](Result<Observation> done) {
      if (!done) return answer(asked, done.error(), nullptr);
      answer(asked, {}, &*done, hash);
    });
  });
}

void ModuleHands::start_module(const Asked& asked) {
  auto* runtime = runtime_of(asked.module);
  if (!runtime) return answer(asked, error(Errc::kUnsupported, "no runtime for it"), nullptr);
  runtime->start_module(asked.module, [this, asked, kind = runtime->kind()](Result<Observation> done) {
    if (!done) return answer(asked, done.error(), nullptr);
    answer(asked, {}, &*done, done->spec_hash);
    observed(kind, *done);
  });
}

void ModuleHands::stop(const Asked& asked) {
  auto* runtime = runtime_of(asked.module);
  if (!runtime) return answer(asked, error(Errc::kUnsupported, "no runtime for it"), nullptr);
  const auto* desired = state_.desired(asked.module);
  const Duration timeout = desired ? desired->stop_timeout : Duration(std::chrono::seconds(10));
  runtime->stop_module(asked.module, timeout,
                       [this, asked, kind = runtime->kind()](Result<Observation> done) {
                         if (!done && done.error().code != Errc::kNotFound)
                           return answer(asked, done.error(), nullptr);
                         answer(asked, {}, done ? &*done : nullptr);
                         if (done) observed(kind, *done);
                       });
}

void ModuleHands::remove(const Asked& asked) {
  auto* runtime = runtime_of(asked.module);
  if (!runtime) return answer(asked, {}, nullptr);
  runtime->remove(asked.module, [this, asked](Status done) { answer(asked, done, nullptr); });
}

void ModuleHands::inspect(const ModuleName& name) {
  auto* runtime = runtime_of(name);
  if (!runtime) return;
  runtime->inspect(name, [this, name, kind = runtime->kind()](Result<Observation> seen) {
    if (seen) return observed(kind, *seen);
    if (seen.error().code == Errc::kNotFound)
      observed(kind, Observation{.name = name, .presence = runtime::Presence::kAbsent});
  });
}

void ModuleHands::answer(const Asked& asked, const Status& status, const Observation* seen,
                         std::string detail, std::uint64_t bytes) {
  WorkFinished fact;
  fact.module = asked.module;
  fact.work = asked.work;
  fact.asked_by = asked.by.value;
  fact.code = status ? 0 : static_cast<std::uint16_t>(status.error().code);
  if (!status) fact.message = beginning_of(well_formed(describe(status.error())), 1000);
  fact.detail = std::move(detail);
  const bool engine_away =
      !status && status.error().code == Errc::kUnavailable && status.error().where == kEngineAway;
  if (engine_away) fact.detail = kEngineAway;
  last_work_[asked.module] = surroundings_.now().mono;
  fact.bytes = bytes;
  fact.took_ns = (surroundings_.now().mono - asked.at).count();
  if (seen) {
    fact.exit_code = seen->exit_code;
    fact.exit_signal = seen->signal;
  }
  loop_.submit(std::move(fact));
}

}  // namespace decklog::agent
