// Carries out what the core decided about modules: one call to a runtime for each effect, its answer back as
// an input. Effects arrive only when the decision behind them is durable. Idempotent: after a crash the same
// call may come again. Thread: the agent's executor. Slow work never holds up another module: every call is
// asynchronous.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "events/event.hpp"
#include "services/agent/state.hpp"
#include "services/loop/service_loop.hpp"
#include "services/loop/timers.hpp"
#include "services/runtime/runtime.hpp"

namespace decklog::agent {

// Builds what the runtime needs from the sealed document: secrets, environment, mounts. Fails when the
// document in force cannot be opened.
using SpecSource = std::function<Result<runtime::ModuleSpec>(const ModuleName&)>;

class ModuleHands {
 public:
  ModuleHands(loop::ServiceLoop& loop, const AgentState& state, loop::Surroundings& surroundings,
              loop::Timers& timers, SpecSource specs);

  void add(runtime::ModuleRuntime& runtime);
  // Watches every runtime: modules and the engines themselves.
  void start();
  // Lists everything now; also done at intervals by the owner.
  void list();

  void carry_out(const Envelope& event, const ModuleTransitioned& decision);
  // Deadlines that survive a restart of ours (same boot) are armed again from the state.
  void rearm();

  runtime::ModuleRuntime* runtime_of(const ModuleName& name) const;

 private:
  struct Asked {
    ModuleName module;
    PendingWork work;
    Sequence by;
    MonoTime at;
  };

  void pull(const Asked& asked);
  void create(const Asked& asked);
  void start_module(const Asked& asked);
  void stop(const Asked& asked);
  void remove(const Asked& asked);
  void inspect(const ModuleName& name);
  void list_one(runtime::ModuleRuntime& runtime);
  void answer(const Asked& asked, const Status& status, const runtime::Observation* seen,
              std::string detail = {}, std::uint64_t bytes = 0);
  void observed(runtime::RuntimeKind kind, const runtime::Observation& seen);
  template <class Work>
  void with_spec(const Asked& asked, Work work);

  loop::ServiceLoop& loop_;
  const AgentState& state_;
  loop::Surroundings& surroundings_;
  loop::Timers& timers_;
  SpecSource specs_;
  std::map<runtime::RuntimeKind, runtime::ModuleRuntime*> runtimes_;
  std::map<ModuleName, runtime::Handle> pulls_;
  std::map<ModuleName, MonoTime> last_progress_;
  std::map<ModuleName, MonoTime> last_work_;  // when work of it last ended
};

}  // namespace decklog::agent
