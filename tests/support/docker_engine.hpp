// A real container engine for tests: the one that answers on /var/run/docker.sock, else a dockerd of our own
// with its data in a temporary directory (needs root). Blocking calls; throws std::runtime_error when the
// machine cannot do it, which fails the test with the reason.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/child_process.hpp"

namespace decklog::fixture {

struct EngineAnswer {
  unsigned status = 0;
  std::string body;
};

class DockerEngine final {
 public:
  enum class Which { kRunningOrOwn, kOwn };
  explicit DockerEngine(Which which = Which::kRunningOrOwn);
  ~DockerEngine();
  DockerEngine(const DockerEngine&) = delete;
  DockerEngine& operator=(const DockerEngine&) = delete;

  const std::string& socket_path() const { return socket_path_; }
  bool owned() const { return !root_.empty(); }

  // One call of the Engine API. `headers`: "Name: value".
  EngineAnswer call(const std::string& method, const std::string& target, const std::string& body = {},
                    const std::vector<std::string>& headers = {}) const;

  // Image `repository:tag` with nothing but a static busybox as /bin/sh and friends, and `marker` as /marker.
  void import_busybox(const std::string& repository, const std::string& tag,
                      const std::string& marker = "1") const;
  // Pushes it to its registry; gives the repository digest.
  std::string push(const std::string& repository, const std::string& tag, const std::string& auth) const;
  void remove_image(const std::string& reference) const;
  void remove_container(const std::string& id) const;

  // Of an own engine only.
  void kill();
  void start();

 private:
  bool answers() const;

  std::string root_;
  std::string socket_path_;
  ChildProcess daemon_;
};

}  // namespace decklog::fixture
