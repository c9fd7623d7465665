#include "services/workload/environment.hpp"

#include "services/workload/private_file.hpp"

namespace decklog::workload {
namespace {

constexpr const char* kApiVersion = "2021-12-07";
// Where IoT Edge modules find their socket; some images have the path baked in.
constexpr const char* kContainerDirectory = "/var/run/iotedge";
constexpr const char* kContainerSocket = "/var/run/iotedge/workload.sock";

}  // namespace

std::string workload_socket_path(const std::string& run_directory, const ModuleName& name) {
  return run_directory + "/" + name.value + "/workload.sock";
}

ModuleEnvironment module_environment(const DeviceNames& device, const ModuleName& name,
                                     const ModuleIdentity& identity, const std::string& socket_path,
                                     Inside inside) {
  ModuleEnvironment made;
  const bool container = inside == Inside::kContainer;
  if (container) {
    made.mount_source = directory_of(socket_path);
    made.mount_target = kContainerDirectory;
  }
  const bool system = name.value == "edgeHub" || name.value == "edgeAgent";
  made.variables = {
      {"IOTEDGE_WORKLOADURI", "unix://" + (container ? std::string(kContainerSocket) : socket_path)},
      {"IOTEDGE_AUTHSCHEME", "sasToken"},
      {"IOTEDGE_MODULEGENERATIONID", identity.generation_id},
      {"IOTEDGE_IOTHUBHOSTNAME", device.hub_host_name},
      // The hub itself talks to its parent, everyone else to the hub.
      {"IOTEDGE_GATEWAYHOSTNAME",
       system && !device.parent_host_name.empty() ? device.parent_host_name : device.gateway_host_name},
      {"IOTEDGE_DEVICEID", device.device_id},
      {"IOTEDGE_MODULEID", identity.module_id},
      {"IOTEDGE_APIVERSION", kApiVersion},
  };
  if (!device.parent_host_name.empty()) made.variables["IOTEDGE_PARENTHOSTNAME"] = device.parent_host_name;
  if (system) made.variables["EdgeDeviceHostName"] = device.gateway_host_name;
  return made;
}

}  // namespace decklog::workload
