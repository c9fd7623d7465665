// What a module gets so that the SDKs' "from environment" constructors work. Pure.
#pragma once

#include <map>
#include <string>

#include "events/ids.hpp"
#include "services/workload/identities.hpp"

namespace decklog::workload {

struct DeviceNames {
  std::string device_id;
  std::string hub_host_name;      // IOTEDGE_IOTHUBHOSTNAME: the name in resource URIs; resolved by nobody
  std::string gateway_host_name;  // what modules connect to; must be in the hub's certificate
  std::string parent_host_name;   // nested edge; empty = none
};

struct ModuleEnvironment {
  std::map<std::string, std::string> variables;
  // Containers: bind the socket's own directory. Not the socket: an agent that restarts makes a new one, and
  // a bound file would stay the old one for ever. Empty for processes.
  std::string mount_source, mount_target;
};

enum class Inside { kProcess, kContainer };

// A deployment's own values for these names lose: a module cannot be given another's socket by its env.
ModuleEnvironment module_environment(const DeviceNames& device, const ModuleName& name,
                                     const ModuleIdentity& identity, const std::string& socket_path,
                                     Inside inside);

// <run directory>/<module>/workload.sock
std::string workload_socket_path(const std::string& run_directory, const ModuleName& name);

}  // namespace decklog::workload
