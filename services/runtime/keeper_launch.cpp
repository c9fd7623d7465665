#include "services/runtime/keeper_launch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>

extern char** environ;

namespace decklog::runtime {
namespace asio = boost::asio;
namespace {

class Launch final : public std::enable_shared_from_this<Launch> {
 public:
  Launch(asio::any_io_executor executor, Callback<KeeperReply> done)
      : socket_(executor), timer_(executor), done_(std::move(done)) {}
  ~Launch() { reap(); }

  void start(const std::vector<std::string>& command, std::string request, Duration deadline);
  void cancel();

 private:
  Status spawn(const std::vector<std::string>& command);
  void write_request();
  void read_reply();
  void finish(Result<KeeperReply> result);
  void reap();

  asio::local::stream_protocol::socket socket_;
  asio::steady_timer timer_;
  Callback<KeeperReply> done_;
  std::string request_;
  std::string reply_;
  pid_t first_ = -1;  // the short-lived process that forks the real keeper
};

Status Launch::spawn(const std::vector<std::string>& command) {
  if (command.empty()) return error(Errc::kInvalidArgument, "no keeper command configured");
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return errno_error(errno, "socketpair");
  const Fd theirs(pair[1]);
  boost::system::error_code failed;
  socket_.assign(asio::local::stream_protocol(), pair[0], failed);
  if (failed) return error(Errc::kIo, "keeper socket: " + failed.message());

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int refused = ::posix_spawn(&first_, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (refused == 0) return {};
  first_ = -1;
  Error why = errno_error(refused, "start the keeper " + command[0]);
  why.code = Errc::kIo;
  return why;
}

void Launch::start(const std::vector<std::string>& command, std::string request, Duration deadline) {
  request_ = std::move(request);
  if (auto spawned = spawn(command); !spawned) {
    asio::post(timer_.get_executor(),
               [self = shared_from_this(), why = spawned.error()] { self->finish(why); });
    return;
  }
  timer_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(deadline));
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
    const auto self = weak.lock();
    if (!cancelled && self) self->finish(error(Errc::kTimeout, "the keeper does not answer"));
  });
  write_request();
}

void Launch::write_request() {
  asio::async_write(socket_, asio::buffer(request_),
                    [self = shared_from_this()](const boost::system::error_code& failed, std::size_t) {
                      if (!self->done_) return;
                      // Even when writing failed there may be a reply that tells why.
                      boost::system::error_code ignored;
                      if (!failed) self->socket_.shutdown(asio::socket_base::shutdown_send, ignored);
                      self->read_reply();
                    });
}

void Launch::read_reply() {
  asio::async_read(socket_, asio::dynamic_buffer(reply_, kKeeperReplyLimitBytes),
                   [self = shared_from_this()](const boost::system::error_code&, std::size_t) {
                     if (!self->done_) return;
                     if (self->reply_.empty()) {
                       self->finish(error(Errc::kInternal, "the keeper ended without an answer"));
                       return;
                     }
                     auto reply = parse_keeper_reply(self->reply_);
                     if (reply) {
                       self->finish(std::move(*reply));
                     } else {
                       self->finish(error(Errc::kInternal, "the keeper answered nonsense"));
                     }
                   });
}

void Launch::cancel() {
  done_ = nullptr;
  boost::system::error_code ignored;
  timer_.cancel();
  socket_.close(ignored);
  reap();
}

void Launch::finish(Result<KeeperReply> result) {
  if (!done_) return;
  const auto done = std::exchange(done_, nullptr);
  cancel();
  done(std::move(result));
}

// A real keeper's first process ends at once, long before the reply; anything else is ended here.
void Launch::reap() {
  if (first_ <= 0) return;
  int status = 0;
  if (::waitpid(first_, &status, WNOHANG) == 0) {
    ::kill(first_, SIGKILL);
    ::waitpid(first_, &status, 0);
  }
  first_ = -1;
}

}  // namespace

Handle launch_keeper(asio::any_io_executor executor, const std::vector<std::string>& keeper_command,
                     const KeeperRequest& request, Duration deadline, Callback<KeeperReply> done) {
  auto launch = std::make_shared<Launch>(executor, std::move(done));
  launch->start(keeper_command, to_json(request), deadline);
  return Handle(launch.get(), [launch](void*) { launch->cancel(); });
}

}  // namespace decklog::runtime
