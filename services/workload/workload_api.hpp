// The workload API: one unix socket a module, <run directory>/<module>/workload.sock.
//
// Whoever connects must belong to the module: the kernel's word for its pid (SO_PEERCRED) is given to the
// agent's predicate. So the socket may be open to all (0666 below 0711 directories), or narrowed to the
// module's user. Thread: the executor's. Destroying it closes all sockets. Limits: 10 requests at a time and
// 32 connections a socket, bodies of 256 KiB.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "services/http/server.hpp"
#include "services/workload/workload_handler.hpp"

namespace decklog::workload {

inline constexpr std::size_t kRequestsPerSocket = 10;
inline constexpr std::size_t kConnectionsPerSocket = 32;

struct WorkloadHooks {
  std::function<WallTime()> now;
  // Does this process belong to that module? See peer_check.hpp for what it can be made of.
  std::function<bool(const ModuleName&, const http::PeerCredentials&)> belongs;
  std::function<std::vector<ModuleListItem>()> modules;
  // For log and metrics; may be empty.
  std::function<void(const ModuleName&, const http::Peer&, int status)> on_request = {};
};

class WorkloadApi final {
 public:
  // Keys, identities and CA must outlive it.
  WorkloadApi(boost::asio::any_io_executor executor, std::string run_directory, WorkloadSettings settings,
              const DeviceKeys& keys, const IdentityService& identities, const EdgeCa& ca,
              WorkloadHooks hooks);
  ~WorkloadApi();
  WorkloadApi(const WorkloadApi&) = delete;
  WorkloadApi& operator=(const WorkloadApi&) = delete;

  // Opens the module's socket and gives its path; success also when it is open. `owner`: the module's user,
  // who alone may then connect; without it the socket is open to all and only the predicate decides.
  Result<std::string> add(const ModuleName& name, std::optional<std::uint32_t> owner = std::nullopt);
  void remove(const ModuleName& name);
  std::size_t sockets() const { return servers_.size(); }

 private:
  void answer(const ModuleName& name, const http::Request& request, const http::Responder& responder);

  boost::asio::any_io_executor executor_;
  std::string run_directory_;
  WorkloadHandler handler_;
  WorkloadHooks hooks_;
  std::map<ModuleName, std::unique_ptr<http::Server>> servers_;
};

}  // namespace decklog::workload
