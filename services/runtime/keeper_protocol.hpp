// What agent and keeper say to each other: one request over the keeper's standard input, one reply back, and
// the record that the keeper leaves in the module's directory. JSON; sizes bounded; unknown members ignored,
// so that an agent can read what an older or newer keeper wrote. Thread safety: pure functions. Failure:
// kMalformed with the member's name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {

inline constexpr std::size_t kKeeperRequestLimitBytes = 4 << 20;
inline constexpr std::size_t kKeeperReplyLimitBytes = 64 << 10;
inline constexpr std::size_t kKeeperRecordLimitBytes = 64 << 10;

// What a module's process is made of; also what is stored (sealed when there is a key) for the next start.
struct ProcessSpec {
  std::string name;
  std::string spec_hash;
  std::vector<std::string> command;
  std::map<std::string, std::string> env;
  std::string working_directory;  // absolute
  std::string user;               // empty = as the keeper
  std::uint64_t memory_limit_bytes = 0;
};

enum class KeeperTask : std::uint8_t {
  kModule = 1,  // start, keep, record
  kProbe = 2,   // run once in the module's context, answer with how it ended
};

struct KeeperRequest {
  KeeperTask task = KeeperTask::kModule;
  ProcessSpec spec;
  std::string directory;  // of the module: record, lock and logs
  Duration timeout{};     // kProbe
  std::uint64_t log_file_bytes = 1 << 20;
  std::uint32_t log_files = 5;
};

struct KeeperReply {
  bool started = false;
  Errc code = Errc::kOk;  // when not started, or when a probe could not be run or timed out
  std::string message;
  ProcessId module;
  int exit_code = 0;  // kProbe
};

enum class KeeperPhase : std::uint8_t {
  kStarting = 1,
  kRunning = 2,
  kExited = 3,
  kFailed = 4,  // could not be started; `message` tells why
};

struct KeeperRecord {
  KeeperPhase phase = KeeperPhase::kStarting;
  std::string spec_hash;
  BootId boot;
  ProcessId keeper;
  ProcessId module;
  WallTime started_at;
  WallTime finished_at;
  int exit_code = 0;
  int signal = 0;
  bool oom_killed = false;
  std::string cgroup;  // path of the module's own control group, or empty
  std::string message;
};

std::string to_json(const ProcessSpec& spec);
std::string to_json(const KeeperRequest& request);
std::string to_json(const KeeperReply& reply);
std::string to_json(const KeeperRecord& record);
Result<ProcessSpec> parse_process_spec(std::string_view text);
Result<KeeperRequest> parse_keeper_request(std::string_view text);
Result<KeeperReply> parse_keeper_reply(std::string_view text);
Result<KeeperRecord> parse_keeper_record(std::string_view text);

// Names inside a module's directory.
inline std::string record_path(const std::string& directory) {
  return directory + "/state.json";
}
inline std::string spec_path(const std::string& directory) {
  return directory + "/spec";
}
inline std::string lock_path(const std::string& directory) {
  return directory + "/keeper.lock";
}
inline std::string log_directory(const std::string& directory) {
  return directory + "/logs";
}

}  // namespace decklog::runtime
