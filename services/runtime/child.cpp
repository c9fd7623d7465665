#include "services/runtime/child.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "services/runtime/cgroup.hpp"

namespace decklog::runtime {
namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int kExecFailed = 127;
constexpr std::size_t kUserEntryBytes = 16 << 10;

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
  std::string home;
};

// Empty when the module runs as the keeper does.
Result<std::optional<User>> find_user(const std::string& name) {
  if (name.empty()) return std::optional<User>{};
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(kUserEntryBytes);
  ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (!found) return error(Errc::kInvalidArgument, "there is no user '" + name + "' on this device", "user");
  if (::geteuid() != 0) {
    if (found->pw_uid == ::geteuid()) return std::optional<User>{};
    return error(Errc::kPermissionDenied, "only root may run a module as user '" + name + "'", "user");
  }
  return std::optional<User>(User{found->pw_uid, found->pw_gid, name, found->pw_dir ? found->pw_dir : "/"});
}

struct Plan {
  std::string program;
  std::vector<char*> argv;
  std::vector<std::string> env_text;
  std::vector<char*> env;
  std::string directory;
  std::string cgroup;
  std::uint64_t address_space_bytes = 0;
  std::optional<User> user;
  pid_t parent = 0;
};

// What the child could not do, written to the status pipe as one small block.
struct Refusal {
  int error_number;
  char step[24];
};

[[noreturn]] void refuse(int status, const char* step) {
  Refusal refusal{errno, {}};
  std::strncpy(refusal.step, step, sizeof refusal.step - 1);
  (void)!::write(status, &refusal, sizeof refusal);
  ::_exit(kExecFailed);
}

void close_from(int first) {
#ifdef SYS_close_range
  // CLOSE_RANGE_CLOEXEC: the status pipe has to live until exec.
  if (::syscall(SYS_close_range, first, ~0U, 4U) == 0) return;
#endif
  const long limit = ::sysconf(_SC_OPEN_MAX);
  for (int fd = first; fd < limit; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void become(const User& user, int status) {
  if (::setgroups(0, nullptr) != 0 || ::initgroups(user.name.c_str(), user.gid) != 0)
    refuse(status, "groups");
  if (::setgid(user.gid) != 0) refuse(status, "group");
  if (::setuid(user.uid) != 0) refuse(status, "user");
}

[[noreturn]] void run_child(const Plan& plan, int output, int errors, int status) {
  ::setsid();
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (nothing < 0 || ::dup2(nothing, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(errors, 2) < 0) {
    refuse(status, "standard streams");
  }
  if (!plan.cgroup.empty() && !enter_cgroup(plan.cgroup)) refuse(status, "control group");
  if (plan.address_space_bytes > 0) {
    const rlimit limit{plan.address_space_bytes, plan.address_space_bytes};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) refuse(status, "memory limit");
  }
  if (const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    (void)!::write(score, "0", 1);
  }
  ::umask(022);
  if (plan.user) become(*plan.user, status);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) refuse(status, "no new privileges");
  // After the change of user, which clears it. Without a keeper nobody would record how the module ends.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) refuse(status, "parent death signal");
  if (::getppid() != plan.parent) ::_exit(kExecFailed);
  if (::chdir(plan.directory.c_str()) != 0) refuse(status, "working directory");
  reset_signals();
  close_from(3);
  ::execve(plan.program.c_str(), plan.argv.data(), plan.env.data());
  refuse(status, "exec");
}

std::string path_of(const ProcessSpec& spec) {
  const auto found = spec.env.find("PATH");
  return found == spec.env.end() ? kDefaultPath : found->second;
}

Plan make_plan(const ProcessSpec& spec, std::string program, std::optional<User> user) {
  Plan plan;
  plan.program = std::move(program);
  for (const auto& word : spec.command) plan.argv.push_back(const_cast<char*>(word.c_str()));
  plan.argv.push_back(nullptr);
  for (const auto& [name, value] : spec.env) plan.env_text.push_back(name + "=" + value);
  if (!spec.env.contains("PATH")) plan.env_text.push_back(std::string("PATH=") + kDefaultPath);
  if (!spec.env.contains("HOME"))
    plan.env_text.push_back("HOME=" + (user ? user->home : spec.working_directory));
  for (auto& text : plan.env_text) plan.env.push_back(text.data());
  plan.env.push_back(nullptr);
  plan.directory = spec.working_directory.empty() ? "/" : spec.working_directory;
  plan.user = std::move(user);
  plan.parent = ::getpid();
  return plan;
}

Result<std::string> check_executable(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return error(Errc::kInvalidArgument, "cannot run " + path + ": " + std::strerror(errno), "command");
  }
  if (!S_ISREG(info.st_mode) || ::access(path.c_str(), X_OK) != 0) {
    return error(Errc::kInvalidArgument, "cannot run " + path + ": " + std::strerror(EACCES), "command");
  }
  return path;
}

}  // namespace

Result<std::string> find_program(const ProcessSpec& spec) {
  const std::string& name = spec.command.empty() ? std::string() : spec.command.front();
  if (name.empty()) return error(Errc::kInvalidArgument, "no command given", "command");
  if (name.find('/') != std::string::npos) {
    return check_executable(name[0] == '/' ? name : spec.working_directory + "/" + name);
  }
  Error last = error(Errc::kInvalidArgument, "cannot run " + name + ": " + std::strerror(ENOENT) + " in PATH",
                     "command");
  std::string path = path_of(spec) + ":";
  for (std::size_t from = 0, colon = 0; (colon = path.find(':', from)) != std::string::npos;
       from = colon + 1) {
    if (colon == from) continue;
    auto found = check_executable(path.substr(from, colon - from) + "/" + name);
    if (found) return found;
    if (found.error().message.ends_with(std::strerror(EACCES))) last = found.error();
  }
  return last;
}

Result<Child> start_child(const ProcessSpec& spec, const std::string& cgroup) {
  auto program = find_program(spec);
  if (!program) return program.error();
  auto user = find_user(spec.user);
  if (!user) return user.error();
  Plan plan = make_plan(spec, std::move(*program), std::move(*user));
  plan.cgroup = cgroup;
  if (cgroup.empty()) plan.address_space_bytes = spec.memory_limit_bytes;

  int output[2], errors[2], status[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  Child child;
  child.output = Fd(output[0]);
  const Fd output_end(output[1]);
  if (::pipe2(errors, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  child.errors = Fd(errors[0]);
  const Fd errors_end(errors[1]);
  if (::pipe2(status, O_CLOEXEC) != 0) return errno_error(errno, "pipe");
  const Fd status_read(status[0]);
  Fd status_write(status[1]);
  ::fcntl(child.output.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(child.errors.get(), F_SETFL, O_NONBLOCK);

  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, "fork");
  if (pid == 0) run_child(plan, output_end.get(), errors_end.get(), status_write.get());
  status_write.reset();

  Refusal refusal{};
  ssize_t n = 0;
  while ((n = ::read(status_read.get(), &refusal, sizeof refusal)) < 0 && errno == EINTR) {
  }
  if (n == static_cast<ssize_t>(sizeof refusal)) {
    ::waitpid(pid, nullptr, 0);
    const std::string step(refusal.step, ::strnlen(refusal.step, sizeof refusal.step));
    return error(Errc::kInvalidArgument,
                 "cannot run " + plan.program + ": " + std::strerror(refusal.error_number), step);
  }
  // Still our unreaped child, so its entry is there even when it has already ended.
  const auto stat = process_stat(pid);
  child.id = {pid, stat ? stat->id.start_ticks : 0};
  return child;
}

}  // namespace decklog::runtime
