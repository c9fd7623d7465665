#include "tests/support/docker_engine.hpp"

#include <stdlib.h>
#include <sys/mount.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace decklog::fixture {
namespace http = boost::beast::http;
namespace {

constexpr const char* kSystemSocket = "/var/run/docker.sock";
constexpr auto kStartDeadline = std::chrono::seconds(40);

// One entry of a ustar archive.
std::string tar_entry(const std::string& name, char type, const std::string& content,
                      const std::string& link) {
  std::string head(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) { head.replace(at, text.size(), text); };
  const auto octal = [](std::size_t value, int digits) {
    char text[32];
    std::snprintf(text, sizeof text, "%0*zo", digits, value);
    return std::string(text);
  };
  put(0, name);
  put(100, type == '5' || type == '0' ? "0000755" : "0000777");
  put(108, "0000000");
  put(116, "0000000");
  put(124, octal(content.size(), 11));
  put(136, octal(0, 11));
  put(148, "        ");
  head[156] = type;
  put(157, link);
  put(257, "ustar");
  put(263, "00");
  std::size_t sum = 0;
  for (const unsigned char c : head) sum += c;
  put(148, octal(sum, 6));
  head[154] = '\0';
  std::string entry = head + content;
  entry.resize((entry.size() + 511) / 512 * 512, '\0');
  return entry;
}

std::string busybox_archive(const std::string& marker) {
  std::ifstream file("/usr/bin/busybox", std::ios::binary);
  if (!file) throw std::runtime_error("no /usr/bin/busybox: install busybox-static");
  const std::string busybox{std::istreambuf_iterator<char>(file), {}};
  std::string archive;
  for (const char* directory : {"bin/", "tmp/", "etc/", "dev/", "proc/"})
    archive += tar_entry(directory, '5', {}, {});
  archive += tar_entry("bin/busybox", '0', busybox, {});
  for (const char* tool :
       {"sh", "sleep", "echo", "cat", "test", "kill", "dd", "tail", "head", "touch", "rm", "httpd"}) {
    archive += tar_entry(std::string("bin/") + tool, '2', {}, "busybox");
  }
  archive += tar_entry("marker", '0', marker, {});
  return archive + std::string(1024, '\0');
}

std::vector<std::string> mounts_below(const std::string& root) {
  std::vector<std::string> found;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, path, rest; mounts >> device >> path && std::getline(mounts, rest);) {
    if (path.starts_with(root + "/")) found.insert(found.begin(), path);
  }
  return found;
}

void demand(const EngineAnswer& answer, const std::string& what) {
  const bool refused = answer.status >= 300 || answer.body.find("\"errorDetail\"") != std::string::npos;
  if (refused) throw std::runtime_error(what + ": " + std::to_string(answer.status) + " " + answer.body);
}

}  // namespace

DockerEngine::DockerEngine(Which which) : socket_path_(kSystemSocket) {
  if (which == Which::kRunningOrOwn && answers()) return;
  char name[] = "/tmp/decklog-engine-XXXXXX";
  if (!::mkdtemp(name)) throw std::runtime_error("no temporary directory");
  root_ = name;
  socket_path_ = root_ + "/engine.sock";
  start();
}

DockerEngine::~DockerEngine() {
  if (!owned()) return;
  try {
    if (!daemon_.running()) start();  // only a daemon can end the containers that a killed one left
  } catch (const std::exception&) {
  }
  daemon_.end(SIGTERM);
  // A killed daemon also leaves mounts, and a restarted one mounts again above them.
  for (const auto& mount : mounts_below(root_)) ::umount2(mount.c_str(), MNT_DETACH);
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

bool DockerEngine::answers() const {
  try {
    return call("GET", "/_ping").status == 200;
  } catch (const std::exception&) {
    return false;
  }
}

void DockerEngine::start() {
  std::error_code ignored;
  std::filesystem::remove(root_ + "/engine.pid", ignored);
  // A killed daemon takes its containerd with it; where nobody reaps that, its pid still looks alive to the
  // next one.
  std::filesystem::remove(root_ + "/exec/containerd/containerd.pid", ignored);
  const std::vector<std::string> command{"dockerd",
                                         "--data-root",
                                         root_ + "/data",
                                         "--exec-root",
                                         root_ + "/exec",
                                         "-H",
                                         "unix://" + socket_path_,
                                         "-p",
                                         root_ + "/engine.pid"};
  if (!daemon_.start(command, root_ + "/engine.log"))
    throw std::runtime_error("no dockerd: install docker.io");
  const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
  while (!answers()) {
    if (!daemon_.running() || std::chrono::steady_clock::now() > deadline) {
      std::ifstream log(root_ + "/engine.log");
      const std::string text{std::istreambuf_iterator<char>(log), {}};
      throw std::runtime_error("dockerd does not start: " +
                               text.substr(text.size() > 2000 ? text.size() - 2000 : 0));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void DockerEngine::kill() {
  daemon_.end(SIGKILL);
}

EngineAnswer DockerEngine::call(const std::string& method, const std::string& target, const std::string& body,
                                const std::vector<std::string>& headers) const {
  boost::asio::io_context io;
  boost::asio::local::stream_protocol::socket socket(io);
  socket.connect(boost::asio::local::stream_protocol::endpoint(socket_path_));
  http::request<http::string_body> request;
  request.method_string(method);
  request.target(target);
  request.version(11);
  request.set(http::field::host, "docker");
  request.set(http::field::connection, "close");
  if (!body.empty())
    request.set(http::field::content_type, body[0] == '{' ? "application/json" : "application/x-tar");
  for (const auto& header : headers) {
    const auto colon = header.find(": ");
    request.set(header.substr(0, colon), header.substr(colon + 2));
  }
  request.body() = body;
  request.prepare_payload();
  http::write(socket, request);
  boost::beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(64 << 20);
  http::read(socket, buffer, parser);
  return {parser.get().result_int(), parser.get().body()};
}

void DockerEngine::import_busybox(const std::string& repository, const std::string& tag,
                                  const std::string& marker) const {
  demand(call("POST",
              "/images/create?fromSrc=-&repo=" + repository + "&tag=" + tag +
                  "&changes=CMD%20%5B%22/bin/sh%22%5D&changes=ENV%20PATH%3D/bin",
              busybox_archive(marker)),
         "import");
}

std::string DockerEngine::push(const std::string& repository, const std::string& tag,
                               const std::string& auth) const {
  const EngineAnswer answer =
      call("POST", "/images/" + repository + "/push?tag=" + tag, {}, {"X-Registry-Auth: " + auth});
  demand(answer, "push");
  const auto at = answer.body.rfind("sha256:");
  if (at == std::string::npos) throw std::runtime_error("push told no digest: " + answer.body);
  return answer.body.substr(at, 7 + 64);
}

void DockerEngine::remove_image(const std::string& reference) const {
  (void)call("DELETE", "/images/" + reference + "?force=1");
}

void DockerEngine::remove_container(const std::string& id) const {
  demand(call("DELETE", "/containers/" + id + "?force=1"), "remove container");
}

}  // namespace decklog::fixture
