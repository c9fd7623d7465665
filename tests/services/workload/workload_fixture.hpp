// A whole workload API on a loop of its own, in a temporary directory.
#pragma once

#include <ctime>

#include "services/workload/workload_api.hpp"
#include "tests/services/http/http_fixture.hpp"

namespace decklog::workload {

inline WallTime real_now() {
  return {static_cast<std::int64_t>(std::time(nullptr)) * 1'000'000'000};
}

struct WorkloadDevice final {
  http::TemporaryDirectory directory;
  DeviceNames names{"dev 1", "hub.example.net", "localhost", ""};
  DeviceKeys keys = DeviceKeys::open(directory.path() + "/device.key").value();
  IdentityService identities = IdentityService::open(directory.path() + "/identities", keys).value();
  EdgeCa ca = EdgeCa::open(directory.path(), std::nullopt, real_now()).value();
  http::Loop loop;
  std::unique_ptr<WorkloadApi> api;

  explicit WorkloadDevice(std::function<bool(const ModuleName&, const http::PeerCredentials&)> belongs) {
    loop.call([&] {
      WorkloadHooks hooks{real_now, std::move(belongs), [] {
                            return std::vector<ModuleListItem>{{"sensor", "process", "running", "", {}}};
                          }};
      api = std::make_unique<WorkloadApi>(loop.executor(), directory.path() + "/run",
                                          WorkloadSettings{names, {"localhost"}}, keys, identities, ca,
                                          std::move(hooks));
    });
  }
  ~WorkloadDevice() {
    loop.call([&] { api.reset(); });
  }
  std::string add(const char* name) {
    return loop.call([&] {
      EXPECT_TRUE(identities.ensure(ModuleName(name)));
      const auto path = api->add(ModuleName(name));
      EXPECT_TRUE(path) << describe(path.error());
      return path ? *path : std::string();
    });
  }
};

}  // namespace decklog::workload
