// inotify on the executor: says that something below the watched folders changed, not what.
//
// A file counts when it was closed after writing or moved into place, so that nothing is taken half. Folders
// that do not exist (yet) are tried again by watch(), which is cheap to repeat. Where inotify is not to be
// had, nothing is said and the caller's own timer finds the changes. Destroyed on the executor; says nothing
// afterwards.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace decklog::uplink {

class LocalNotify final : public std::enable_shared_from_this<LocalNotify> {
 public:
  LocalNotify(boost::asio::any_io_executor executor, std::function<void()> changed);
  // Of the root only coming and going counts: our own lock file there is closed with every change we make.
  enum class What { kFiles, kNames };
  void watch(const std::string& folder, What what);
  void start();
  void stop();

 private:
  void wait();

  boost::asio::posix::stream_descriptor descriptor_;
  std::function<void()> changed_;
  std::map<std::string, int> watches_;
};

}  // namespace decklog::uplink
