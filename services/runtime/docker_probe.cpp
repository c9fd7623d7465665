// Probes inside containers. The engine does not end what it started there when we stop listening, so a probe
// that takes too long is ended by us.
#include <signal.h>

#include "services/runtime/docker_core.hpp"
#include "services/runtime/json_fields.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {

constexpr std::size_t kCgroupFileLimitBytes = 64 << 10;
constexpr int kCannotRun = 126;  // 126 and 127: what a runtime says of a program it cannot run

// The probe's process, when it is on this machine and provably in that container.
void kill_in_container(pid_t pid, const std::string& container) {
  const auto before = process_stat(pid);
  const auto groups = read_file("/proc/" + std::to_string(pid) + "/cgroup", kCgroupFileLimitBytes);
  if (before && groups && groups->find(container) != std::string::npos)
    (void)send_signal(before->id, SIGKILL);
}

}  // namespace

struct DockerCore::Probe {
  std::string container;
  ExecProbe asked;
  Callback<void> done;
  std::string id;
  Operation operation = std::make_shared<DockerOperation>();
};

Handle DockerCore::exec_probe(const ModuleName& name, const ExecProbe& asked, Callback<void> done) {
  auto probe = std::make_shared<Probe>();
  probe->asked = asked;
  probe->done = std::move(done);
  facts(probe->operation, name, [this, probe](Result<ContainerFacts> found) {
    if (!found) return probe->done(found.error());
    if (found->seen.presence != Presence::kRunning)
      return probe->done(error(Errc::kConflict, "the module does not run"));
    probe->container = found->id;
    call(probe->operation,
         request("POST", "/containers/" + found->id + "/exec", exec_body(probe->asked.command)),
         [this, probe](Reply reply) {
           if (!reply) return probe->done(reply.error());
           if (!reply->ok()) return probe->done(engine_refusal(*reply, "probe"));
           boost::system::error_code failed;
           const auto value = boost::json::parse(reply->body, failed);
           probe->id = failed ? "" : text_of(member(&value, "Id"));
           if (probe->id.empty())
             return probe->done(engine_unavailable("the container engine's answer is not a probe"));
           probe_start(probe);
         });
  });
  return operation_handle(probe->operation);
}

void DockerCore::probe_start(std::shared_ptr<Probe> probe) {
  EngineRequest asked =
      request("POST", "/exec/" + encode_query(probe->id) + "/start", R"({"Detach":false,"Tty":false})");
  asked.deadline = probe->asked.timeout;
  with_version([this, probe, asked = std::move(asked)](Status ready) mutable {
    if (probe->operation->cancelled) return;
    if (!ready) return probe->done(ready.error());
    asked.target = version_ + asked.target;
    // Not through stream(): the probe's deadline is no sign of a sick engine. Output is not kept.
    probe->operation->current = client_.stream(
        std::move(asked), [](std::string_view) { return true; },
        [this, probe](Reply reply) {
          if (!reply && reply.error().code == Errc::kTimeout) return probe_timed_out(probe);
          if (!reply) {
            suspect();
            return probe->done(reply.error());
          }
          if (!reply->ok()) return probe->done(engine_refusal(*reply, "probe"));
          probe_ended(probe);
        });
  });
}

void DockerCore::probe_ended(std::shared_ptr<Probe> probe) {
  call(probe->operation, request("GET", "/exec/" + encode_query(probe->id) + "/json"), [probe](Reply reply) {
    if (!reply) return probe->done(reply.error());
    if (!reply->ok()) return probe->done(engine_refusal(*reply, "probe"));
    boost::system::error_code failed;
    const auto value = boost::json::parse(reply->body, failed);
    const auto* code = failed ? nullptr : member(&value, "ExitCode");
    if (!code || !code->is_number())
      return probe->done(engine_unavailable("the probe's result makes no sense"));
    const auto status = integer_of(code);
    if (status == 0) return probe->done({});
    if (status == kCannotRun || status == kCannotRun + 1) {
      return probe->done(error(Errc::kInvalidArgument, "the probe command cannot be run in the module"));
    }
    probe->done(error(Errc::kConflict, "probe command ended with exit status " + std::to_string(status)));
  });
}

void DockerCore::probe_timed_out(std::shared_ptr<Probe> probe) {
  call(probe->operation, request("GET", "/exec/" + encode_query(probe->id) + "/json"), [probe](Reply reply) {
    if (reply && reply->ok()) {
      boost::system::error_code failed;
      const auto value = boost::json::parse(reply->body, failed);
      if (!failed && bool_of(member(&value, "Running"))) {
        kill_in_container(static_cast<pid_t>(integer_of(member(&value, "Pid"))), probe->container);
      }
    }
    probe->done(error(Errc::kTimeout, "probe command timed out"));
  });
}

}  // namespace decklog::runtime
