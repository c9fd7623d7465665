#include "services/agent/prober.hpp"

#include <boost/asio/steady_timer.hpp>

#include "events/utf8.hpp"
#include "services/agent/probe_dial.hpp"

namespace decklog::agent {

namespace asio = boost::asio;

struct Prober::Watch {
  Watch(const asio::any_io_executor& executor, ModuleName module)
      : name(std::move(module)), timer(executor) {}
  ModuleName name;
  asio::steady_timer timer;
  std::shared_ptr<void> running;  // the probe in flight
  bool startup = false;
  std::string run;  // runtime id of the run it watches
  MonoTime begun;
};

Prober::Prober(asio::any_io_executor executor, loop::ServiceLoop& loop, const AgentState& state,
               loop::Surroundings& surroundings, RuntimeOf runtime_of)
    : executor_(std::move(executor)),
      loop_(loop),
      state_(state),
      surroundings_(surroundings),
      runtime_of_(std::move(runtime_of)) {}

Prober::~Prober() = default;

const Probe* Prober::current(const ModuleName& name, bool& startup) const {
  const auto module = state_.modules.find(name);
  const auto* desired = state_.desired(name);
  if (module == state_.modules.end() || !desired) return nullptr;
  const auto state = module->second.life.state;
  if (state != ModuleState::kRunning && state != ModuleState::kUnhealthy) return nullptr;
  startup = desired->startup && !module->second.startup_passed;
  if (startup) return &*desired->startup;
  return desired->liveness ? &*desired->liveness : nullptr;
}

void Prober::update(const ModuleName& name) {
  bool startup = false;
  const Probe* probe = current(name, startup);
  const auto found = watches_.find(name);
  if (!probe) {
    if (found != watches_.end()) watches_.erase(found);
    return;
  }
  const std::string& run = state_.modules.at(name).observed.runtime_id;
  if (found != watches_.end() && found->second->run == run) return;
  auto watch = std::make_shared<Watch>(executor_, name);
  watch->run = run;
  watches_[name] = watch;
  // Spread the first probes of many modules, but never by more than a second.
  schedule(watch, std::min<Duration>(probe->interval, std::chrono::seconds(1)));
}

void Prober::schedule(const std::shared_ptr<Watch>& watch, Duration wait) {
  watch->timer.expires_after(std::chrono::duration_cast<asio::steady_timer::duration>(wait));
  watch->timer.async_wait([this, weak = std::weak_ptr(watch)](boost::system::error_code cancelled) {
    const auto alive = weak.lock();
    if (!cancelled && alive) this->probe(alive);
  });
}

void Prober::probe(const std::shared_ptr<Watch>& watch) {
  const Probe* probe = current(watch->name, watch->startup);
  auto* runtime = runtime_of_(watch->name);
  if (!probe || !runtime) return;
  watch->begun = surroundings_.now().mono;
  const auto done = [this, weak = std::weak_ptr(watch)](Status status) {
    if (const auto alive = weak.lock()) finished(alive, status);
  };
  if (probe->kind == Probe::Kind::kExec) {
    watch->running = runtime->exec_probe(watch->name, {probe->command, probe->timeout}, done);
    return;
  }
  runtime->address(watch->name,
                   [this, weak = std::weak_ptr(watch), probe = *probe, done](Result<std::string> address) {
                     const auto alive = weak.lock();
                     if (!alive) return;
                     if (!address) return done(address.error());
                     alive->running = dial(executor_, *address, probe, done);
                   });
}

void Prober::finished(const std::shared_ptr<Watch>& watch, const Status& status) {
  const auto hold = std::move(watch->running);
  ProbeFinished fact;
  fact.module = watch->name;
  fact.probe = watch->startup ? "startup" : "liveness";
  fact.passed = status.has_value();
  fact.detail = status ? "" : std::string(beginning_of(well_formed(describe(status.error())), 500));
  fact.took_ns = (surroundings_.now().mono - watch->begun).count();
  loop_.submit(std::move(fact));
  bool startup = false;
  if (const Probe* next = current(watch->name, startup)) schedule(watch, next->interval);
}

}  // namespace decklog::agent
