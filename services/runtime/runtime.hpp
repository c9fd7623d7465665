// What the agent asks of a container engine or of the process runtime: one interface, one contract test suite
// (tests/services/runtime/runtime_contract.hpp runs over every implementation).
//
// Threading: every call is made on, and every callback runs on, the executor given to the implementation's
// constructor. A callback is never run inside the call that takes it. Callbacks whose runtime was destroyed
// are dropped. No call blocks: slow work (a pull, a stop) never delays another module's calls. Errors:
// kUnavailable = not there now: `where` is "engine" (gone, restarting, garbage on its socket) or "registry";
// kNotFound = no such module or image; kUnauthenticated = registry refused the credentials; kCorrupt = digest
// does not match; kTimeout = no answer before the deadline; kInvalidArgument = this spec cannot be created or
// its program not be run (errno or engine text); kAlreadyExists = a module of this name with another
// spec_hash is there; kConflict = the module is not in a state for it. Messages never hold credentials or env
// values.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::runtime {

template <class T>
using Callback = std::function<void(Result<T>)>;

enum class RuntimeKind : std::uint8_t { kDocker = 1, kProcess = 2 };
enum class PullPolicy : std::uint8_t { kOnCreate = 1, kNever = 2 };

struct RegistryCredential {
  std::string address;  // "localhost:5000"
  std::string username;
  std::string password;
};

struct Mount {
  std::string source;  // host path
  std::string target;  // path inside the module
  bool read_only = false;
};

// All that a module is made of. `spec_hash` covers every field that forces a re-creation when it changes; the
// runtime stores it with the module (container label, keeper record) and returns it in observations.
struct ModuleSpec {
  ModuleName name;
  RuntimeKind kind = RuntimeKind::kProcess;
  std::string spec_hash;
  std::map<std::string, std::string> env;  // what the module sees; may hold secrets: never logged
  std::vector<Mount> mounts;
  Duration stop_timeout = std::chrono::seconds(10);  // SIGTERM to SIGKILL

  // kDocker
  std::string image;   // normalised reference, tag or digest always present
  std::string digest;  // "sha256:..." the image must have, or empty
  PullPolicy pull_policy = PullPolicy::kOnCreate;
  std::string create_options;  // Docker container-create JSON object, "{}" when none
  std::optional<RegistryCredential> credential;
  std::string network;  // user-defined network to join, e.g. "decklog"; created when missing
  std::vector<std::string> network_aliases;
  std::vector<std::string> extra_hosts;  // "gateway:172.17.0.1"

  // kProcess
  std::vector<std::string> command;      // argv; never a shell. command[0] absolute or found in PATH
  std::string working_directory;         // empty = the module's own data directory
  std::string user;                      // run as this user when the agent is root; empty = the agent's user
  std::uint64_t memory_limit_bytes = 0;  // 0 = none; cgroup where available, else RLIMIT_AS
};

enum class Presence : std::uint8_t {
  kAbsent = 0,
  kCreated = 1,
  kRunning = 2,
  kPaused = 3,
  kRestarting = 4,
  kExited = 5,
  kDead = 6,
  kRemoving = 7,
  kUnknown = 8
};
enum class Health : std::uint8_t { kNone = 0, kStarting = 1, kHealthy = 2, kUnhealthy = 3 };

// What the runtime says of one module, at one time. Never remembered configuration.
struct Observation {
  ModuleName name;
  Presence presence = Presence::kUnknown;
  std::string runtime_id;  // container id, or "<pid>@<start time in clock ticks>"
  std::string spec_hash;   // from the label; empty for a module we did not make
  std::string image_id;    // "sha256:..." of the image in use; empty for processes
  int exit_code = 0;       // meaningful when kExited or kDead; 128+n when ended by signal n
  int signal = 0;          // the signal that ended it, 0 = none or not known
  bool oom_killed = false;
  Health health = Health::kNone;  // Docker HEALTHCHECK
  WallTime started_at;            // {0} = never
  WallTime finished_at;           // {0} = never
  BootId boot;                    // boot in which it ran, when the runtime knows; empty otherwise
  std::string
      detail;  // for people, when there is more to say: "ended with the device (power loss or reboot)"
  friend bool operator==(const Observation&, const Observation&) = default;
};

struct PullProgress {
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  // 0 while unknown
  std::string phase;              // "downloading", "extracting", "verifying"
};

struct PullResult {
  std::string image_id;
  std::string digest;  // repository digest, "sha256:..."
  std::uint64_t bytes = 0;
};

struct LogOptions {
  std::optional<std::uint64_t> tail;  // last n lines
  std::optional<WallTime> since, until;
  bool follow = false;
};
struct LogLine {
  WallTime time;
  bool is_stderr = false;
  std::string text;  // without the newline
};
// Returns false to stop the stream.
using LogSink = std::function<bool(const LogLine&)>;

struct ExecProbe {
  std::vector<std::string> command;
  Duration timeout = std::chrono::seconds(5);
};

// Destroying the handle cancels the operation behind it; its callback is then not called.
using Handle = std::shared_ptr<void>;

class ModuleRuntime {
 public:
  // Something changed: a module's new observation, or the engine itself went away / came back.
  struct Listener {
    std::function<void(const Observation&)> on_module;
    std::function<void(Status)> on_engine;  // error = gone (with the reason), success = there (again)
  };

  virtual ~ModuleRuntime() = default;
  virtual RuntimeKind kind() const = 0;

  // Begins watching. The listener is told once of the engine's state and of every module there is, then of
  // every change. Presence kAbsent = removed.
  virtual void start(Listener listener) = 0;

  // Every module with our owner label (or keeper record), absent ones excluded.
  virtual void list(Callback<std::vector<Observation>> done) = 0;
  virtual void inspect(const ModuleName& name, Callback<Observation> done) = 0;

  // Makes the image present and checked against spec.digest. For kProcess: checks that the command exists.
  // Progress at most four times a second. Cancelled through the handle.
  virtual Handle pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
                      Callback<PullResult> done) = 0;
  // Success also when it is there already with the same spec_hash (also while it runs).
  virtual void create(const ModuleSpec& spec, Callback<Observation> done) = 0;
  // Success also when it runs already.
  virtual void start_module(const ModuleName& name, Callback<Observation> done) = 0;
  // Success also when it was not running. The observation carries the exit status.
  virtual void stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done) = 0;
  // Success also when it did not exist. Removes a running module by force.
  virtual void remove(const ModuleName& name, Callback<void> done) = 0;

  // Runs a command in the module's context; success = exit status 0.
  virtual Handle exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done) = 0;
  // Where a probe to the module's own port has to go ("172.18.0.3", or "127.0.0.1" for processes).
  virtual void address(const ModuleName& name, Callback<std::string> done) = 0;
  // Past lines first, then live ones while `follow` and the module runs. `done` after the last line.
  virtual Handle logs(const ModuleName& name, const LogOptions& options, LogSink sink,
                      Callback<void> done) = 0;
};

}  // namespace decklog::runtime
