#include "services/agent/agent_service.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "events/build.hpp"
#include "services/agent/agent.hpp"
#include "services/agent/management.hpp"
#include "services/agent/module_services.hpp"
#include "services/agent/telemetry.hpp"
#include "services/loop/journal_keeper.hpp"
#include "services/loop/startup_memory.hpp"
#include "services/runtime/docker_runtime.hpp"
#include "services/runtime/process_runtime.hpp"
#include "services/uplink/uplink_factory.hpp"
#include "services/workload/device_keys.hpp"
#include "services/workload/redact.hpp"

namespace decklog::agent {

namespace asio = boost::asio;
namespace fs = std::filesystem;

namespace {

constexpr Duration kStopDeadline = std::chrono::seconds(5);

std::string architecture() {
  utsname name{};
  uname(&name);
  return name.machine;
}

Status make_directory(const std::string& path, mode_t mode) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) return error(Errc::kIo, "cannot be made: " + failed.message(), path);
  ::chmod(path.c_str(), mode);
  return {};
}

Secrets make_secrets(const workload::DeviceKeys& keys) {
  auto digests = std::make_shared<workload::KeyedDigest>(keys.digests());
  Secrets secrets;
  secrets.redact = [digests](std::string_view document) { return workload::redact(document, *digests); };
  secrets.digest = [digests](std::string_view document) { return digests->digest(document); };
  return secrets;
}

Sealing make_sealing(const workload::DeviceKeys& keys) {
  auto sealer = std::make_shared<workload::Sealer>(keys.sealer("deployment"));
  Sealing sealing;
  sealing.seal = [sealer](std::string_view name, std::string_view text) -> Result<std::string> {
    return sealer->seal(text, name);
  };
  sealing.open = [sealer](std::string_view name, std::string_view sealed) {
    return sealer->open(sealed, name);
  };
  return sealing;
}

runtime::ProcessOptions process_options(const config::Config& config, const ProgramPaths& paths,
                                        const workload::DeviceKeys& keys) {
  auto sealer = std::make_shared<workload::Sealer>(keys.sealer("process-spec"));
  runtime::ProcessOptions options;
  options.modules_directory = fs::absolute(config.data_dir).string() + "/modules";
  options.keeper_command = {paths.program, "keeper"};
  options.relist_period = config.agent.list_every;
  options.seal = [sealer](std::string_view plain) -> Result<std::string> {
    return sealer->seal(plain, "spec");
  };
  options.unseal = [sealer](std::string_view sealed) { return sealer->open(sealed, "spec"); };
  return options;
}

AgentOptions agent_options(const config::Config& config, const ProgramPaths& paths) {
  AgentOptions options;
  options.core.device = config.device;
  options.core.uplink_wanted = config.uplink.kind != "none";
  options.core.uplink.ping_every = config.uplink.ping_every;
  options.core.uplink.backoff_first = config.uplink.backoff_first;
  options.core.uplink.backoff_cap = config.uplink.backoff_cap;
  options.core.uplink.stable_after = config.uplink.stable_after;
  options.version = kVersion;
  options.build = build_id();
  options.architecture = architecture();
  options.network = config.agent.network;
  options.hub_command = {paths.program, "--config", paths.config_file, "hub"};
  options.heartbeat = config.agent.heartbeat;
  options.list_every = config.agent.list_every;
  return options;
}

// Everything the process owns, in the order it must be taken down.
class AgentProcess {
 public:
  AgentProcess(const config::Config& config, const ProgramPaths& paths)
      : config_(config), paths_(paths), signals_(context_, SIGTERM, SIGINT) {}

  Status open();
  void run();

 private:
  Status open_runtimes(const workload::DeviceKeys& keys);
  void stop(const std::string& reason);

  const config::Config& config_;
  ProgramPaths paths_;
  asio::io_context context_{1};
  asio::signal_set signals_;
  loop::SystemSurroundings surroundings_;
  std::unique_ptr<workload::DeviceKeys> keys_;
  loop::OpenedJournal journal_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<runtime::ProcessRuntime> process_;
  std::unique_ptr<runtime::DockerRuntime> docker_;
  std::unique_ptr<uplink::Uplink> uplink_;
  std::unique_ptr<ModuleServices> module_services_;
  std::unique_ptr<Telemetry> telemetry_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<Management> management_;
};

Status AgentProcess::open() {
  // Passed through, not listed: modules with a user of their own live below. What is inside is private
  // itself.
  if (auto status = make_directory(config_.data_dir, 0711); !status) return status;
  if (auto status = make_directory(config_.run_dir, 0711); !status) return status;
  auto keys = workload::DeviceKeys::open(config_.data_dir + "/device.key");
  if (!keys) return keys.error();
  keys_ = std::make_unique<workload::DeviceKeys>(std::move(*keys));
  persistence::JournalHooks hooks;
  hooks.gap = [this](const GapRecorded& gap) {
    asio::post(context_, [this, gap] {
      if (agent_) agent_->loop().note(gap);
    });
  };
  hooks.snapshot_wanted = [this] {
    asio::post(context_, [this] {
      if (agent_) agent_->loop().want_snapshot();
    });
  };
  auto journal =
      loop::open_journal(config_.data_dir + "/agent/journal", config_.agent.journal_budget_bytes, hooks);
  if (!journal)
    return error(journal.error().code,
                 "another agent is running on this data directory, or its journal cannot be used: " +
                     describe(journal.error()));
  journal_ = std::move(*journal);
  if (!journal_.problem.empty())
    std::fprintf(stderr, "decklog: the journal cannot be used, history is kept in memory only: %s\n",
                 journal_.problem.c_str());
  if (journal_.report.damaged)
    std::fprintf(stderr, "decklog: the journal was damaged: %s\n", journal_.report.damage.c_str());
  vault_ = std::make_unique<Vault>(config_.data_dir + "/agent/deployments", make_sealing(*keys_));
  if (auto status = open_runtimes(*keys_); !status) return status;
  auto uplink = uplink::make_uplink(context_.get_executor(), config_);
  if (!uplink) return uplink.error();
  uplink_ = std::move(*uplink);

  auto services = ModuleServices::open(context_.get_executor(), config_, *keys_, surroundings_);
  if (!services) return services.error();
  module_services_ = std::move(*services);
  telemetry_ =
      std::make_unique<Telemetry>(context_.get_executor(), config_, *journal_.journal, surroundings_);

  AgentParts parts{.journal = *journal_.journal,
                   .journal_report = journal_.report,
                   .surroundings = surroundings_,
                   .vault = *vault_,
                   .secrets = make_secrets(*keys_),
                   .runtimes = {process_.get()},
                   .uplink = *uplink_};
  if (docker_) parts.runtimes.push_back(docker_.get());
  parts.equip = [this](runtime::ModuleSpec& spec) { module_services_->equip(spec); };
  parts.on_event = [this](const Envelope& event) {
    telemetry_->take(event);
    module_services_->follow(event);
  };
  parts.notes = [this](const Envelope& event) { return telemetry_->heads_after(event); };
  parts.on_method = [this](const uplink::MethodCall& call) { telemetry_->answer_method(call); };
  agent_ = std::make_unique<Agent>(context_.get_executor(), agent_options(config_, paths_), std::move(parts));
  module_services_->attach(*agent_);
  telemetry_->attach(*agent_, *uplink_);
  management_ = std::make_unique<Management>(context_.get_executor(), *agent_);
  return management_->listen(config_.agent.management_socket);
}

Status AgentProcess::open_runtimes(const workload::DeviceKeys& keys) {
  process_ = std::make_unique<runtime::ProcessRuntime>(context_.get_executor(),
                                                       process_options(config_, paths_, keys));
  if (config_.agent.docker) {
    runtime::DockerOptions options;
    options.socket_path = config_.agent.docker_socket;
    options.owner = "decklog/" + config_.device;
    options.relist_period = config_.agent.list_every;
    docker_ = std::make_unique<runtime::DockerRuntime>(context_.get_executor(), options);
  }
  return {};
}

void AgentProcess::run() {
  signals_.async_wait([this](boost::system::error_code failed, int number) {
    if (!failed) stop(number == SIGTERM ? "SIGTERM" : "SIGINT");
  });
  agent_->start();
  for (const auto& problem : agent_->recovery().problems)
    std::fprintf(stderr, "decklog: log: %s\n", problem.c_str());
  std::printf("decklog agent %s: device %s, management socket %s\n", kVersion, config_.device.c_str(),
              config_.agent.management_socket.c_str());
  std::fflush(stdout);
  const loop::StartupMemory give_back(context_, loop::GiveBack::kEverything);
  context_.run();
}

void AgentProcess::stop(const std::string& reason) {
  agent_->stop(reason, kStopDeadline, [this] {
    management_.reset();
    (void)journal_.journal->flush();
    context_.stop();
  });
}

}  // namespace

int run_agent(const config::Config& config, const ProgramPaths& paths) {
  ::umask(0077);
  std::signal(SIGPIPE, SIG_IGN);
  AgentProcess process(config, paths);
  if (const auto status = process.open(); !status) {
    std::fprintf(stderr, "decklog: agent cannot start: %s\n", describe(status.error()).c_str());
    return 1;
  }
  process.run();
  return 0;
}

}  // namespace decklog::agent
