// Modules as containers of a Docker-compatible engine (API v1.40 or later), over its unix socket; no docker
// CLI.
//
// Owner: the agent. Thread: the executor's, one at a time. Every exchange has its own connection and
// deadline, so a slow pull or a hanging engine holds up nothing else. Failure: as runtime.hpp. When the
// engine goes away, on_engine is told the reason once; it is asked again with growing pauses; when it
// answers, on_engine is told success and all modules are looked at again. Containers are found by label,
// never by name; the name is the module's unless taken. Source of facts: Docker Engine API v1.40 to v1.44;
// labels and networks as IoT Edge sets them.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>

#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

struct DockerOptions {
  std::string socket_path = "/var/run/docker.sock";
  std::string owner = "decklog";  // value of the owner label; two agents on one engine need two
  Duration call_deadline = std::chrono::seconds(30);
  Duration check_deadline = std::chrono::seconds(5);  // is the engine there
  Duration pull_idle = std::chrono::minutes(5);       // longest silence of a pull
  Duration relist_period = std::chrono::seconds(30);
  Duration retry_min = std::chrono::milliseconds(250);  // pauses between looks for a lost engine
  Duration retry_max = std::chrono::seconds(10);
};

class DockerCore;

class DockerRuntime final : public ModuleRuntime {
 public:
  DockerRuntime(boost::asio::any_io_executor executor, DockerOptions options);
  ~DockerRuntime() override;
  DockerRuntime(const DockerRuntime&) = delete;
  DockerRuntime& operator=(const DockerRuntime&) = delete;

  RuntimeKind kind() const override { return RuntimeKind::kDocker; }
  void start(Listener listener) override;
  void list(Callback<std::vector<Observation>> done) override;
  void inspect(const ModuleName& name, Callback<Observation> done) override;
  // A wanted digest that is here already needs no registry. Pulled by digest, never by a tag that may move.
  Handle pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
              Callback<PullResult> done) override;
  // Refuses (kCorrupt) an image that does not have spec.digest, whoever put it there.
  void create(const ModuleSpec& spec, Callback<Observation> done) override;
  void start_module(const ModuleName& name, Callback<Observation> done) override;
  void stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done) override;
  void remove(const ModuleName& name, Callback<void> done) override;
  Handle exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done) override;
  void address(const ModuleName& name, Callback<std::string> done) override;
  Handle logs(const ModuleName& name, const LogOptions& options, LogSink sink, Callback<void> done) override;

 private:
  std::unique_ptr<DockerCore> core_;
};

}  // namespace decklog::runtime
