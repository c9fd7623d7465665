// What the agent offers to its modules: identities, the workload API's sockets, environment and mounts, the
// edge CA and the hub's server certificate. Thread: the agent's executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>

#include "services/agent/agent.hpp"
#include "services/config/config.hpp"
#include "services/workload/environment.hpp"
#include "services/workload/server_certificate.hpp"
#include "services/workload/workload_api.hpp"

namespace decklog::agent {

class ModuleServices {
 public:
  static Result<std::unique_ptr<ModuleServices>> open(boost::asio::any_io_executor executor,
                                                      const config::Config& config,
                                                      const workload::DeviceKeys& keys,
                                                      loop::Surroundings& surroundings);

  void attach(Agent& agent);
  // Adds the module's identity, environment and socket mount to what the runtime gets.
  void equip(runtime::ModuleSpec& spec);
  // Sockets appear and go with the modules; a removed module's identity is void.
  void follow(const Envelope& event);

 private:
  ModuleServices(boost::asio::any_io_executor executor, const config::Config& config,
                 const workload::DeviceKeys& keys, loop::Surroundings& surroundings)
      : executor_(executor), config_(config), keys_(keys), surroundings_(surroundings), renewal_(executor) {}
  bool belongs(const ModuleName& name, const http::PeerCredentials& peer) const;
  std::vector<workload::ModuleListItem> modules() const;
  void renew_certificate();
  void open_sockets();

  boost::asio::any_io_executor executor_;
  const config::Config& config_;
  workload::DeviceKeys keys_;
  loop::Surroundings& surroundings_;
  Agent* agent_ = nullptr;
  std::unique_ptr<workload::IdentityService> identities_;
  std::unique_ptr<workload::EdgeCa> ca_;
  std::unique_ptr<workload::ServerCertificate> certificate_;
  std::unique_ptr<workload::WorkloadApi> api_;
  boost::asio::steady_timer renewal_;
};

}  // namespace decklog::agent
