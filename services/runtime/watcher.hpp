// inotify on an Asio executor: tells when a name in a directory changed. Thread: the executor's. Callbacks
// never run inside watch(); a destroyed Watch is never called again. Failure: kIo when the kernel gives no
// inotify instance or watch (limits); users keep a slower way to notice.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "events/result.hpp"

namespace decklog::runtime {

class DirectoryWatcher final : public std::enable_shared_from_this<DirectoryWatcher> {
 public:
  using Changed = std::function<void(const std::string& name)>;

  explicit DirectoryWatcher(boost::asio::any_io_executor executor);
  ~DirectoryWatcher();
  // Watching ends when the handle goes. Files written to, created, moved in or removed. Any number of watches
  // a directory.
  Result<std::shared_ptr<void>> watch(const std::string& directory, Changed changed);
  void close();

 private:
  void read_next();
  void deliver(const char* bytes, std::size_t size);

  boost::asio::posix::stream_descriptor descriptor_;
  std::map<int, std::vector<std::shared_ptr<Changed>>> watches_;
  bool reading_ = false;
};

}  // namespace decklog::runtime
