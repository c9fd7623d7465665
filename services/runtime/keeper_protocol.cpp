#include "services/runtime/keeper_protocol.hpp"

#include "services/runtime/json_fields.hpp"

namespace decklog::runtime {
namespace json = boost::json;
namespace {

json::object process_json(const ProcessId& id) {
  return {{"pid", id.pid}, {"start_ticks", id.start_ticks}};
}

ProcessId process_of(const json::value* value) {
  return {static_cast<pid_t>(integer_of(member(value, "pid"))),
          static_cast<std::uint64_t>(integer_of(member(value, "start_ticks")))};
}

json::object spec_json(const ProcessSpec& spec) {
  json::array command;
  for (const auto& word : spec.command) command.emplace_back(word);
  json::object env;
  for (const auto& [name, value] : spec.env) env[name] = value;
  return {{"name", spec.name},
          {"spec_hash", spec.spec_hash},
          {"command", std::move(command)},
          {"env", std::move(env)},
          {"working_directory", spec.working_directory},
          {"user", spec.user},
          {"memory_limit_bytes", spec.memory_limit_bytes}};
}

Result<ProcessSpec> spec_of(const json::value* value) {
  ProcessSpec spec;
  spec.name = text_of(member(value, "name"));
  spec.spec_hash = text_of(member(value, "spec_hash"));
  spec.working_directory = text_of(member(value, "working_directory"));
  spec.user = text_of(member(value, "user"));
  spec.memory_limit_bytes = static_cast<std::uint64_t>(integer_of(member(value, "memory_limit_bytes")));
  const auto* command = member(value, "command");
  if (!command || !command->is_array()) return error(Errc::kMalformed, "not an array", "command");
  for (const auto& word : command->get_array()) {
    if (!word.is_string()) return error(Errc::kMalformed, "not a string", "command");
    spec.command.push_back(text_of(&word));
  }
  if (spec.command.empty()) return error(Errc::kMalformed, "empty", "command");
  const auto* env = member(value, "env");
  if (env && env->is_object()) {
    for (const auto& [name, content] : env->get_object())
      spec.env.emplace(std::string(name), text_of(&content));
  }
  return spec;
}

Result<json::value> parse_object(std::string_view text, const char* what) {
  boost::system::error_code failed;
  json::value value = json::parse(text, failed);
  if (failed || !value.is_object()) return error(Errc::kMalformed, "not a JSON object", what);
  return value;
}

}  // namespace

std::string to_json(const ProcessSpec& spec) {
  return json::serialize(spec_json(spec));
}

std::string to_json(const KeeperRequest& request) {
  return json::serialize(json::object{{"task", static_cast<int>(request.task)},
                                      {"spec", spec_json(request.spec)},
                                      {"directory", request.directory},
                                      {"timeout_ns", request.timeout.count()},
                                      {"log_file_bytes", request.log_file_bytes},
                                      {"log_files", request.log_files}});
}

std::string to_json(const KeeperReply& reply) {
  return json::serialize(json::object{{"started", reply.started},
                                      {"code", static_cast<int>(reply.code)},
                                      {"message", reply.message},
                                      {"module", process_json(reply.module)},
                                      {"exit_code", reply.exit_code}});
}

std::string to_json(const KeeperRecord& record) {
  return json::serialize(json::object{{"version", 1},
                                      {"phase", static_cast<int>(record.phase)},
                                      {"spec_hash", record.spec_hash},
                                      {"boot", record.boot.value},
                                      {"keeper", process_json(record.keeper)},
                                      {"module", process_json(record.module)},
                                      {"started_at_ns", record.started_at.ns},
                                      {"finished_at_ns", record.finished_at.ns},
                                      {"exit_code", record.exit_code},
                                      {"signal", record.signal},
                                      {"oom_killed", record.oom_killed},
                                      {"cgroup", record.cgroup},
                                      {"message", record.message}});
}

Result<ProcessSpec> parse_process_spec(std::string_view text) {
  auto value = parse_object(text, "module spec");
  if (!value) return value.error();
  return spec_of(&*value);
}

Result<KeeperRequest> parse_keeper_request(std::string_view text) {
  auto value = parse_object(text, "keeper request");
  if (!value) return value.error();
  auto spec = spec_of(member(&*value, "spec"));
  if (!spec) return spec.error();
  KeeperRequest request;
  request.spec = std::move(*spec);
  const auto task = integer_of(member(&*value, "task"));
  if (task != 1 && task != 2) return error(Errc::kMalformed, "unknown task", "task");
  request.task = static_cast<KeeperTask>(task);
  request.directory = text_of(member(&*value, "directory"));
  request.timeout = Duration(integer_of(member(&*value, "timeout_ns")));
  request.log_file_bytes = static_cast<std::uint64_t>(integer_of(member(&*value, "log_file_bytes"), 1 << 20));
  request.log_files = static_cast<std::uint32_t>(integer_of(member(&*value, "log_files"), 5));
  return request;
}

Result<KeeperReply> parse_keeper_reply(std::string_view text) {
  auto value = parse_object(text, "keeper reply");
  if (!value) return value.error();
  KeeperReply reply;
  reply.started = bool_of(member(&*value, "started"));
  reply.code = static_cast<Errc>(integer_of(member(&*value, "code")));
  reply.message = text_of(member(&*value, "message"));
  reply.module = process_of(member(&*value, "module"));
  reply.exit_code = static_cast<int>(integer_of(member(&*value, "exit_code")));
  return reply;
}

Result<KeeperRecord> parse_keeper_record(std::string_view text) {
  auto value = parse_object(text, "keeper record");
  if (!value) return value.error();
  const auto phase = integer_of(member(&*value, "phase"));
  if (phase < 1 || phase > 4) return error(Errc::kMalformed, "unknown phase", "phase");
  KeeperRecord record;
  record.phase = static_cast<KeeperPhase>(phase);
  record.spec_hash = text_of(member(&*value, "spec_hash"));
  record.boot = BootId(text_of(member(&*value, "boot")));
  record.keeper = process_of(member(&*value, "keeper"));
  record.module = process_of(member(&*value, "module"));
  record.started_at = {integer_of(member(&*value, "started_at_ns"))};
  record.finished_at = {integer_of(member(&*value, "finished_at_ns"))};
  record.exit_code = static_cast<int>(integer_of(member(&*value, "exit_code")));
  record.signal = static_cast<int>(integer_of(member(&*value, "signal")));
  record.oom_killed = bool_of(member(&*value, "oom_killed"));
  record.cgroup = text_of(member(&*value, "cgroup"));
  record.message = text_of(member(&*value, "message"));
  return record;
}

}  // namespace decklog::runtime
