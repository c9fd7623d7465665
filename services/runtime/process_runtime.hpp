// Modules as plain processes: the embedded default, without a container engine and without root. One keeper
// process per module (keeper.hpp) starts it, captures its output and records its end, so modules outlive this
// object and the agent; a new ProcessRuntime over the same directory finds them again by (pid, start time,
// boot id).
//
// Owner: the agent. Thread: the executor's, one at a time. Failure: as runtime.hpp; there is no engine to
// lose, so on_engine is told success once. Mounts are not applied: a process sees the host's paths. On the
// disk: <modules_directory>/<name>/{spec,state.json,keeper.lock,logs/,data/}; see README.md.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

struct ProcessOptions {
  std::string modules_directory;            // made when missing; absolute
  std::vector<std::string> keeper_command;  // {"/usr/bin/decklog", "keeper"}; absolute, never a shell
  Duration launch_deadline = std::chrono::seconds(10);
  Duration kill_deadline = std::chrono::seconds(10);  // from SIGKILL to gone
  Duration relist_period = std::chrono::seconds(30);
  std::uint64_t log_file_bytes = 1 << 20;
  std::uint32_t log_files = 5;
  // The spec of a module (its env may hold secrets) is stored for the next start through these two. Both or
  // none; without them it is stored as it is, in a file of mode 0600.
  std::function<Result<std::string>(std::string_view plain)> seal;
  std::function<Result<std::string>(std::string_view sealed)> unseal;
};

class ProcessCore;

class ProcessRuntime final : public ModuleRuntime {
 public:
  ProcessRuntime(boost::asio::any_io_executor executor, ProcessOptions options);
  ~ProcessRuntime() override;
  ProcessRuntime(const ProcessRuntime&) = delete;
  ProcessRuntime& operator=(const ProcessRuntime&) = delete;

  RuntimeKind kind() const override { return RuntimeKind::kProcess; }
  void start(Listener listener) override;
  void list(Callback<std::vector<Observation>> done) override;
  void inspect(const ModuleName& name, Callback<Observation> done) override;
  // Checks that the command can be run; with spec.digest also that the program's SHA-256 is that.
  Handle pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
              Callback<PullResult> done) override;
  void create(const ModuleSpec& spec, Callback<Observation> done) override;
  void start_module(const ModuleName& name, Callback<Observation> done) override;
  void stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done) override;
  void remove(const ModuleName& name, Callback<void> done) override;
  Handle exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done) override;
  void address(const ModuleName& name, Callback<std::string> done) override;
  Handle logs(const ModuleName& name, const LogOptions& options, LogSink sink, Callback<void> done) override;

 private:
  std::shared_ptr<ProcessCore> core_;
};

}  // namespace decklog::runtime
