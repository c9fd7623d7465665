#include "services/workload/workload_api.hpp"

#include <unistd.h>

#include "services/workload/private_file.hpp"

namespace decklog::workload {
namespace {

// The name becomes a directory; the planner refuses bad ones with a better message.
bool is_safe(const ModuleName& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '$';
  };
  return !name.empty() && name.value.front() != '.' &&
         std::all_of(name.value.begin(), name.value.end(), plain);
}

http::ServerLimits limits() {
  http::ServerLimits limits;
  limits.body_bytes = kMaxWorkloadBodyBytes;
  limits.max_connections = kConnectionsPerSocket;
  limits.max_requests = kRequestsPerSocket;
  return limits;
}

}  // namespace

WorkloadApi::WorkloadApi(boost::asio::any_io_executor executor, std::string run_directory,
                         WorkloadSettings settings, const DeviceKeys& keys, const IdentityService& identities,
                         const EdgeCa& ca, WorkloadHooks hooks)
    : executor_(std::move(executor)),
      run_directory_(std::move(run_directory)),
      handler_(std::move(settings), keys, identities, ca, hooks.modules),
      hooks_(std::move(hooks)) {}

WorkloadApi::~WorkloadApi() = default;

Result<std::string> WorkloadApi::add(const ModuleName& name, std::optional<std::uint32_t> owner) {
  if (!is_safe(name)) return error(Errc::kInvalidArgument, "not a module name", name.value);
  const std::string path = workload_socket_path(run_directory_, name);
  if (servers_.contains(name)) return path;
  // Modules may pass through, and list nothing.
  for (const auto& directory : {run_directory_, directory_of(path)}) {
    if (auto made = make_private_directory(directory, 0711); !made) return made.error();
  }
  auto server = std::make_unique<http::Server>(
      executor_, limits(),
      [this, name](http::Request request, http::Responder responder) { answer(name, request, responder); });
  http::UnixAccess access;
  access.mode = owner ? 0600 : 0666;
  access.uid = owner;
  if (auto listening = server->listen_unix(path, access); !listening) return listening.error();
  servers_.emplace(name, std::move(server));
  return path;
}

void WorkloadApi::remove(const ModuleName& name) {
  if (servers_.erase(name) == 0) return;
  ::rmdir(directory_of(workload_socket_path(run_directory_, name))
              .c_str());  // stays when a person put something there
}

void WorkloadApi::answer(const ModuleName& name, const http::Request& request,
                         const http::Responder& responder) {
  const auto& caller = request.peer.credentials;
  http::Response response = caller && hooks_.belongs && hooks_.belongs(name, *caller)
                                ? handler_.handle(name, request, hooks_.now())
                                : http::json_error(403, "the caller does not belong to this module");
  if (hooks_.on_request) hooks_.on_request(name, request.peer, response.status);
  responder.send(std::move(response));
}

}  // namespace decklog::workload
