#include "services/runtime/process_store.hpp"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "services/runtime/cgroup.hpp"

namespace decklog::runtime {
namespace {

constexpr std::size_t kSpecLimitBytes = 4 << 20;
constexpr std::string_view kPlainHeader = "decklog-spec 1 plain ";
constexpr std::string_view kSealedHeader = "decklog-spec 1 sealed ";
constexpr int kExitUnknown = 255;  // as the container engine says of what ended with the device

struct SpecFile {
  bool sealed = false;
  std::string hash;
  std::string body;
};

Result<SpecFile> read_spec_file(const std::string& directory) {
  auto bytes = read_file(spec_path(directory), kSpecLimitBytes);
  if (!bytes) return bytes.error();
  const auto newline = bytes->find('\n');
  const std::string head = bytes->substr(0, newline);
  SpecFile file;
  file.sealed = head.starts_with(kSealedHeader);
  if (newline == std::string::npos || (!file.sealed && !head.starts_with(kPlainHeader))) {
    return error(Errc::kMalformed, "not a module spec", spec_path(directory));
  }
  file.hash = head.substr(file.sealed ? kSealedHeader.size() : kPlainHeader.size());
  file.body = bytes->substr(newline + 1);
  return file;
}

void kill_orphans(const KeeperRecord& record) {
  // The parent death signal has ended the module already unless it changed its credentials; its session may
  // live.
  const auto leader = process_stat(record.module.pid);
  if (leader && leader->id != record.module) return;  // the number belongs to somebody else by now
  for (const ProcessStat& process : all_processes()) {
    if (process.session != record.module.pid || process.id.start_ticks < record.module.start_ticks) continue;
    (void)send_signal(process.id, SIGKILL);
  }
}

// So that a module with a user of its own can reach its data below directories that are otherwise ours alone.
Status open_for_user(const ModuleSpec& spec, const std::string& modules, const std::string& directory) {
  if (spec.user.empty() || ::geteuid() != 0) return {};
  const passwd* user = ::getpwnam(spec.user.c_str());
  if (!user)
    return error(Errc::kInvalidArgument, "there is no user '" + spec.user + "' on this device", "user");
  ::chmod(modules.c_str(), 0711);
  ::chmod(directory.c_str(), 0711);
  if (::chown((directory + "/data").c_str(), user->pw_uid, user->pw_gid) != 0) {
    return errno_error(errno, "change the owner of " + directory + "/data");
  }
  return {};
}

}  // namespace

ProcessSpec process_spec(const ModuleSpec& spec, const std::string& directory) {
  ProcessSpec made;
  made.name = spec.name.value;
  made.spec_hash = spec.spec_hash;
  made.command = spec.command;
  made.env = spec.env;
  made.working_directory = spec.working_directory.empty() ? directory + "/data" : spec.working_directory;
  made.user = spec.user;
  made.memory_limit_bytes = spec.memory_limit_bytes;
  return made;
}

std::vector<ModuleName> ProcessStore::names() const {
  std::vector<ModuleName> found;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(options_.modules_directory, failed), end;
       !failed && entry != end; entry.increment(failed)) {
    ModuleName name(entry->path().filename().string());
    if (check_module_name(name) && ::access(spec_path(directory(name)).c_str(), F_OK) == 0) {
      found.push_back(std::move(name));
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<std::string> ProcessStore::stored_hash(const ModuleName& name) const {
  auto file = read_spec_file(directory(name));
  if (!file) return file.error();
  return file->hash;
}

Status ProcessStore::save(const ModuleSpec& spec) const {
  if (spec.spec_hash.find('\n') != std::string::npos) {
    return error(Errc::kInvalidArgument, "holds a newline", "spec_hash");
  }
  const std::string home = directory(spec.name);
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(options_.modules_directory).parent_path(),
                                      failed);
  for (const auto& path : {options_.modules_directory, home, home + "/data", log_directory(home)}) {
    if (auto made = make_directory(path, 0700); !made) return made;
  }
  if (auto opened = open_for_user(spec, options_.modules_directory, home); !opened) return opened;
  std::string body = to_json(process_spec(spec, home));
  if (options_.seal) {
    auto sealed = options_.seal(body);
    if (!sealed) return sealed.error();
    body = std::move(*sealed);
  }
  const std::string head = std::string(options_.seal ? kSealedHeader : kPlainHeader) + spec.spec_hash + "\n";
  return write_file_atomic(spec_path(home), head + body, Sync::kBeforeRename);
}

Result<ProcessSpec> ProcessStore::load(const ModuleName& name) const {
  auto file = read_spec_file(directory(name));
  if (!file) return file.error();
  if (!file->sealed) return parse_process_spec(file->body);
  if (!options_.unseal)
    return error(Errc::kPermissionDenied, "the module's spec is sealed and there is no key");
  auto plain = options_.unseal(file->body);
  if (!plain) return plain.error();
  return parse_process_spec(*plain);
}

Status ProcessStore::erase(const ModuleName& name) const {
  // First the spec: without it the module does not exist, whatever happens to the rest.
  ::unlink(spec_path(directory(name)).c_str());
  std::error_code failed;
  std::filesystem::remove_all(directory(name), failed);
  if (failed) return error(Errc::kIo, "remove " + directory(name) + ": " + failed.message());
  return {};
}

void ProcessStore::record_lost_keeper(const ModuleName& name, KeeperRecord& record) const {
  kill_orphans(record);
  record.phase = KeeperPhase::kExited;
  record.oom_killed = oom_kills(record.cgroup) > 0;
  remove_cgroup(record.cgroup);
  record.cgroup.clear();
  record.exit_code = kExitUnknown;
  record.finished_at = wall_now();
  record.message = "its keeper was killed: how the module ended is not known";
  (void)write_file_even_when_full(record_path(directory(name)), to_json(record), Sync::kBeforeRename);
}

Observation ProcessStore::from_record(const ModuleName& name, const KeeperRecord& record) const {
  Observation seen;
  seen.name = name;
  seen.spec_hash = record.spec_hash;
  seen.boot = record.boot;
  seen.detail = record.message;
  if (record.phase == KeeperPhase::kStarting || record.phase == KeeperPhase::kFailed) {
    seen.presence = Presence::kCreated;
    seen.exit_code = record.exit_code;
    return seen;
  }
  seen.runtime_id = std::to_string(record.module.pid) + "@" + std::to_string(record.module.start_ticks);
  seen.started_at = record.started_at;
  seen.finished_at = record.finished_at;
  seen.exit_code = record.exit_code;
  seen.signal = record.signal;
  seen.oom_killed = record.oom_killed;
  seen.presence = record.phase == KeeperPhase::kRunning ? Presence::kRunning : Presence::kExited;
  return seen;
}

Result<ProcessState> ProcessStore::observe(const ModuleName& name) const {
  if (auto ok = check_module_name(name); !ok) return ok.error();
  auto hash = stored_hash(name);
  if (!hash && hash.error().code == Errc::kNotFound) {
    return error(Errc::kNotFound, "there is no module '" + name.value + "'");
  }
  ProcessState state;
  state.seen.name = name;
  state.seen.presence = Presence::kCreated;
  state.seen.spec_hash =
      hash ? *hash : "";  // a spec that cannot be read matches nothing: it will be made anew
  const BootId boot = current_boot();
  for (int attempt = 0;; ++attempt) {
    const auto text = read_file(record_path(directory(name)), kKeeperRecordLimitBytes);
    if (!text && text.error().code == Errc::kNotFound) return state;
    auto record = text ? parse_keeper_record(*text) : Result<KeeperRecord>(text.error());
    if (!record) {
      state.seen.presence = Presence::kExited;
      state.seen.exit_code = kExitUnknown;
      state.seen.detail = "its record cannot be read: " + describe(record.error());
      return state;
    }
    const bool open = record->phase == KeeperPhase::kRunning || record->phase == KeeperPhase::kStarting;
    if (open && record->boot == boot) {
      if (is_alive(record->keeper)) {
        state.keeper = record->keeper;
      } else if (attempt == 0) {
        continue;  // it may have written the end between our reading and our looking
      } else if (record->phase == KeeperPhase::kRunning) {
        record_lost_keeper(name, *record);
      }
    } else if (record->phase == KeeperPhase::kRunning) {
      record->phase = KeeperPhase::kExited;
      record->exit_code = kExitUnknown;
      record->message = "ended with the device (power loss or reboot)";
    }
    state.seen = from_record(name, *record);
    state.seen.spec_hash = hash ? *hash : "";
    return state;
  }
}

}  // namespace decklog::runtime
