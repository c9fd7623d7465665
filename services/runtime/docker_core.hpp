// Inside of DockerRuntime. Lives exactly as long as it: the client drops every callback when it goes, timers
// are cancelled and check `alive_`, so handlers may hold `this`.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "services/runtime/docker_runtime.hpp"
#include "services/runtime/engine_client.hpp"
#include "services/runtime/engine_json.hpp"

namespace decklog::runtime {

// A cancellable operation of several exchanges: one at a time is under way.
struct DockerOperation {
  EngineClient::Cancel current;
  bool cancelled = false;
  void cancel() {
    cancelled = true;
    if (const auto stop = std::exchange(current, nullptr)) stop();
  }
};
using Operation = std::shared_ptr<DockerOperation>;

class DockerCore final {
 public:
  DockerCore(boost::asio::any_io_executor executor, DockerOptions options);
  ~DockerCore();

  void begin(ModuleRuntime::Listener listener);
  void list(Callback<std::vector<Observation>> done);
  void inspect(const ModuleName& name, Callback<Observation> done);
  Handle pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
              Callback<PullResult> done);
  void create(const ModuleSpec& spec, Callback<Observation> done);
  void start_module(const ModuleName& name, Callback<Observation> done);
  void stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done);
  void remove(const ModuleName& name, Callback<void> done);
  Handle exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done);
  void address(const ModuleName& name, Callback<std::string> done);
  Handle logs(const ModuleName& name, const LogOptions& options, LogSink sink, Callback<void> done);

 private:
  struct Pull;
  struct Probe;
  using Reply = Result<EngineReply>;

  // Exchanges (docker_core.cpp). `operation` may be null: then it cannot be cancelled.
  void call(const Operation& operation, EngineRequest request, EngineClient::Done done);
  void stream(const Operation& operation, EngineRequest request, EngineClient::Data data,
              EngineClient::Done done);
  void with_version(std::function<void(Status)> ready);
  void negotiated(Reply reply);
  template <class Work>
  void later(Work work) {
    boost::asio::post(executor_, [alive = std::weak_ptr<bool>(alive_), work = std::move(work)]() mutable {
      if (alive.lock()) work();
    });
  }
  EngineRequest request(std::string method, std::string target, std::string body = {}) const;

  // Containers (docker_core.cpp)
  void resolve(const Operation& operation, const ModuleName& name, Callback<std::vector<std::string>> done);
  void facts(const Operation& operation, const ModuleName& name, Callback<ContainerFacts> done);
  void facts_by_id(const Operation& operation, const std::string& id, Callback<ContainerFacts> done);
  void gather(std::shared_ptr<std::vector<ContainerEntry>> todo,
              std::shared_ptr<std::vector<Observation>> found, Callback<std::vector<Observation>> done);

  // Making (docker_create.cpp)
  void image(const Operation& operation, const std::string& reference, Callback<ImageFacts> done);
  void image_for(const Operation& operation, const ModuleSpec& spec, Callback<ImageFacts> done);
  void ensure_network(const std::string& network, Callback<void> done);
  void create_container(std::shared_ptr<const ModuleSpec> spec, std::string body, std::string name,
                        Callback<Observation> done);
  void name_taken(std::shared_ptr<const ModuleSpec> spec, std::string body, const std::string& name,
                  Callback<Observation> done);
  void remove_next(std::shared_ptr<std::vector<std::string>> ids, int attempt, Callback<void> done);

  // Pulling (docker_pull.cpp)
  void pull_from_registry(std::shared_ptr<Pull> pull);
  void pull_ended(std::shared_ptr<Pull> pull, Reply reply);
  void explain_missing_digest(std::shared_ptr<Pull> pull, Error why);

  // Probing (docker_probe.cpp)
  void probe_start(std::shared_ptr<Probe> probe);
  void probe_ended(std::shared_ptr<Probe> probe);
  void probe_timed_out(std::shared_ptr<Probe> probe);

  // Watching (docker_watch.cpp)
  void check_engine();
  void set_engine(Status status);
  void suspect();
  void retry_later();
  void open_events();
  bool on_event_bytes(std::string_view bytes);
  void relist(Callback<void> then);
  void relist_later();
  void look(const ModuleName& name);
  void publish(const Observation& seen);
  void publish_absent(const ModuleName& name);

  struct Known {
    Observation last;
    std::string entry_state;  // id and state as the list says it: unchanged = no need to inspect again
  };
  struct Look {
    bool again = false;
  };

  boost::asio::any_io_executor executor_;
  DockerOptions options_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::string version_;  // "/v1.41", empty = to be negotiated
  std::vector<std::function<void(Status)>> waiting_for_version_;
  std::map<std::string, std::vector<Callback<void>>> waiting_for_network_;

  ModuleRuntime::Listener listener_;
  bool started_ = false;
  bool checking_ = false;
  bool check_armed_ = false;  // a check is posted or its timer runs
  std::optional<bool> engine_up_;
  Duration retry_pause_{};
  std::int64_t last_event_ns_ = 0;
  std::chrono::steady_clock::time_point last_check_;
  Operation events_;
  LineBuffer event_lines_;
  std::map<ModuleName, Known> known_;
  std::map<ModuleName, Look> looks_;
  boost::asio::steady_timer retry_timer_;
  boost::asio::steady_timer relist_timer_;
  EngineClient client_;  // last: its destruction ends all that refers to the rest
};

// Handle that cancels the operation.
inline Handle operation_handle(const Operation& operation) {
  return Handle(operation.get(), [operation](void*) { operation->cancel(); });
}

inline Error no_module(const ModuleName& name) {
  return error(Errc::kNotFound, "there is no module '" + name.value + "'");
}
// What an error status of the engine means.
Error engine_refusal(const EngineReply& reply, const std::string& what);

}  // namespace decklog::runtime
