// The real agent as an operator has it: a configuration, a process, the command line. Data, sockets and fleet
// are in a temporary directory; the destructor ends the agent and every module it left running. Blocking; one
// thread. Failures to start end the test with the agent's own words.
#pragma once

#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "services/http/client.hpp"
#include "tests/support/child_process.hpp"

namespace decklog::e2e {

inline constexpr auto kPatience = std::chrono::seconds(90);  // for what takes a second on an idle machine

struct Outcome {
  int status = -1;  // exit status; 128 + signal
  std::string out, err;
  std::string text() const { return out + err; }
};
Outcome run(const std::vector<std::string>& command, const std::string& input = {});

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience = kPatience);

// {"schemaVersion":"1.1","modules":{...}}: the modules are given as JSON members.
std::string deployment(const std::string& modules, const std::string& more = {});
// "name":{"type":"process",...} running `script` in /bin/sh; `more` are further members.
std::string process_module(const std::string& name, const std::string& script, const std::string& more = {});

struct AgentSetup {
  std::string uplink = {};                    // lines of [uplink]; default: the local one in folder()/fleet
  std::string agent = "docker = false\n";     // lines of [agent]
  std::string data_dir = {};                  // default: folder()/data
  std::vector<std::string> environment = {};  // NAME=value for the agent
};

class AgentUnderTest final {
 public:
  explicit AgentUnderTest(AgentSetup setup = {});
  ~AgentUnderTest();
  AgentUnderTest(const AgentUnderTest&) = delete;
  AgentUnderTest& operator=(const AgentUnderTest&) = delete;

  // `wrapper` in front of the command, e.g. strace. Waits until the management socket answers.
  void start(const std::vector<std::string>& wrapper = {});
  bool running() { return process_.running(); }
  pid_t pid() const { return process_.pid(); }
  void kill();
  int stop();  // SIGTERM; exit status

  const std::string& folder() const { return folder_; }
  const std::string& data_dir() const { return setup_.data_dir; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string log() const { return read_file(path("agent.log")); }
  void reconfigure(AgentSetup setup);  // takes effect at the next start

  // The command line, against this agent's configuration.
  Outcome cli(std::vector<std::string> words, const std::string& input = {}) const;
  boost::json::value json(std::vector<std::string> words, const std::string& input = {}) const;
  Outcome apply(const std::string& document) const { return cli({"apply", "-"}, document); }
  std::vector<boost::json::object> history(std::vector<std::string> words = {}) const;

  // The management socket, cheap enough to ask often.
  boost::json::value ask(const std::string& target) const;
  boost::json::value post(const std::string& target, const std::string& body) const;  // null = no answer
  boost::json::object module(const std::string& name) const;                          // empty when not there
  std::string state(const std::string& name) const;  // "running"; "" when not there
  std::string deployment_state() const;
  bool becomes(const std::string& name, const std::string& state,
               std::chrono::milliseconds patience = kPatience) const;
  std::string describe() const;  // what list and log say, for failures

  // The local fleet's copy; null while there is none.
  boost::json::value reported() const;
  void put_desired(const std::string& document) const;

 private:
  boost::json::value exchange(const http::ClientRequest& request) const;
  void write_config() const;
  void end_modules() const;

  std::string folder_;
  AgentSetup setup_;
  fixture::ChildProcess process_;
};

// The log against itself: contiguous, verified, replayed without divergence. Adds test failures.
void expect_sound_log(const AgentUnderTest& agent);

}  // namespace decklog::e2e
