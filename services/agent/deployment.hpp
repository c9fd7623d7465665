// The desired document ($edgeAgent desired properties) as the agent understands it. Pure; any thread.
//
// Shape: Azure IoT Edge's agent schema 1.0/1.1 (runtime, systemModules, modules, chunked createOptions) and
// Decklog's additions: type "process" with settings.command, probes, restart, stopTimeoutSecs, rollback. An
// IoT Edge deployment manifest ("modulesContent") is accepted too: its $edgeAgent part is taken. The core
// only ever sees the redacted form: secrets are keyed digests there, equal values stay equal, and so the spec
// hash (which decides about re-creation) comes out the same on every reading and in every replay. Errors:
// code kMalformed (400), kUnsupported (412), kNotFound (417, empty); `where` is the path in the document.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/ids.hpp"
#include "events/module_facts.hpp"
#include "events/result.hpp"
#include "services/runtime/runtime.hpp"
#include "statemachines/module_machine.hpp"

namespace decklog::agent {

inline constexpr std::size_t kMaxDocumentBytes = 1024 * 1024;
inline constexpr std::size_t kMaxModules = 500;
inline constexpr std::size_t kMaxTextBytes = 64 * 1024;  // any one string
inline constexpr int kMaxDocumentDepth = 32;

// Unhealthy is a state that people and the fleet get to see, and a moment in which a module may recover by
// itself.
inline constexpr Duration kUnhealthyGrace = std::chrono::seconds(5);

struct Probe {
  enum class Kind : std::uint8_t { kHttp = 1, kTcp = 2, kExec = 3 } kind = Kind::kTcp;
  std::uint16_t port = 0;            // http, tcp
  std::string path = "/";            // http: success is a status of 200 to 399
  std::vector<std::string> command;  // exec: success is exit status 0
  Duration interval = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(2);
  std::uint32_t failure_threshold = 3;
  std::uint32_t success_threshold = 1;
  friend bool operator==(const Probe&, const Probe&) = default;
};

struct DesiredModule {
  ModuleName name;
  bool system = false;
  runtime::RuntimeKind kind = runtime::RuntimeKind::kDocker;
  ModuleTarget status = ModuleTarget::kRunning;
  RestartPolicy policy = RestartPolicy::kOnUnhealthy;
  statemachines::RestartSettings restart{.unhealthy_stop_grace = kUnhealthyGrace};
  runtime::PullPolicy pull_policy = runtime::PullPolicy::kOnCreate;
  std::uint32_t startup_order = 4294967295u;
  std::string version;
  std::map<std::string, std::string> env;
  Duration stop_timeout = std::chrono::seconds(10);
  std::optional<Probe> startup, liveness;
  bool has_probe = false;  // one of these, or a HEALTHCHECK in the createOptions

  std::string image, digest, create_options = "{}";  // docker
  std::vector<std::string> command;                  // process
  std::string working_directory, user;
  std::uint64_t memory_limit_bytes = 0;

  std::string spec_hash;   // 64 hex digits over what the module is made of
  std::uint64_t spec = 0;  // its first 8 bytes; never 0
};

struct RegistryLogin {
  std::string id, address, username, password;
};

struct Deployment {
  std::string schema_version;
  std::vector<RegistryLogin> registries;
  bool rollback_on_failure = false;
  Duration min_healthy = Duration::zero();
  Duration deadline = Duration::zero();         // zero = none
  std::map<ModuleName, DesiredModule> modules;  // edgeAgent itself is not in here
};

// Secrets in `document` may be real or digests: both parse.
Result<Deployment> parse_deployment(std::string_view document);

// lastDesiredStatus code for an Error of parse_deployment: 400, 412 or 417.
int desired_status_code(const Error& error);

// Valid module name: 1 to 63 of [A-Za-z0-9_.-], beginning with a letter or digit.
bool valid_module_name(std::string_view name);

// "localhost:5000/team/sensor" -> with ":latest" when neither tag nor digest is there. Error when not a
// reference.
Result<std::string> normalise_image(std::string_view reference);
// Registry part of a normalised reference; "docker.io" when it names none.
std::string registry_of(std::string_view image);

}  // namespace decklog::agent
