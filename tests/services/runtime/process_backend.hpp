// The process runtime as the contract suite wants it: a temporary modules directory and the test's own
// keeper.
#pragma once

#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "services/runtime/posix.hpp"
#include "services/runtime/process_runtime.hpp"

namespace decklog::runtime {

struct ProcessBackend {
  ProcessBackend() {
    char name[] = "/tmp/decklog-process-XXXXXX";
    root = ::mkdtemp(name);
    options.modules_directory = root + "/data/modules";
    options.keeper_command = {std::string(DECKLOG_BINARY_DIR) + "/runtime_test_keeper", "keeper"};
  }
  ~ProcessBackend() {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }

  std::unique_ptr<ModuleRuntime> make(boost::asio::any_io_executor executor) const {
    return std::make_unique<ProcessRuntime>(std::move(executor), options);
  }
  ModuleSpec spec(const std::string& name, const std::string& script) const {
    ModuleSpec spec;
    spec.name = ModuleName(name);
    spec.kind = RuntimeKind::kProcess;
    spec.spec_hash = "hash-of-" + name;
    spec.command = {"/bin/sh", "-c", script};
    return spec;
  }
  static ProcessId process_of(const Observation& seen) {
    const auto at = seen.runtime_id.find('@');
    return {static_cast<pid_t>(std::stol(seen.runtime_id)), std::stoull(seen.runtime_id.substr(at + 1))};
  }
  static void kill_module(const Observation& seen) { (void)send_signal(process_of(seen), SIGKILL); }
  static void break_command(ModuleSpec& spec) { spec.command = {"/no/such/program"}; }
  std::string directory(const ModuleName& name) const { return options.modules_directory + "/" + name.value; }

  std::string root;
  ProcessOptions options;
};

}  // namespace decklog::runtime
