#include "services/runtime/process_runtime.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include "services/runtime/child.hpp"
#include "services/runtime/process_core.hpp"

namespace decklog::runtime {
namespace asio = boost::asio;
namespace {

constexpr std::size_t kDigestSliceBytes = 1 << 20;

// SHA-256 of a program, a slice a turn.
class DigestCheck final : public std::enable_shared_from_this<DigestCheck> {
 public:
  DigestCheck(std::weak_ptr<ProcessCore> core, std::string wanted,
              std::function<void(const PullProgress&)> progress, Callback<PullResult> done)
      : core_(std::move(core)),
        wanted_(std::move(wanted)),
        progress_(std::move(progress)),
        done_(std::move(done)) {}

  void start(Result<std::string> program);
  void cancel() { done_ = nullptr; }

 private:
  void next();
  void step();
  void finish(Result<PullResult> result);

  std::weak_ptr<ProcessCore> core_;
  std::string wanted_;
  std::function<void(const PullProgress&)> progress_;
  Callback<PullResult> done_;
  Fd file_;
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> hash_{nullptr, &EVP_MD_CTX_free};
  PullProgress seen_{0, 0, "verifying"};
};

void DigestCheck::start(Result<std::string> program) {
  const auto fail = [this](const Error& why) {
    asio::post(core_.lock()->executor(), [self = shared_from_this(), why] { self->finish(why); });
  };
  if (!program) return fail(program.error());
  file_ = Fd(::open(program->c_str(), O_RDONLY | O_CLOEXEC));
  // A program may be executable and not readable: then only a demanded digest is a reason to refuse.
  if (!file_ && !wanted_.empty()) return fail(errno_error(errno, "read " + *program));
  struct stat info {};
  if (file_ && ::fstat(file_.get(), &info) == 0) seen_.bytes_total = static_cast<std::uint64_t>(info.st_size);
  if (!wanted_.empty()) {
    hash_.reset(EVP_MD_CTX_new());
    if (!hash_ || EVP_DigestInit_ex(hash_.get(), EVP_sha256(), nullptr) != 1) {
      return fail(error(Errc::kInternal, "no SHA-256"));
    }
  }
  next();
}

void DigestCheck::next() {
  asio::post(core_.lock()->executor(), [self = shared_from_this()] {
    const auto core = self->core_.lock();
    if (self->done_ && core && !core->closed()) self->step();
  });
}

void DigestCheck::step() {
  PullResult result;
  result.bytes = seen_.bytes_total;
  if (!hash_) return finish(result);
  std::string block(kDigestSliceBytes, '\0');
  const ssize_t n = ::read(file_.get(), block.data(), block.size());
  if (n < 0) return finish(errno_error(errno, "read the program"));
  if (n > 0) {
    EVP_DigestUpdate(hash_.get(), block.data(), static_cast<std::size_t>(n));
    seen_.bytes_done += static_cast<std::uint64_t>(n);
    if (progress_ && seen_.bytes_done % (64 * kDigestSliceBytes) == 0) progress_(seen_);
    return next();
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(hash_.get(), digest, &size);
  result.digest = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    constexpr char kHex[] = "0123456789abcdef";
    result.digest += kHex[digest[i] >> 4];
    result.digest += kHex[digest[i] & 15];
  }
  if (result.digest != wanted_) {
    return finish(
        error(Errc::kCorrupt, "the program is " + result.digest + ", wanted is " + wanted_, "digest"));
  }
  result.image_id = result.digest;
  finish(result);
}

void DigestCheck::finish(Result<PullResult> result) {
  const auto core = core_.lock();
  const auto done = std::exchange(done_, nullptr);
  if (done && core && !core->closed()) done(std::move(result));
}

template <class T, class Work>
void answer_later(const std::shared_ptr<ProcessCore>& core, Callback<T> done, Work work) {
  asio::post(core->executor(), [core, done = std::move(done), work = std::move(work)] {
    if (!core->closed()) done(work());
  });
}

}  // namespace

Handle ProcessCore::pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
                         Callback<PullResult> done) {
  auto check =
      std::make_shared<DigestCheck>(weak_from_this(), spec.digest, std::move(progress), std::move(done));
  const auto name_ok = check_module_name(spec.name);
  check->start(name_ok ? find_program(process_spec(spec, store_.directory(spec.name)))
                       : Result<std::string>(name_ok.error()));
  return Handle(check.get(), [check](void*) { check->cancel(); });
}

ProcessRuntime::ProcessRuntime(asio::any_io_executor executor, ProcessOptions options)
    : core_(std::make_shared<ProcessCore>(std::move(executor), std::move(options))) {}

ProcessRuntime::~ProcessRuntime() {
  core_->close();
}

void ProcessRuntime::start(Listener listener) {
  core_->begin(std::move(listener));
}

void ProcessRuntime::list(Callback<std::vector<Observation>> done) {
  answer_later(core_, std::move(done), [core = core_] { return core->list(); });
}

void ProcessRuntime::inspect(const ModuleName& name, Callback<Observation> done) {
  answer_later(core_, std::move(done), [core = core_, name] { return core->inspect(name); });
}

Handle ProcessRuntime::pull(const ModuleSpec& spec, std::function<void(const PullProgress&)> progress,
                            Callback<PullResult> done) {
  return core_->pull(spec, std::move(progress), std::move(done));
}

void ProcessRuntime::create(const ModuleSpec& spec, Callback<Observation> done) {
  answer_later(core_, std::move(done), [core = core_, spec] { return core->create(spec); });
}

void ProcessRuntime::start_module(const ModuleName& name, Callback<Observation> done) {
  asio::post(core_->executor(), [core = core_, name, done = std::move(done)]() mutable {
    if (!core->closed()) core->start_module(name, std::move(done));
  });
}

void ProcessRuntime::stop_module(const ModuleName& name, Duration timeout, Callback<Observation> done) {
  asio::post(core_->executor(), [core = core_, name, timeout, done = std::move(done)]() mutable {
    if (!core->closed()) core->stop_module(name, SIGTERM, timeout, std::move(done));
  });
}

void ProcessRuntime::remove(const ModuleName& name, Callback<void> done) {
  core_->remove(name, std::move(done));
}

Handle ProcessRuntime::exec_probe(const ModuleName& name, const ExecProbe& probe, Callback<void> done) {
  return core_->exec_probe(name, probe, std::move(done));
}

void ProcessRuntime::address(const ModuleName& name, Callback<std::string> done) {
  answer_later(core_, std::move(done), [core = core_, name]() -> Result<std::string> {
    const auto seen = core->inspect(name);
    if (!seen) return seen.error();
    return std::string("127.0.0.1");
  });
}

Handle ProcessRuntime::logs(const ModuleName& name, const LogOptions& options, LogSink sink,
                            Callback<void> done) {
  return core_->logs(name, options, std::move(sink), std::move(done));
}

}  // namespace decklog::runtime
