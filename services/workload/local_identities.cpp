#include <sys/inotify.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "services/workload/identities.hpp"
#include "services/workload/identity_file.hpp"
#include "services/workload/private_file.hpp"

namespace decklog::workload {

class LocalIdentities::Impl final : public std::enable_shared_from_this<LocalIdentities::Impl> {
 public:
  Impl(boost::asio::any_io_executor executor, std::string file, const DeviceKeys& keys)
      : descriptor_(std::move(executor)), file_(std::move(file)), keys_(keys) {}

  Status start(std::function<void()> on_change, std::function<void(const Error&)> on_error) {
    const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return error(Errc::kIo, std::string("inotify: ") + std::strerror(errno));
    descriptor_.assign(fd);
    // The directory, not the file: each write is a rename over it. Watched before the first read, so no
    // change is lost.
    const std::string directory = directory_of(file_);
    if (::inotify_add_watch(fd, directory.c_str(), IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE) < 0) {
      return error(Errc::kIo, std::string("cannot watch: ") + std::strerror(errno), directory);
    }
    auto found = read_identities(file_, keys_);
    if (!found && found.error().code != Errc::kNotFound) return found.error();
    if (found) identities_ = std::move(*found);
    on_change_ = std::move(on_change);
    on_error_ = std::move(on_error);
    follow();
    return {};
  }

  void stop() {
    on_change_ = nullptr;
    on_error_ = nullptr;
    boost::system::error_code ignored;
    descriptor_.close(ignored);
  }

  const IdentityMap& all() const { return identities_; }

 private:
  void follow() {
    descriptor_.async_read_some(boost::asio::buffer(events_),
                                [weak = weak_from_this()](boost::system::error_code failure, std::size_t) {
                                  auto self = weak.lock();
                                  if (!self || failure) return;
                                  // Whatever the events say, the file is what counts.
                                  self->reload();
                                  if (self->descriptor_.is_open()) self->follow();
                                });
  }

  void reload() {
    auto found = read_identities(file_, keys_);
    if (!found) {
      const auto report = on_error_;
      if (found.error().code != Errc::kNotFound && report) report(found.error());
      return;
    }
    if (*found == identities_) return;
    identities_ = std::move(*found);
    if (const auto report = on_change_) report();
  }

  boost::asio::posix::stream_descriptor descriptor_;
  std::string file_;
  DeviceKeys keys_;
  IdentityMap identities_;
  std::function<void()> on_change_;
  std::function<void(const Error&)> on_error_;
  alignas(inotify_event) std::array<char, 4096> events_{};
};

LocalIdentities::LocalIdentities(boost::asio::any_io_executor executor, std::string file,
                                 const DeviceKeys& keys)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(file), keys)) {}
LocalIdentities::~LocalIdentities() {
  impl_->stop();
}

Status LocalIdentities::start(std::function<void()> on_change, std::function<void(const Error&)> on_error) {
  return impl_->start(std::move(on_change), std::move(on_error));
}
const IdentityMap& LocalIdentities::all() const {
  return impl_->all();
}
const ModuleIdentity* LocalIdentities::find(std::string_view module_id) const {
  const auto found = impl_->all().find(module_id);
  return found == impl_->all().end() ? nullptr : &found->second;
}

}  // namespace decklog::workload
