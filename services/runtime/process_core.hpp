// Inside of ProcessRuntime: kept alive by its pending work, silent once closed. See process_runtime.hpp.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "services/runtime/process_store.hpp"
#include "services/runtime/watcher.hpp"

namespace decklog::runtime {

class ProcessCore final : public std::enable_shared_from_this<ProcessCore> {
 public:
  ProcessCore(boost::asio::any_io_executor executor, ProcessOptions options);

  void begin(ModuleRuntime::Listener listener);
  void close();

  Result<std::vector<Observation>> list();
  Result<Observation> inspect(const ModuleName& name);
  Result<Observation> create(const ModuleSpec& spec);
  void start_module(const ModuleName& name, Callback<Observation> done);
  // `first` goes out now; SIGUSR2 (kill) after `timeout`.
  void stop_module(const ModuleName& name, int first, Duration timeout, Callback<Observation> done);
  void remove(const ModuleName& name, Callback<void> done);
  Handle exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done);
  Handle logs(const ModuleName& name, const LogOptions& options, LogSink sink, Callback<void> done);
  Handle pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
              Callback<PullResult> done);

  // Looks again; tells the listener and whoever waits.
  Result<Observation> refresh(const ModuleName& name);
  bool closed() const { return closed_; }
  const boost::asio::any_io_executor& executor() const { return executor_; }

  // Runs `work` on the executor, never inline, and not after close().
  template <class Work>
  void later(Work work);

 private:
  struct StopWaiter {
    boost::asio::steady_timer timer;
    bool killed = false;
    Callback<Observation> done;
  };
  struct Module {
    Observation last;
    bool told = false;
    ProcessId keeper;
    std::unique_ptr<boost::asio::posix::stream_descriptor> keeper_end;
    std::shared_ptr<void> record_watch;
    std::vector<std::shared_ptr<StopWaiter>> stops;
    std::vector<Callback<Observation>> starters;
    Handle launch;
  };

  void watch(const ModuleName& name, Module& module, const ProcessState& state);
  void watch_keeper(const ModuleName& name, Module& module);
  void publish(Module& module, const Observation& seen);
  void forget(const ModuleName& name);
  void arm_stop(const ModuleName& name, const std::shared_ptr<StopWaiter>& waiter, Duration wait);
  void finish_start(const ModuleName& name, Result<KeeperReply> reply);
  void relist_later();
  KeeperRequest keeper_request(const ModuleName& name, ProcessSpec spec, KeeperTask task) const;

  boost::asio::any_io_executor executor_;
  ProcessOptions options_;
  ProcessStore store_;
  std::shared_ptr<DirectoryWatcher> watcher_;
  boost::asio::steady_timer relist_timer_;
  ModuleRuntime::Listener listener_;
  std::map<ModuleName, Module> modules_;
  bool started_ = false;
  bool closed_ = false;
  bool pidfd_missing_ = false;
};

}  // namespace decklog::runtime
