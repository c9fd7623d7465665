#include "tests/e2e/agent_under_test.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace decklog::e2e {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

std::string temporary_directory() {
  char name[] = "/tmp/decklog-e2e-XXXXXX";
  if (!::mkdtemp(name)) throw std::runtime_error("no temporary directory");
  return name;
}

void pause() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

int exit_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path + ".new", std::ios::binary) << text;
  fs::rename(path + ".new", path);
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    pause();
  }
  return true;
}

Outcome run(const std::vector<std::string>& command, const std::string& input) {
  const std::string folder = temporary_directory();
  std::ofstream(folder + "/in", std::ios::binary) << input;
  // The shell only connects the streams; the words reach the program untouched.
  std::vector<std::string> words{
      "/bin/sh", "-c", "d=$1; shift; exec \"$@\" <\"$d/in\" >\"$d/out\" 2>\"$d/err\"", "sh", folder};
  words.insert(words.end(), command.begin(), command.end());
  fixture::ChildProcess child;
  Outcome outcome;
  int status = 0;
  if (child.start(words) && ::waitpid(child.pid(), &status, 0) == child.pid())
    outcome = {exit_status(status), read_file(folder + "/out"), read_file(folder + "/err")};
  fs::remove_all(folder);
  return outcome;
}

std::string deployment(const std::string& modules, const std::string& more) {
  return R"({"schemaVersion":"1.1",)" + more + (more.empty() ? "" : ",") + R"("modules":{)" + modules + "}}";
}

std::string process_module(const std::string& name, const std::string& script, const std::string& more) {
  const json::array command{"/bin/sh", "-c", json::value(script)};
  return json::serialize(json::value(name)) + R"(:{"type":"process",)" + more + (more.empty() ? "" : ",") +
         R"("settings":{"command":)" + json::serialize(command) + "}}";
}

AgentUnderTest::AgentUnderTest(AgentSetup setup) : folder_(temporary_directory()) {
  reconfigure(std::move(setup));
}

AgentUnderTest::~AgentUnderTest() {
  process_.end(SIGTERM, std::chrono::seconds(30));
  end_modules();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

// Modules outlive the agent. Each is found by the record of its keeper and recognised by its directory.
void AgentUnderTest::end_modules() const {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(data_dir() + "/modules", none)) {
    json::error_code failed;
    const auto record = json::parse(read_file(entry.path().string() + "/state.json"), failed);
    const auto* module = !failed && record.is_object() ? record.as_object().if_contains("module") : nullptr;
    if (!module || !module->is_object()) continue;
    const auto pid = module->at("pid").to_number<pid_t>(failed);
    if (failed || pid <= 1) continue;
    const auto ours = [&] {
      return fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", none).string().starts_with(data_dir());
    };
    if (ours()) ::kill(-pid, SIGKILL);
    (void)eventually([&] { return !ours(); });
  }
}

void AgentUnderTest::reconfigure(AgentSetup setup) {
  setup_ = std::move(setup);
  if (setup_.data_dir.empty()) setup_.data_dir = folder_ + "/data";
  if (setup_.uplink.empty()) setup_.uplink = "kind = \"local\"\ndirectory = \"" + folder_ + "/fleet\"\n";
  write_config();
}

void AgentUnderTest::write_config() const {
  write_file(path("config.toml"), "device = \"edge-1\"\ndata_dir = \"" + setup_.data_dir +
                                      "\"\nrun_dir = \"" + folder_ + "/run\"\n[uplink]\n" + setup_.uplink +
                                      "[agent]\n" + setup_.agent + "[hub]\nenabled = false\n");
}

void AgentUnderTest::start(const std::vector<std::string>& wrapper) {
  std::vector<std::string> command{"env"};
  command.insert(command.end(), setup_.environment.begin(), setup_.environment.end());
  command.insert(command.end(), wrapper.begin(), wrapper.end());
  command.insert(command.end(), {DECKLOG_PROGRAM, "--config", path("config.toml"), "agent"});
  if (!process_.start(command, path("agent.log"))) throw std::runtime_error("the agent cannot be started");
  // A wrapper may end it at any point of its start.
  const bool up = eventually([&] { return !ask("/v1/status").is_null() || !running(); });
  if (wrapper.empty() && (!up || !running())) throw std::runtime_error("the agent does not start: " + log());
}

void AgentUnderTest::kill() {
  process_.end(SIGKILL);
}

int AgentUnderTest::stop() {
  if (!running()) return -1;
  process_.signal(SIGTERM);
  int status = 0;
  if (::waitpid(process_.pid(), &status, 0) != process_.pid()) return -1;
  process_.end(0);
  return exit_status(status);
}

Outcome AgentUnderTest::cli(std::vector<std::string> words, const std::string& input) const {
  words.insert(words.begin(), {DECKLOG_PROGRAM, "--config", path("config.toml")});
  return run(words, input);
}

json::value AgentUnderTest::json(std::vector<std::string> words, const std::string& input) const {
  words.insert(words.begin(), "--json");
  const Outcome outcome = cli(std::move(words), input);
  json::error_code failed;
  auto value = json::parse(outcome.out, failed);
  if (failed) throw std::runtime_error("not JSON: " + outcome.text());
  return value;
}

std::vector<json::object> AgentUnderTest::history(std::vector<std::string> words) const {
  words.insert(words.begin(), {"--json", "history"});
  const Outcome outcome = cli(std::move(words));
  if (outcome.status != 0) throw std::runtime_error("history: " + outcome.text());
  std::vector<json::object> events;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) events.push_back(json::parse(line).as_object());
  return events;
}

json::value AgentUnderTest::exchange(const http::ClientRequest& request) const {
  const auto answer = http::request({.unix_path = path("run/agent.sock")}, request);
  json::error_code failed;
  if (!answer || answer->status != 200) return nullptr;
  auto value = json::parse(answer->body, failed);
  return failed ? json::value() : value;
}

json::value AgentUnderTest::ask(const std::string& target) const {
  return exchange({.target = target});
}

json::value AgentUnderTest::post(const std::string& target, const std::string& body) const {
  return exchange({.method = "POST", .target = target, .body = body});
}

json::object AgentUnderTest::module(const std::string& name) const {
  const auto list = ask("/v1/modules");
  if (!list.is_object()) return {};
  for (const auto& item : list.at("modules").as_array()) {
    if (item.at("name").as_string() == name) return item.as_object();
  }
  return {};
}

std::string AgentUnderTest::state(const std::string& name) const {
  const auto found = module(name);
  return found.empty() ? "" : found.at("state").as_string().c_str();
}

std::string AgentUnderTest::deployment_state() const {
  const auto list = ask("/v1/modules");
  return list.is_object() ? list.at("deployment").at("state").as_string().c_str() : "";
}

bool AgentUnderTest::becomes(const std::string& name, const std::string& wanted,
                             std::chrono::milliseconds patience) const {
  return eventually([&] { return state(name) == wanted; }, patience);
}

std::string AgentUnderTest::describe() const {
  return "list: " + json::serialize(ask("/v1/modules")) + "\nlog: " + log();
}

json::value AgentUnderTest::reported() const {
  json::error_code failed;
  auto value = json::parse(read_file(path("fleet/reported/edge-1/_agent.json")), failed);
  return failed ? json::value() : value;
}

void AgentUnderTest::put_desired(const std::string& document) const {
  write_file(path("fleet/desired/edge-1/_agent.json"), document);
}

void expect_sound_log(const AgentUnderTest& agent) {
  const Outcome verified = agent.cli({"verify"});
  EXPECT_EQ(verified.status, 0) << verified.text();
  const Outcome replayed = agent.cli({"replay"});
  EXPECT_EQ(replayed.status, 0) << replayed.text();
  std::uint64_t next = 1;
  for (const auto& event : agent.history()) {
    ASSERT_TRUE(event.contains("sequence")) << json::serialize(event);
    ASSERT_EQ(std::stoull(event.at("sequence").as_string().c_str()), next++) << json::serialize(event);
  }
}

}  // namespace decklog::e2e
