#include "services/runtime/docker_runtime.hpp"

#include "services/runtime/docker_core.hpp"
#include "services/runtime/log_frames.hpp"

namespace decklog::runtime {
namespace {

std::string engine_time(WallTime time) {
  char text[48];
  std::snprintf(text, sizeof text, "%lld.%09lld", static_cast<long long>(time.ns / 1'000'000'000),
                static_cast<long long>(time.ns % 1'000'000'000));
  return text;
}

std::string log_query(const LogOptions& options) {
  std::string query = "stdout=1&stderr=1&timestamps=1";
  query += options.tail ? "&tail=" + std::to_string(*options.tail) : "&tail=all";
  if (options.since) query += "&since=" + engine_time(*options.since);
  if (options.until) query += "&until=" + engine_time(*options.until);
  if (options.follow) query += "&follow=1";
  return query;
}

}  // namespace

Handle DockerCore::logs(const ModuleName& name, const LogOptions& options, LogSink sink,
                        Callback<void> done) {
  auto operation = std::make_shared<DockerOperation>();
  facts(operation, name,
        [this, operation, options, sink = std::move(sink),
         done = std::move(done)](Result<ContainerFacts> found) {
          if (!found) return done(found.error());
          auto frames = std::make_shared<LogFrames>(found->terminal ? LogFrames::Form::kTerminal
                                                                    : LogFrames::Form::kFrames);
          const auto enough = std::make_shared<bool>(false);
          const auto emit = [sink, enough, operation](const std::vector<LogLine>& lines) {
            for (const auto& line : lines) {
              if (operation->cancelled) return false;
              if (!sink(line)) {
                *enough = true;
                return false;
              }
            }
            return true;
          };
          EngineRequest asked = request("GET", "/containers/" + found->id + "/logs?" + log_query(options));
          asked.deadline = {};
          if (!options.follow) asked.idle = options_.call_deadline;
          stream(
              operation, std::move(asked),
              [frames, emit](std::string_view bytes) {
                std::vector<LogLine> lines;
                return frames->feed(bytes, lines) && emit(lines);
              },
              [frames, emit, enough, done](Reply reply) {
                if (*enough) return done({});
                if (!reply && reply.error().code == Errc::kCancelled) {
                  return done(engine_unavailable("the container engine's log makes no sense"));
                }
                if (!reply) return done(reply.error());
                if (!reply->ok()) return done(engine_refusal(*reply, "read the log"));
                std::vector<LogLine> lines;
                frames->finish(lines);
                (void)emit(lines);
                done({});
              });
        });
  return operation_handle(operation);
}

DockerRuntime::DockerRuntime(boost::asio::any_io_executor executor, DockerOptions options)
    : core_(std::make_unique<DockerCore>(std::move(executor), std::move(options))) {}

DockerRuntime::~DockerRuntime() = default;

void DockerRuntime::start(Listener listener) {
  core_->begin(std::move(listener));
}
void DockerRuntime::list(Callback<std::vector<Observation>> done) {
  core_->list(std::move(done));
}
void DockerRuntime::inspect(const ModuleName& name, Callback<Observation> done) {
  core_->inspect(name, std::move(done));
}

Handle DockerRuntime::pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
                           Callback<PullResult> done) {
  return core_->pull(spec, std::move(progress), std::move(done));
}

void DockerRuntime::create(const ModuleSpec& spec, Callback<Observation> done) {
  core_->create(spec, std::move(done));
}

void DockerRuntime::start_module(const ModuleName& name, Callback<Observation> done) {
  core_->start_module(name, std::move(done));
}

void DockerRuntime::stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done) {
  core_->stop_module(name, timeout, std::move(done));
}

void DockerRuntime::remove(const ModuleName& name, Callback<void> done) {
  core_->remove(name, std::move(done));
}

Handle DockerRuntime::exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done) {
  return core_->exec_probe(name, probe, std::move(done));
}

void DockerRuntime::address(const ModuleName& name, Callback<std::string> done) {
  core_->address(name, std::move(done));
}

Handle DockerRuntime::logs(const ModuleName& name, const LogOptions& options, LogSink sink,
                           Callback<void> done) {
  return core_->logs(name, options, std::move(sink), std::move(done));
}

}  // namespace decklog::runtime
