#include "services/agent/module_services.hpp"

#include <sys/stat.h>

#include <charconv>
#include <filesystem>

#include "services/workload/peer_check.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::agent {

namespace asio = boost::asio;

namespace {

// A failed renewal is tried again at this pace; the certificate in use stays good for another fifth of its
// life.
constexpr Duration kRenewalRetry = std::chrono::minutes(10);
constexpr Duration kRenewalLook =
    std::chrono::hours(1);  // the wall clock may step: look often, it costs nothing

}  // namespace

Result<std::unique_ptr<ModuleServices>> ModuleServices::open(asio::any_io_executor executor,
                                                             const config::Config& config,
                                                             const workload::DeviceKeys& keys,
                                                             loop::Surroundings& surroundings) {
  std::unique_ptr<ModuleServices> services(new ModuleServices(executor, config, keys, surroundings));
  const std::string directory = config.data_dir + "/workload";
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  ::chmod(directory.c_str(), 0700);
  auto identities = workload::IdentityService::open(directory + "/identities.sealed", services->keys_);
  if (!identities) return identities.error();
  services->identities_ = std::make_unique<workload::IdentityService>(std::move(*identities));
  std::optional<workload::UserCa> user;
  if (!config.edge_ca_certificate_file.empty())
    user = workload::UserCa{config.edge_ca_certificate_file, config.edge_ca_key_file, ""};
  auto ca = workload::EdgeCa::open(directory, user, surroundings.now().wall);
  if (!ca) return ca.error();
  services->ca_ = std::make_unique<workload::EdgeCa>(std::move(*ca));
  auto certificate = workload::ServerCertificate::open(directory + "/hub-server.pem",
                                                       {config.gateway_hostname, "localhost", "127.0.0.1"},
                                                       *services->ca_, surroundings.now().wall);
  if (!certificate) return certificate.error();
  services->certificate_ = std::make_unique<workload::ServerCertificate>(std::move(*certificate));
  services->renew_certificate();
  return services;
}

void ModuleServices::attach(Agent& agent) {
  agent_ = &agent;
  workload::WorkloadSettings settings;
  settings.device = {config_.device, config_.iothub_hostname, config_.gateway_hostname, ""};
  settings.gateway_names = {config_.gateway_hostname};
  workload::WorkloadHooks hooks;
  hooks.now = [this] { return surroundings_.now().wall; };
  hooks.belongs = [this](const ModuleName& name, const http::PeerCredentials& peer) {
    return belongs(name, peer);
  };
  hooks.modules = [this] { return modules(); };
  api_ = std::make_unique<workload::WorkloadApi>(executor_, config_.run_dir + "/workload", settings, keys_,
                                                 *identities_, *ca_, hooks);
  open_sockets();
}

// Modules that outlived the agent find their socket again without being restarted.
void ModuleServices::open_sockets() {
  for (const auto& [name, module] : agent_->state().modules) {
    if (module.life.exists) (void)api_->add(name);
  }
}

void ModuleServices::equip(runtime::ModuleSpec& spec) {
  const auto identity = identities_->ensure(spec.name);
  if (!identity) return;
  const auto socket = api_->add(spec.name);
  if (!socket) return;
  const bool container = spec.kind == runtime::RuntimeKind::kDocker;
  const workload::DeviceNames names{config_.device, config_.iothub_hostname, config_.gateway_hostname, ""};
  auto environment =
      workload::module_environment(names, spec.name, *identity, *socket,
                                   container ? workload::Inside::kContainer : workload::Inside::kProcess);
  for (auto& [name, value] : environment.variables) spec.env[name] = std::move(value);
  if (!environment.mount_source.empty())
    spec.mounts.push_back({environment.mount_source, environment.mount_target, false});
  // A hub that runs as a process is reached from containers through the host.
  if (container && config_.gateway_hostname != "localhost" &&
      config_.gateway_hostname.find_first_not_of("0123456789.:") != std::string::npos) {
    spec.extra_hosts.push_back(config_.gateway_hostname + ":host-gateway");
  }
}

void ModuleServices::follow(const Envelope& event) {
  const auto* step = std::get_if<ModuleTransitioned>(&event.fact);
  if (!step || step->to != ModuleState::kRemoved || !api_) return;
  api_->remove(step->module);
  (void)identities_->remove(step->module);
}

bool ModuleServices::belongs(const ModuleName& name, const http::PeerCredentials& peer) const {
  const auto found = agent_->state().modules.find(name);
  if (found == agent_->state().modules.end()) return false;
  const std::string& id = found->second.observed.runtime_id;
  if (found->second.runtime == static_cast<std::uint8_t>(runtime::RuntimeKind::kDocker)) {
    return !id.empty() && workload::container_of(peer.pid) == id;
  }
  pid_t pid = 0;
  const auto [end, failed] = std::from_chars(id.data(), id.data() + id.size(), pid);
  return failed == std::errc{} && pid > 1 && workload::descends_from(peer.pid, pid);
}

std::vector<workload::ModuleListItem> ModuleServices::modules() const {
  std::vector<workload::ModuleListItem> items;
  for (const auto& [name, module] : agent_->state().modules) {
    workload::ModuleListItem item;
    item.name = name.value;
    item.type =
        module.runtime == static_cast<std::uint8_t>(runtime::RuntimeKind::kDocker) ? "docker" : "process";
    item.status = statemachines::to_runtime_status(module.life.state);
    item.started_at = {module.observed.started_at_ns};
    items.push_back(std::move(item));
  }
  return items;
}

void ModuleServices::renew_certificate() {
  const auto renewed = certificate_->renew_if_due(*ca_, surroundings_.now().wall);
  if (agent_ && renewed && *renewed) {
    agent_->loop().note(
        Remarked{"certificate", "hub",
                 "server certificate renewed, good until " + to_rfc3339(certificate_->current().not_after)});
  }
  if (agent_ && !renewed)
    agent_->loop().note(Remarked{"certificate", "hub",
                                 "server certificate could not be renewed: " + describe(renewed.error())});
  renewal_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      renewed ? kRenewalLook : kRenewalRetry));
  renewal_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) renew_certificate();
  });
}

}  // namespace decklog::agent
