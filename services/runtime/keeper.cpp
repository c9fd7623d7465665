#include "services/runtime/keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>

#include "services/runtime/cgroup.hpp"
#include "services/runtime/child.hpp"
#include "services/runtime/keeper_protocol.hpp"
#include "services/runtime/log_files.hpp"
#include "services/runtime/posix.hpp"

namespace decklog::runtime {
namespace {

constexpr auto kLeftoverDeadline = std::chrono::seconds(5);
constexpr int kLeftoverPollMs = 5;
constexpr auto kLockDeadline = std::chrono::seconds(2);
constexpr int kLockPollMs = 2;
constexpr int kCannotRun = 127;
constexpr std::size_t kPipeReadBytes = 16 << 10;
constexpr int kPipeReadsPerTurn = 16;  // so that a module that floods its output does not hide its own end

using Clock = std::chrono::steady_clock;

std::optional<std::string> read_request(int socket) {
  std::string text;
  char block[8192];
  for (;;) {
    const ssize_t n = ::read(socket, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) return text;
    text.append(block, static_cast<std::size_t>(n));
    if (text.size() > kKeeperRequestLimitBytes) return std::nullopt;
  }
}

void send_reply(Fd& socket, const KeeperReply& reply) {
  const std::string text = to_json(reply);
  // MSG_NOSIGNAL: an agent that died in between is no reason to end.
  (void)!::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  socket.reset();
}

class Keeper final {
 public:
  Keeper(KeeperRequest request, Fd socket) : request_(std::move(request)), socket_(std::move(socket)) {}

  int run();

 private:
  bool probing() const { return request_.task == KeeperTask::kProbe; }
  void fail(const Error& why);
  std::optional<Error> refuse_double_start();
  std::optional<Error> begin();
  void supervise();
  void handle_signals();
  void read_pipe(Fd& pipe, bool is_stderr);
  void signal_module(int number);
  void kill_leftovers();
  void finish();
  void write_record(Sync sync);

  KeeperRequest request_;
  Fd socket_;
  Fd lock_;
  Fd signals_;
  Child child_;
  KeeperRecord record_;
  std::optional<LogWriter> log_;
  int wait_status_ = 0;
  bool reaped_ = false;
  bool timed_out_ = false;
};

void Keeper::write_record(Sync sync) {
  if (probing()) return;
  if (const auto done = write_file_even_when_full(record_path(request_.directory), to_json(record_), sync);
      !done && log_) {
    log_->write(true, "[keeper: " + describe(done.error()) + "]\n", wall_now());
  }
}

void Keeper::fail(const Error& why) {
  if (lock_ || probing()) {
    record_.phase = KeeperPhase::kFailed;
    record_.message = describe(why);
    record_.finished_at = wall_now();
    record_.exit_code = kCannotRun;
    write_record(Sync::kBeforeRename);
  }
  remove_cgroup(record_.cgroup);
  send_reply(socket_,
             {.started = false, .code = why.code, .message = describe(why), .module = {}, .exit_code = 0});
}

// One keeper per module (lock), and no second process beside one that lost its keeper (record).
std::optional<Error> Keeper::refuse_double_start() {
  lock_ = Fd(::open(lock_path(request_.directory).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) return errno_error(errno, "open " + lock_path(request_.directory));
  // The keeper of the run before may still be syncing its record: its lock goes in a moment.
  const auto deadline = Clock::now() + kLockDeadline;
  while (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (Clock::now() >= deadline) {
      lock_.reset();
      return error(Errc::kConflict, "the module runs already");
    }
    ::poll(nullptr, 0, kLockPollMs);
  }
  const auto text = read_file(record_path(request_.directory), kKeeperRecordLimitBytes);
  if (!text) return std::nullopt;
  const auto old = parse_keeper_record(*text);
  if (old && old->phase == KeeperPhase::kRunning && old->boot == current_boot() && is_alive(old->module)) {
    lock_.reset();
    return error(Errc::kConflict,
                 "the module still runs without its keeper, as process " + std::to_string(old->module.pid));
  }
  return std::nullopt;
}

std::optional<Error> Keeper::begin() {
  const auto self = process_stat(::getpid());
  record_.spec_hash = request_.spec.spec_hash;
  record_.boot = current_boot();
  record_.keeper = {::getpid(), self ? self->id.start_ticks : 0};
  if (!probing()) {
    if (auto refused = refuse_double_start()) return refused;
    if (auto made = make_directory(log_directory(request_.directory), 0700); !made) return made.error();
    log_.emplace(log_directory(request_.directory), request_.log_file_bytes, request_.log_files);
    write_record(Sync::kAfterRename);
    if (request_.spec.memory_limit_bytes > 0 && ::geteuid() == 0) {
      const std::string label = request_.spec.name + "-" + std::to_string(record_.keeper.start_ticks) + "-" +
                                std::to_string(record_.keeper.pid);
      if (auto group = create_memory_cgroup(label, request_.spec.memory_limit_bytes)) record_.cgroup = *group;
    }
  }
  auto child = start_child(request_.spec, record_.cgroup);
  if (!child) return child.error();
  child_ = std::move(*child);
  record_.phase = KeeperPhase::kRunning;
  record_.module = child_.id;
  record_.started_at = wall_now();
  write_record(Sync::kAfterRename);
  if (!probing()) {
    send_reply(socket_,
               {.started = true, .code = Errc::kOk, .message = {}, .module = child_.id, .exit_code = 0});
  }
  return std::nullopt;
}

void Keeper::signal_module(int number) {
  // The leader is unreaped here, so neither its pid nor its group can belong to anybody else.
  if (!reaped_) ::kill(-child_.id.pid, number);
}

void Keeper::handle_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGTERM) signal_module(SIGTERM);
    if (info.ssi_signo == SIGUSR2) signal_module(SIGKILL);
  }
  // As subreaper we also get what the module's own children left.
  int status = 0;
  siginfo_t ended{};
  while (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0) {
    const pid_t pid = ended.si_pid;
    if (pid == child_.id.pid) break;  // reaped last: its group stays ours until the leftovers are dealt with
    ::waitpid(pid, &status, WNOHANG);
    ended = {};
  }
  if (ended.si_pid == child_.id.pid && ended.si_pid != 0) {
    record_.finished_at = wall_now();
    signal_module(SIGKILL);
    ::waitpid(child_.id.pid, &wait_status_, 0);
    reaped_ = true;
  }
}

void Keeper::read_pipe(Fd& pipe, bool is_stderr) {
  char block[kPipeReadBytes];
  for (int turn = 0; pipe && turn < kPipeReadsPerTurn; ++turn) {
    const ssize_t n = ::read(pipe.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      pipe.reset();
      return;
    }
    if (log_) log_->write(is_stderr, {block, static_cast<std::size_t>(n)}, wall_now());
  }
}

void Keeper::supervise() {
  const auto deadline = Clock::now() + request_.timeout;
  while (!reaped_) {
    pollfd watched[] = {{signals_.get(), POLLIN, 0},
                        {child_.output.get(), POLLIN, 0},
                        {child_.errors.get(), POLLIN, 0},
                        {probing() ? socket_.get() : -1, 0, 0}};
    int wait_ms = -1;
    if (probing()) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      wait_ms = timed_out_ ? -1 : static_cast<int>(std::clamp<long long>(left + 1, 0, 3'600'000));
    }
    const int ready = ::poll(watched, std::size(watched), wait_ms);
    if (probing() && !timed_out_ && Clock::now() >= deadline) {
      timed_out_ = true;
      signal_module(SIGKILL);
    }
    if (ready <= 0) continue;
    if (watched[3].revents & (POLLHUP | POLLERR)) {
      signal_module(SIGKILL);
      socket_.reset();
    }
    read_pipe(child_.output, false);
    read_pipe(child_.errors, true);
    if (watched[0].revents) handle_signals();
  }
}

// Whoever left the module's session was handed to us when its parent died: end all our descendants.
void Keeper::kill_leftovers() {
  const auto deadline = Clock::now() + kLeftoverDeadline;
  while (Clock::now() < deadline) {
    int status = 0;
    pid_t reaped = 0;
    while ((reaped = ::waitpid(-1, &status, WNOHANG)) > 0) {
    }
    if (reaped < 0) return;
    for (const ProcessStat& process : own_children()) (void)send_signal(process.id, SIGKILL);
    pollfd signals{signals_.get(), POLLIN, 0};
    ::poll(&signals, 1, kLeftoverPollMs);
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) > 0) {
    }
  }
}

void Keeper::finish() {
  kill_leftovers();
  // All writers are dead: what is in the pipes is bounded by their capacity.
  read_pipe(child_.output, false);
  read_pipe(child_.errors, true);
  if (log_) log_->flush(wall_now());
  record_.phase = KeeperPhase::kExited;
  if (WIFSIGNALED(wait_status_)) {
    record_.signal = WTERMSIG(wait_status_);
    record_.exit_code = 128 + record_.signal;
  } else {
    record_.exit_code = WEXITSTATUS(wait_status_);
  }
  record_.oom_killed = oom_kills(record_.cgroup) > 0;
  remove_cgroup(record_.cgroup);
  record_.cgroup.clear();
  write_record(Sync::kAfterRename);
  if (probing() && socket_) {
    KeeperReply reply{.started = true,
                      .code = Errc::kOk,
                      .message = {},
                      .module = child_.id,
                      .exit_code = record_.exit_code};
    if (timed_out_) reply.code = Errc::kTimeout;
    send_reply(socket_, reply);
  }
}

int Keeper::run() {
  sigset_t handled;
  ::sigemptyset(&handled);
  for (const int number : {SIGCHLD, SIGTERM, SIGUSR2}) ::sigaddset(&handled, number);
  ::sigprocmask(SIG_SETMASK, &handled, nullptr);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1}) ::signal(number, SIG_IGN);
  signals_ = Fd(::signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC));
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  if (const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    (void)!::write(score, "-500", 4);  // the one who writes down the OOM should not be its victim; needs root
    ::close(score);
  }
  if (auto failed = begin()) {
    fail(*failed);
    return 1;
  }
  supervise();
  finish();
  return 0;
}

// Standard streams away from the terminal, nothing inherited but the request socket.
Fd detach_streams() {
  Fd socket(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int stream : {0, 1, 2}) ::dup2(nothing.get(), stream);
  return socket;
}

}  // namespace

int keeper_main(int, char**) {
  struct stat info {};
  if (::fstat(0, &info) != 0 || !S_ISSOCK(info.st_mode)) {
    std::fputs("decklog keeper is started by the agent, not by hand\n", stderr);
    return 2;
  }
  ::setsid();
  const pid_t second = ::fork();
  if (second < 0) return 1;
  if (second > 0) ::_exit(0);
  ::umask(077);
  (void)!::chdir("/");
  Fd socket = detach_streams();
  const auto text = read_request(socket.get());
  if (!text || text->empty()) ::_exit(1);
  auto request = parse_keeper_request(*text);
  if (!request) {
    send_reply(socket, {.started = false,
                        .code = request.error().code,
                        .message = describe(request.error()),
                        .module = {},
                        .exit_code = 0});
    ::_exit(1);
  }
  ::_exit(Keeper(std::move(*request), std::move(socket)).run());
}

}  // namespace decklog::runtime
