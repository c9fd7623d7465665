// A running agent as Prometheus and an auditor see it: its pages, its counters over a SIGKILL, its signed
// log.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "observability/exposition.hpp"
#include "services/audit/log_source.hpp"
#include "services/http/client.hpp"
#include "tests/support/child_process.hpp"

namespace decklog {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto kPatience = 60s;

constexpr const char* kDeployment = R"({"schemaVersion":"1.1","modules":{"sleeper":{"type":"process",
  "version":"1.2","restartPolicy":"always","settings":{"command":["/bin/sleep","3600"]}}}})";
constexpr const char* kEmpty = R"({"schemaVersion":"1.1","modules":{}})";

// Free just now: the agent says in its exit status when somebody was faster, and the test fails.
std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

// Exit status of a program, its output in a file.
int run(const std::vector<std::string>& command, const std::string& output) {
  fixture::ChildProcess child;
  if (!child.start(command, output)) return -1;
  int status = 0;
  if (::waitpid(child.pid(), &status, 0) != child.pid()) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Scrape : public testing::Test {
 protected:
  Scrape() : port_(free_port()) {
    char name[] = "/tmp/decklog-scrape-XXXXXX";
    folder_ = ::mkdtemp(name);
    std::ofstream(config()) << "device = \"edge-1\"\ndata_dir = \"" << folder_ << "/data\"\nrun_dir = \""
                            << folder_ << "/run\"\n[agent]\nmetrics = \"127.0.0.1:" << port_
                            << "\"\ndocker = false\n[hub]\nenabled = false\n";
    std::ofstream(folder_ + "/deployment.json") << kDeployment;
    std::ofstream(folder_ + "/empty.json") << kEmpty;
  }
  ~Scrape() override {
    // Modules outlive the agent: take them away before it goes.
    if (agent_.running()) {
      (void)cli({"apply", folder_ + "/empty.json"});
      (void)wait_for([&] { return value("decklog_module_state") < 0; });
    }
    agent_.end(SIGTERM);
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::string config() const { return folder_ + "/config.toml"; }
  std::string journal() const { return folder_ + "/data/agent/journal"; }
  int cli(std::vector<std::string> words) {
    words.insert(words.begin(), {DECKLOG_PROGRAM, "--config", config()});
    return run(words, folder_ + "/cli.log");
  }

  int status_of(const std::string& target) {
    const auto answer = http::request({"", "127.0.0.1", port_}, {.method = "GET", .target = target});
    if (!answer) return 0;
    body_ = answer->body;
    type_ = answer->content_type;
    return answer->status;
  }

  template <class Condition>
  bool wait_for(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(50ms);
    }
    return true;
  }

  void start() {
    ASSERT_TRUE(agent_.start({DECKLOG_PROGRAM, "--config", config(), "agent"}, folder_ + "/agent.log"));
    ASSERT_TRUE(wait_for([&] { return status_of("/readyz") == 200; })) << read_file(folder_ + "/agent.log");
  }

  // Value of the first series that has all these texts in its line; -1 = there is none.
  double value(const std::string& name, const std::vector<std::string>& labels = {}) {
    if (status_of("/metrics") != 200) return -1;
    std::istringstream lines(body_);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(name + "{")) continue;
      bool all = true;
      for (const auto& label : labels) all = all && line.find(label) != std::string::npos;
      if (all) return std::stod(line.substr(line.rfind(' ')));
    }
    return -1;
  }

  void deploy() {
    ASSERT_EQ(cli({"apply", folder_ + "/deployment.json"}), 0) << read_file(folder_ + "/cli.log");
    ASSERT_TRUE(wait_for([&] {
      return value("decklog_module_state", {"\"sleeper\"", "state=\"running\""}) == 1;
    })) << read_file(folder_ + "/agent.log");
  }

  std::uint16_t port_;
  std::string folder_, body_, type_;
  fixture::ChildProcess agent_;
};

TEST_F(Scrape, ThePagePassesPromtoolAndHoldsOnlyTheCatalogue) {
  start();
  deploy();
  ASSERT_EQ(status_of("/metrics"), 200);
  EXPECT_EQ(type_, "text/plain; version=0.0.4; charset=utf-8");
  std::ofstream(folder_ + "/page") << body_;
  // 1 = the page does not parse; 3 = only style, such as Azure's camel case.
  const int checked = run({"sh", "-c", "promtool check metrics < \"$1\"", "sh", folder_ + "/page"},
                          folder_ + "/promtool.log");
  EXPECT_TRUE(checked == 0 || checked == 3) << checked << "\n" << read_file(folder_ + "/promtool.log");

  std::set<std::string> families;
  std::istringstream lines(body_);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# TYPE ")) families.insert(line.substr(7, line.find(' ', 7) - 7));
    if (line.starts_with("#")) continue;
    EXPECT_NE(line.find("edge_device=\"edge-1\""), std::string::npos) << line;
    EXPECT_NE(line.find("instance_number=\""), std::string::npos) << line;
  }
  for (const auto& family : families) EXPECT_NE(observability::find_metric(family), nullptr) << family;
  for (const char* family :
       {"decklog_module_state", "edgeAgent_total_time_running_correctly_seconds",
        "edgeAgent_module_start_total", "edgeAgent_command_latency_seconds", "decklog_uplink_state",
        "decklog_reported_lag_events", "decklog_journal_bytes", "edgeAgent_available_disk_space_bytes",
        "edgeAgent_used_memory_bytes", "edgeAgent_host_uptime_seconds", "edgeAgent_metadata"})
    EXPECT_TRUE(families.contains(family)) << family;
}

TEST_F(Scrape, TheNumbersAreTrueAndOutliveASigkill) {
  start();
  deploy();
  EXPECT_EQ(value("edgeAgent_module_start_total", {"\"sleeper\"", "module_version=\"1.2\""}), 1);
  EXPECT_EQ(value("decklog_module_state", {"\"sleeper\"", "state=\"failed\""}), 0);
  EXPECT_TRUE(wait_for([&] { return value("decklog_deployment_state", {"state=\"applied\""}) == 1; }));
  EXPECT_TRUE(wait_for([&] { return value("decklog_uplink_state", {"state=\"connected\""}) == 1; }));
  EXPECT_TRUE(wait_for([&] { return value("decklog_reported_lag_events") == 0; }));
  EXPECT_TRUE(wait_for([&] { return value("edgeAgent_iothub_syncs_total") > 0; }));
  const double transitions = value("decklog_module_transitions_total", {"\"sleeper\""});
  const double events = value("decklog_journal_events_total");
  const double syncs = value("edgeAgent_iothub_syncs_total");
  EXPECT_GT(transitions, 2);
  agent_.end(SIGKILL);
  start();
  EXPECT_GE(value("decklog_module_transitions_total", {"\"sleeper\""}), transitions);
  EXPECT_EQ(value("edgeAgent_module_start_total", {"\"sleeper\""}), 1)
      << "an adopted module did not start again";
  EXPECT_GT(value("decklog_journal_events_total"), events);
  EXPECT_GE(value("edgeAgent_iothub_syncs_total"), syncs);
}

TEST_F(Scrape, SaysWhatItDoesNotKnow) {
  start();
  EXPECT_EQ(status_of("/healthz"), 200);
  EXPECT_EQ(status_of("/nothing"), 404);
  const auto posted = http::request({"", "127.0.0.1", port_}, {.method = "POST", .target = "/metrics"});
  ASSERT_TRUE(posted);
  EXPECT_EQ(posted->status, 405);
}

TEST_F(Scrape, TheLogIsSignedAndVerifies) {
  start();
  deploy();
  agent_.end(SIGKILL);
  start();
  agent_.end(SIGTERM);
  const auto whole = audit::verify_log(journal());
  ASSERT_TRUE(whole) << describe(whole.error());
  EXPECT_TRUE(whole->ok) << (whole->problems.empty() ? "" : whole->problems.front());
  EXPECT_GE(whole->heads, 3u);  // two starts and a stop
  EXPECT_GT(whole->proven_through.value, 10u);
  EXPECT_EQ(fs::status(folder_ + "/data/log.key").permissions(), fs::perms(0600));

  ASSERT_EQ(cli({"export", folder_ + "/log.bundle"}), 0) << read_file(folder_ + "/cli.log");
  const auto bundle = audit::verify_log(folder_ + "/log.bundle");
  ASSERT_TRUE(bundle) << describe(bundle.error());
  EXPECT_TRUE(bundle->ok);
  EXPECT_EQ(bundle->events, whole->events);
  EXPECT_FALSE(bundle->notes.empty());

  // Without the key that signed them no head counts.
  for (const auto& entry : fs::directory_iterator(journal())) {
    if (entry.path().filename().string().starts_with("LOG_KEY.")) fs::remove(entry.path());
  }
  const auto keyless = audit::verify_log(journal());
  ASSERT_TRUE(keyless);
  EXPECT_FALSE(keyless->ok);
  EXPECT_TRUE(keyless->first_bad);
  // Modules of this test still run; the next agent takes them away.
  start();
}

TEST_F(Scrape, AFlippedByteInABundleIsFound) {
  start();
  ASSERT_EQ(cli({"export", folder_ + "/log.bundle"}), 0) << read_file(folder_ + "/cli.log");
  const std::string bytes = read_file(folder_ + "/log.bundle");
  const auto whole = audit::verify_log(folder_ + "/log.bundle");
  ASSERT_TRUE(whole && whole->ok);
  for (std::size_t at = 12; at < bytes.size(); at += 7) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    std::ofstream(folder_ + "/bad.bundle", std::ios::binary) << flipped;
    const auto result = audit::verify_log(folder_ + "/bad.bundle");
    // The kind of a record is the one byte without a checksum: the event is then passed over.
    EXPECT_TRUE(!result || !result->ok || result->events < whole->events) << at;
  }
}

}  // namespace
}  // namespace decklog
