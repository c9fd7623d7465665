// The Edge Agent, put together: core, loop, runtimes, uplink, probes, reports. The owner (agent_service)
// brings the parts; tests bring simulated ones. Thread: the executor's.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "persistence/journal.hpp"
#include "services/agent/core.hpp"
#include "services/agent/link_hands.hpp"
#include "services/agent/module_hands.hpp"
#include "services/agent/prober.hpp"
#include "services/agent/recovery.hpp"
#include "services/agent/vault.hpp"
#include "services/loop/service_loop.hpp"

namespace decklog::agent {

// How the agent treats secrets: the core and the log see only what redact and digest give.
struct Secrets {
  std::function<Result<std::string>(std::string_view document)> redact;  // kMalformed when it is not JSON
  std::function<std::string(std::string_view document)> digest;  // keyed; equal documents, equal digests
};

struct AgentOptions {
  CoreSettings core;
  std::string version, build, architecture;
  std::string network = "decklog";
  std::vector<std::string> hub_command;  // what edgeHub runs when it is a process without a command
  Duration heartbeat = std::chrono::minutes(5);
  Duration list_every = std::chrono::seconds(30);
  std::uint64_t snapshot_every_events = 5000;
};

struct AgentParts {
  persistence::Journal& journal;
  persistence::JournalReport journal_report;
  loop::Surroundings& surroundings;
  Vault& vault;
  Secrets secrets;
  std::vector<runtime::ModuleRuntime*> runtimes;
  uplink::Uplink& uplink;
  // Environment and mounts a module gets from us (workload API); may add to the spec.
  std::function<void(runtime::ModuleSpec&)> equip = [](runtime::ModuleSpec&) {};
  std::function<void(const Envelope&)> on_event = [](const Envelope&) {
  };                                                             // every durable event: metrics, tree, mirror
  std::function<std::vector<Fact>(const Envelope&)> notes = {};  // e.g. signed heads
  // A direct method of the fleet; nullopt = not one of ours.
  std::function<void(const uplink::MethodCall&)> on_method = {};
};

class Agent {
 public:
  Agent(boost::asio::any_io_executor executor, AgentOptions options, AgentParts parts);
  ~Agent();

  // Recovers, logs ServiceStarted, begins supervising. Returns at once.
  void start();
  // Logs ServiceStopped, says the last report; modules keep running. `done` when that is over or the deadline
  // passed.
  void stop(const std::string& reason, Duration deadline, std::function<void()> done);

  struct Verdict {
    std::int32_t code = 200;
    std::string message;
    std::uint64_t version = 0;
    std::string state;
    std::vector<std::string> plan;
  };
  // A desired document from the uplink or an operator. `done` when the decision about it is durable.
  void receive_desired(const std::string& source, const std::string& document, std::uint64_t version,
                       Actor actor = {}, std::function<void(Verdict)> done = {});
  Result<std::vector<std::string>> plan(const std::string& document) const;
  void command(const std::string& command, const ModuleName& module, Actor actor,
               const std::string& request_id, std::function<void(Status)> done);

  const AgentState& state() const { return core_.core.state(); }
  loop::ServiceLoop& loop() { return *loop_; }
  ModuleHands& modules() { return *modules_; }
  LinkHands& link() { return *link_; }
  const Recovery& recovery() const { return recovery_; }

 private:
  struct LoopCore final : loop::Core {
    AgentCore core;
    std::vector<Envelope> take(const Envelope& input) override { return core.take(input); }
    void fold(const Envelope& event) override { core.fold(event); }
    bool matters(const Fact& input) const override { return core.matters(input); }
    std::string snapshot() const override { return encode_snapshot(core.state()); }
  };

  void released(const Envelope& event);
  void list_again();
  uplink::Listener link_listener();
  Result<runtime::ModuleSpec> spec_of(const ModuleName& name);
  Result<const Deployment*> full_deployment();
  void forget_documents();

  boost::asio::any_io_executor executor_;
  AgentOptions options_;
  AgentParts parts_;
  Recovery recovery_;
  LoopCore core_;
  std::unique_ptr<loop::ServiceLoop> loop_;
  std::unique_ptr<loop::Timers> timers_;
  std::unique_ptr<ModuleHands> modules_;
  std::unique_ptr<Prober> prober_;
  std::unique_ptr<LinkHands> link_;
  boost::asio::steady_timer list_timer_;
  std::string opened_hash_;                   // of opened_
  std::unique_ptr<const Deployment> opened_;  // the document in force with its secrets
  bool stopping_ = false;
};

}  // namespace decklog::agent
