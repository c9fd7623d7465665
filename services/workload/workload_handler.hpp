// What the workload API answers, without sockets: one request of one module in, one response out.
//
// The endpoints and documents are IoT Edge's (api-versions 2018-06-28 to 2022-08-03), as its SDKs call them.
// Every answer is JSON with that content type: an SDK that misses it dies of it. Status: 400 malformed, 403
// another module's path or a name this module may not be certified for, 404 unknown path or another
// generation id, 405 method, 500 our own failure. Messages hold no secrets. Pure but for key generation and
// random nonces; no clock: now is an argument.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"
#include "services/http/message.hpp"
#include "services/workload/edge_ca.hpp"
#include "services/workload/environment.hpp"
#include "services/workload/identities.hpp"

namespace decklog::workload {

inline constexpr std::size_t kMaxWorkloadBodyBytes = 256 * 1024;

// One line of GET /modules.
struct ModuleListItem {
  std::string name;
  std::string type = "docker";
  std::string status;  // runtimeStatus: "running", "stopped", ...
  std::string description;
  WallTime started_at;  // {0} = never
};

struct WorkloadSettings {
  DeviceNames device;
  // Names that only some modules may be certified for: whoever holds such a certificate is the hub to all
  // clients.
  std::vector<std::string> gateway_names;
  std::set<std::string> gateway_modules = {"$edgeHub"};
};

class WorkloadHandler final {
 public:
  // What it refers to must outlive it.
  WorkloadHandler(WorkloadSettings settings, const DeviceKeys& keys, const IdentityService& identities,
                  const EdgeCa& ca, std::function<std::vector<ModuleListItem>()> modules);

  http::Response handle(const ModuleName& caller, const http::Request& request, WallTime now) const;

 private:
  http::Response own_module(const ModuleIdentity& identity, const http::Request& request, WallTime now) const;
  http::Response sign(const ModuleIdentity& identity, const std::string& body) const;
  http::Response encrypt(const ModuleIdentity& identity, const std::string& body) const;
  http::Response decrypt(const ModuleIdentity& identity, const std::string& body) const;
  http::Response server_certificate(const ModuleIdentity& identity, const std::string& body,
                                    WallTime now) const;
  http::Response identity_certificate(const ModuleIdentity& identity, const std::string& body,
                                      WallTime now) const;
  http::Response list() const;

  WorkloadSettings settings_;
  Sealer sealer_;
  const IdentityService& identities_;
  const EdgeCa& ca_;
  std::function<std::vector<ModuleListItem>()> modules_;
};

}  // namespace decklog::workload
