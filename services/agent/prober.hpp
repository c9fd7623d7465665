// Health probes from the deployment: http, tcp and exec, startup first, then liveness. Thresholds are the
// core's business; the prober only says how each probe went, as a ProbeFinished input (the loop drops those
// that change nothing). One probe of a module at a time; a probe never outlives its timeout. Thread: the
// agent's executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>

#include "services/agent/deployment.hpp"
#include "services/agent/state.hpp"
#include "services/loop/service_loop.hpp"
#include "services/runtime/runtime.hpp"

namespace decklog::agent {

class Prober {
 public:
  using RuntimeOf = std::function<runtime::ModuleRuntime*(const ModuleName&)>;

  Prober(boost::asio::any_io_executor executor, loop::ServiceLoop& loop, const AgentState& state,
         loop::Surroundings& surroundings, RuntimeOf runtime_of);
  ~Prober();

  // Begins or ends probing as the module's state asks. Call after every transition of it.
  void update(const ModuleName& name);

 private:
  struct Watch;
  void schedule(const std::shared_ptr<Watch>& watch, Duration wait);
  void probe(const std::shared_ptr<Watch>& watch);
  void finished(const std::shared_ptr<Watch>& watch, const Status& status);
  const Probe* current(const ModuleName& name, bool& startup) const;

  boost::asio::any_io_executor executor_;
  loop::ServiceLoop& loop_;
  const AgentState& state_;
  loop::Surroundings& surroundings_;
  RuntimeOf runtime_of_;
  std::map<ModuleName, std::shared_ptr<Watch>> watches_;
};

}  // namespace decklog::agent
