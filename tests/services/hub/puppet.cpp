#include "tests/services/hub/puppet.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fstream>
#include <sstream>
#include <thread>

namespace decklog::hub::test {

namespace json = boost::json;
using std::chrono::steady_clock;

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

Puppet::Puppet(const std::string& directory) {
  static int count = 0;
  path_ = directory + "/puppet-" + std::to_string(++count) + ".sock";
  output_ = path_ + ".log";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << path_;
  EXPECT_EQ(::listen(listener_, 4), 0);
}

Puppet::~Puppet() {
  ::close(socket_);
  ::close(listener_);
}

std::vector<std::string> Puppet::command() const {
  return {"node", std::string(DECKLOG_SOURCE_DIR) + "/tests/services/hub/sdk_puppet.js", path_};
}

std::string Puppet::node_path() const {
  return std::string(DECKLOG_BINARY_DIR) + "/node/node_modules";
}

void Puppet::start() {
  ::setenv("NODE_PATH", node_path().c_str(), 1);
  ASSERT_TRUE(process_.start(command(), output_));
  accept();
}

void Puppet::accept() {
  if (socket_ >= 0) ::close(socket_);
  pollfd wait{listener_, POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())), 1)
      << "the puppet did not come: " << std::ifstream(output_).rdbuf();
  socket_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
}

std::uint64_t Puppet::begin(const std::string& what, const std::string& as, json::object more) {
  more["do"] = what;
  more["as"] = as;
  more["n"] = next_;
  const std::string line = json::serialize(more) + "\n";
  EXPECT_EQ(::send(socket_, line.data(), line.size(), MSG_NOSIGNAL), static_cast<ssize_t>(line.size()));
  return next_++;
}

Puppet::Answer Puppet::call(const std::string& what, const std::string& as, json::object more) {
  return answer(begin(what, as, std::move(more)));
}

Puppet::Answer Puppet::answer(std::uint64_t number) {
  const auto deadline = steady_clock::now() + kPatience;
  while (!answers_.contains(number) && steady_clock::now() < deadline &&
         read(std::chrono::milliseconds(200))) {
  }
  Answer made;
  const auto found = answers_.find(number);
  if (found == answers_.end()) {
    std::ostringstream log;
    log << std::ifstream(output_).rdbuf();
    ADD_FAILURE() << "no answer from the SDK; it says: " << log.str();
    made.error = "none";
  } else if (const auto* failed = found->second.if_contains("error")) {
    made.error = failed->at("name").as_string();
    made.message = failed->at("message").as_string();
  } else {
    made.ok = true;
    made.value = found->second.at("ok");
  }
  return made;
}

bool Puppet::answered(std::uint64_t number) {
  read(std::chrono::milliseconds(0));
  return answers_.contains(number);
}

std::vector<json::object> Puppet::events(const std::string& event, const std::string& as) {
  read(std::chrono::milliseconds(0));
  std::vector<json::object> found;
  for (const auto& each : events_) {
    if (text(each.at("event")) == event && text(each.at("as")) == as) found.push_back(each);
  }
  return found;
}

std::vector<json::object> Puppet::wait(const std::string& event, const std::string& as, std::size_t count) {
  const auto deadline = steady_clock::now() + kPatience;
  while (events(event, as).size() < count && steady_clock::now() < deadline &&
         read(std::chrono::milliseconds(200))) {
  }
  return events(event, as);
}

// False when the program is gone.
bool Puppet::read(std::chrono::milliseconds patience) {
  pollfd wait{socket_, POLLIN, 0};
  if (::poll(&wait, 1, static_cast<int>(patience.count())) <= 0) return true;
  char bytes[65536];
  const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
  if (count <= 0) return false;
  pending_.append(bytes, static_cast<std::size_t>(count));
  for (auto end = pending_.find('\n'); end != std::string::npos; end = pending_.find('\n')) {
    auto line = json::parse(pending_.substr(0, end)).as_object();
    pending_.erase(0, end + 1);
    if (const auto* number = line.if_contains("n"))
      answers_[number->to_number<std::uint64_t>()] = std::move(line);
    else
      events_.push_back(std::move(line));
  }
  return true;
}

}  // namespace decklog::hub::test
