// The module directories of the process runtime, and what they and /proc say of a module. Blocking, small
// files only. Thread safety: none needed; one runtime per directory. Failure: kNotFound when there is no such
// module, kIo, kMalformed for a spec that cannot be read.
#pragma once

#include <string>
#include <vector>

#include "services/runtime/keeper_protocol.hpp"
#include "services/runtime/process_runtime.hpp"

namespace decklog::runtime {

struct ProcessState {
  Observation seen;
  ProcessId keeper;  // pid 0 when none is there
};

class ProcessStore final {
 public:
  explicit ProcessStore(const ProcessOptions& options) : options_(options) {}

  std::string directory(const ModuleName& name) const {
    return options_.modules_directory + "/" + name.value;
  }
  std::vector<ModuleName> names() const;
  Result<std::string> stored_hash(const ModuleName& name) const;
  Status save(const ModuleSpec& spec) const;
  Result<ProcessSpec> load(const ModuleName& name) const;
  Status erase(const ModuleName& name) const;

  // Level-triggered truth. Ends what is left of a module whose keeper was killed, and writes that down.
  Result<ProcessState> observe(const ModuleName& name) const;

 private:
  Observation from_record(const ModuleName& name, const KeeperRecord& record) const;
  void record_lost_keeper(const ModuleName& name, KeeperRecord& record) const;

  const ProcessOptions& options_;
};

// The spec as the keeper wants it.
ProcessSpec process_spec(const ModuleSpec& spec, const std::string& directory);

}  // namespace decklog::runtime
