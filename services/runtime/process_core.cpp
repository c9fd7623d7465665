#include "services/runtime/process_core.hpp"

#include <signal.h>

#include <boost/asio/post.hpp>
#include <chrono>

#include "services/runtime/keeper_launch.hpp"

namespace decklog::runtime {
namespace asio = boost::asio;
namespace {

constexpr auto kRelistWithoutPidfd = std::chrono::seconds(1);

auto steady(Duration duration) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration);
}

}  // namespace

template <class Work>
void ProcessCore::later(Work work) {
  asio::post(executor_, [weak = weak_from_this(), work = std::move(work)]() mutable {
    const auto self = weak.lock();
    if (self && !self->closed_) work();
  });
}

ProcessCore::ProcessCore(asio::any_io_executor executor, ProcessOptions options)
    : executor_(executor),
      options_(std::move(options)),
      store_(options_),
      watcher_(std::make_shared<DirectoryWatcher>(executor)),
      relist_timer_(executor) {}

void ProcessCore::close() {
  closed_ = true;
  relist_timer_.cancel();
  modules_.clear();
  watcher_->close();
  listener_ = {};
}

void ProcessCore::begin(ModuleRuntime::Listener listener) {
  listener_ = std::move(listener);
  started_ = true;
  later([this] {
    if (listener_.on_engine) listener_.on_engine({});
  });
  for (auto& [name, module] : modules_) module.told = false;
  for (const auto& name : store_.names()) (void)refresh(name);
  relist_later();
}

void ProcessCore::relist_later() {
  relist_timer_.expires_after(pidfd_missing_
                                  ? std::min(steady(options_.relist_period), steady(kRelistWithoutPidfd))
                                  : steady(options_.relist_period));
  relist_timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self || self->closed_) return;
    (void)self->list();
    self->relist_later();
  });
}

Result<std::vector<Observation>> ProcessCore::list() {
  std::vector<ModuleName> names = store_.names();
  for (const auto& [name, module] : modules_) names.push_back(name);  // those that vanished
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<Observation> found;
  for (const auto& name : names) {
    auto seen = refresh(name);
    if (seen) found.push_back(std::move(*seen));
  }
  return found;
}

Result<Observation> ProcessCore::inspect(const ModuleName& name) {
  return refresh(name);
}

Result<Observation> ProcessCore::refresh(const ModuleName& name) {
  auto state = store_.observe(name);
  if (!state) {
    if (state.error().code == Errc::kNotFound) forget(name);
    return state.error();
  }
  Module& module = modules_[name];
  watch(name, module, *state);
  publish(module, state->seen);
  if (state->seen.presence != Presence::kRunning) {
    for (const auto& waiter : std::exchange(module.stops, {})) {
      waiter->timer.cancel();
      later([waiter, seen = state->seen] { waiter->done(seen); });
    }
  }
  return state->seen;
}

void ProcessCore::publish(Module& module, const Observation& seen) {
  if (module.told && module.last == seen) return;
  module.last = seen;
  if (!started_) return;
  module.told = true;
  later([this, seen] {
    if (listener_.on_module) listener_.on_module(seen);
  });
}

void ProcessCore::forget(const ModuleName& name) {
  const auto found = modules_.find(name);
  if (found == modules_.end()) return;
  Module gone = std::move(found->second);
  modules_.erase(found);
  Observation seen;
  seen.name = name;
  seen.presence = Presence::kAbsent;
  for (const auto& waiter : gone.stops) {
    waiter->timer.cancel();
    later([waiter, seen] { waiter->done(seen); });
  }
  for (auto& done : gone.starters) {
    later([done = std::move(done)] { done(error(Errc::kNotFound, "the module was removed")); });
  }
  if (!gone.told) return;
  later([this, seen] {
    if (listener_.on_module) listener_.on_module(seen);
  });
}

void ProcessCore::watch(const ModuleName& name, Module& module, const ProcessState& state) {
  if (!module.record_watch) {
    auto handle =
        watcher_->watch(store_.directory(name), [weak = weak_from_this(), name](const std::string& file) {
          const auto self = weak.lock();
          if (self && !self->closed_ && (file.empty() || file == "state.json" || file == "spec"))
            (void)self->refresh(name);
        });
    if (handle) module.record_watch = *handle;
  }
  if (state.keeper == module.keeper) return;
  module.keeper = state.keeper;
  module.keeper_end.reset();
  if (module.keeper.pid != 0) watch_keeper(name, module);
}

// The keeper's end is the second way to notice: the only one when it was killed before it could write.
void ProcessCore::watch_keeper(const ModuleName& name, Module& module) {
  auto fd = open_pidfd(module.keeper);
  if (!fd) {
    if (fd.error().code == Errc::kUnsupported) pidfd_missing_ = true;
    module.keeper = {};  // look again next time
    if (fd.error().code == Errc::kNotFound) later([this, name] { (void)refresh(name); });
    return;
  }
  module.keeper_end = std::make_unique<asio::posix::stream_descriptor>(executor_, fd->release());
  module.keeper_end->async_wait(asio::posix::stream_descriptor::wait_read,
                                [weak = weak_from_this(), name](const boost::system::error_code& failed) {
                                  const auto self = weak.lock();
                                  if (!failed && self && !self->closed_) (void)self->refresh(name);
                                });
}

Result<Observation> ProcessCore::create(const ModuleSpec& spec) {
  if (auto ok = check_module_name(spec.name); !ok) return ok.error();
  if (spec.command.empty() || spec.command[0].empty()) {
    return error(Errc::kInvalidArgument, "no command given", spec.name.value);
  }
  const auto hash = store_.stored_hash(spec.name);
  if (hash) {
    if (*hash == spec.spec_hash) return refresh(spec.name);
    return error(Errc::kAlreadyExists, "a module with another spec is there", spec.name.value);
  }
  if (hash.error().code == Errc::kMalformed) (void)store_.erase(spec.name);
  if (auto saved = store_.save(spec); !saved) return saved.error();
  return refresh(spec.name);
}

KeeperRequest ProcessCore::keeper_request(const ModuleName& name, ProcessSpec spec, KeeperTask task) const {
  KeeperRequest request;
  request.task = task;
  request.spec = std::move(spec);
  request.directory = store_.directory(name);
  request.log_file_bytes = options_.log_file_bytes;
  request.log_files = options_.log_files;
  return request;
}

void ProcessCore::start_module(const ModuleName& name, Callback<Observation> done) {
  auto seen = refresh(name);
  if (!seen || seen->presence == Presence::kRunning) {
    later([done = std::move(done), seen] { done(seen); });
    return;
  }
  Module& module = modules_[name];
  module.starters.push_back(std::move(done));
  if (module.starters.size() > 1) return;
  auto spec = store_.load(name);
  if (!spec) {
    later([this, name, why = spec.error()] { finish_start(name, why); });
    return;
  }
  module.launch = launch_keeper(
      executor_, options_.keeper_command, keeper_request(name, std::move(*spec), KeeperTask::kModule),
      options_.launch_deadline, [weak = weak_from_this(), name](Result<KeeperReply> reply) {
        const auto self = weak.lock();
        if (self && !self->closed_) self->finish_start(name, std::move(reply));
      });
}

void ProcessCore::finish_start(const ModuleName& name, Result<KeeperReply> reply) {
  const auto found = modules_.find(name);
  if (found == modules_.end()) return;
  const auto starters = std::exchange(found->second.starters, {});
  auto seen = refresh(name);
  if (!reply) {
    seen = reply.error();
  } else if (!reply->started) {
    seen = error(reply->code, reply->message, name.value);
  }
  for (const auto& done : starters) later([done, seen] { done(seen); });
}

void ProcessCore::stop_module(const ModuleName& name, int first, Duration timeout,
                              Callback<Observation> done) {
  auto seen = refresh(name);
  if (!seen || seen->presence != Presence::kRunning) {
    later([done = std::move(done), seen] { done(seen); });
    return;
  }
  Module& module = modules_[name];
  // The keeper is the module's parent: it alone can signal the group without ever hitting a stranger.
  if (module.keeper.pid == 0)
    module.keeper = store_.observe(name) ? store_.observe(name)->keeper : ProcessId{};
  const auto waiter =
      std::make_shared<StopWaiter>(StopWaiter{asio::steady_timer(executor_), false, std::move(done)});
  module.stops.push_back(waiter);
  waiter->killed = first == SIGUSR2;
  const auto sent = send_signal(module.keeper, first);
  if (!sent && sent.error().code != Errc::kNotFound) {
    std::erase(module.stops, waiter);
    later([waiter, why = sent.error()] { waiter->done(why); });
    return;
  }
  arm_stop(name, waiter, waiter->killed ? options_.kill_deadline : timeout);
  if (!sent) later([this, name] { (void)refresh(name); });
}

void ProcessCore::arm_stop(const ModuleName& name, const std::shared_ptr<StopWaiter>& waiter, Duration wait) {
  waiter->timer.expires_after(steady(wait));
  waiter->timer.async_wait(
      [weak = weak_from_this(), name, waiter](const boost::system::error_code& cancelled) {
        const auto self = weak.lock();
        if (cancelled || !self || self->closed_) return;
        (void)self->refresh(name);
        const auto found = self->modules_.find(name);
        if (found == self->modules_.end()) return;
        auto& stops = found->second.stops;
        if (std::find(stops.begin(), stops.end(), waiter) == stops.end()) return;
        if (!waiter->killed) {
          waiter->killed = true;
          (void)send_signal(found->second.keeper, SIGUSR2);
          self->arm_stop(name, waiter, self->options_.kill_deadline);
          return;
        }
        std::erase(stops, waiter);
        waiter->done(error(Errc::kTimeout, "the module does not end after SIGKILL", name.value));
      });
}

void ProcessCore::remove(const ModuleName& name, Callback<void> done) {
  if (auto ok = check_module_name(name); !ok) {
    later([done = std::move(done), ok] { done(ok); });
    return;
  }
  stop_module(name, SIGUSR2, {}, [this, name, done = std::move(done)](Result<Observation> ended) {
    if (!ended && ended.error().code != Errc::kNotFound && ended.error().code != Errc::kMalformed) {
      done(ended.error());
      return;
    }
    const Status erased = store_.erase(name);
    (void)refresh(name);
    done(erased);
  });
}

Handle ProcessCore::exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done) {
  const auto refuse = [&](Error why) {
    auto open = std::make_shared<bool>(true);
    later([done, why, weak = std::weak_ptr<bool>(open)] {
      if (weak.lock()) done(why);
    });
    return Handle(open);
  };
  auto seen = refresh(name);
  if (!seen) return refuse(seen.error());
  if (seen->presence != Presence::kRunning) return refuse(error(Errc::kConflict, "the module does not run"));
  auto spec = store_.load(name);
  if (!spec) return refuse(spec.error());
  spec->command = probe.command;
  spec->memory_limit_bytes = 0;
  KeeperRequest request = keeper_request(name, std::move(*spec), KeeperTask::kProbe);
  request.timeout = probe.timeout;
  return launch_keeper(executor_, options_.keeper_command, request, probe.timeout + options_.launch_deadline,
                       [weak = weak_from_this(), done = std::move(done)](Result<KeeperReply> reply) {
                         const auto self = weak.lock();
                         if (!self || self->closed_) return;
                         if (!reply) return done(reply.error());
                         if (!reply->started) return done(error(reply->code, reply->message));
                         if (reply->code == Errc::kTimeout)
                           return done(error(Errc::kTimeout, "probe command timed out"));
                         if (reply->exit_code == 0) return done({});
                         done(error(Errc::kConflict, "probe command ended with exit status " +
                                                         std::to_string(reply->exit_code)));
                       });
}

}  // namespace decklog::runtime
