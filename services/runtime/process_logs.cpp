// Reading of captured output, in slices, so that a long log never holds up supervision.
#include <boost/asio/post.hpp>
#include <deque>

#include "services/runtime/log_files.hpp"
#include "services/runtime/process_core.hpp"

namespace decklog::runtime {
namespace {

class LogStream final : public std::enable_shared_from_this<LogStream> {
 public:
  LogStream(std::shared_ptr<ProcessCore> core, ModuleName name, const std::string& directory,
            LogOptions options, LogSink sink, Callback<void> done)
      : core_(core),
        name_(std::move(name)),
        reader_(directory),
        options_(std::move(options)),
        sink_(std::move(sink)),
        done_(std::move(done)) {}

  void start(const std::shared_ptr<DirectoryWatcher>& watcher, const std::string& directory);
  void cancel() {
    done_ = nullptr;
    sink_ = nullptr;
    output_watch_.reset();
    record_watch_.reset();
  }
  void wake();

 private:
  void step();
  bool take(LogLine line);
  bool emit_tail();
  void finish(Status status);

  std::weak_ptr<ProcessCore> core_;
  ModuleName name_;
  LogReader reader_;
  LogOptions options_;
  LogSink sink_;
  Callback<void> done_;
  std::shared_ptr<void> output_watch_;
  std::shared_ptr<void> record_watch_;
  std::deque<LogLine> tail_;
  bool past_ = true;  // still reading what was there at the start
  bool posted_ = false;
  bool was_ended_ = false;  // the module had ended before the last, empty read
};

void LogStream::start(const std::shared_ptr<DirectoryWatcher>& watcher, const std::string& directory) {
  if (options_.follow) {
    const auto changed = [weak = weak_from_this()](const std::string&) {
      if (const auto self = weak.lock()) self->wake();
    };
    auto output = watcher->watch(log_directory(directory), changed);
    auto record = watcher->watch(directory, changed);  // the module's end, or its removal
    if (!output || !record) {
      const Error why = output ? record.error() : output.error();
      boost::asio::post(core_.lock()->executor(), [self = shared_from_this(), why] { self->finish(why); });
      return;
    }
    output_watch_ = *output;
    record_watch_ = *record;
  }
  wake();
}

void LogStream::wake() {
  const auto core = core_.lock();
  if (posted_ || !done_ || !core) return;
  posted_ = true;
  boost::asio::post(core->executor(), [self = shared_from_this()] {
    self->posted_ = false;
    const auto alive = self->core_.lock();
    if (self->done_ && alive && !alive->closed()) self->step();
  });
}

bool LogStream::take(LogLine line) {
  if (options_.since && line.time < *options_.since) return true;
  if (options_.until && line.time > *options_.until) return true;
  if (past_ && options_.tail) {
    tail_.push_back(std::move(line));
    if (tail_.size() > *options_.tail) tail_.pop_front();
    return true;
  }
  return sink_ && sink_(line);
}

bool LogStream::emit_tail() {
  for (const auto& line : std::exchange(tail_, {})) {
    if (!sink_ || !sink_(line)) return false;
  }
  return true;
}

void LogStream::step() {
  const auto self = shared_from_this();
  const auto lines = reader_.read_some();
  for (const auto& line : lines) {
    if (!take(line)) return finish({});
  }
  if (!lines.empty()) return wake();
  if (past_ && !emit_tail()) return finish({});
  past_ = false;
  if (!options_.follow || was_ended_) return finish({});
  const auto core = core_.lock();
  const auto seen = core->inspect(name_);
  // All output is on the disk before the end is recorded: one more read after seeing the end gets the rest.
  if (!seen || seen->presence != Presence::kRunning) {
    was_ended_ = true;
    wake();
  }
}

void LogStream::finish(Status status) {
  output_watch_.reset();
  record_watch_.reset();
  sink_ = nullptr;
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(status));
}

}  // namespace

Handle ProcessCore::logs(const ModuleName& name, const LogOptions& options, LogSink sink,
                         Callback<void> done) {
  const auto seen = refresh(name);
  if (!seen) {
    auto open = std::make_shared<bool>(true);
    boost::asio::post(executor_, [self = shared_from_this(), done = std::move(done), why = seen.error(),
                                  weak = std::weak_ptr<bool>(open)] {
      if (weak.lock() && !self->closed_) done(why);
    });
    return open;
  }
  const std::string directory = log_directory(store_.directory(name));
  auto stream = std::make_shared<LogStream>(shared_from_this(), name, directory, options, std::move(sink),
                                            std::move(done));
  stream->start(watcher_, store_.directory(name));
  return Handle(stream.get(), [stream](void*) { stream->cancel(); });
}

}  // namespace decklog::runtime
