// A full disk, a wall clock that jumps, planted secrets.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/e2e/agent_under_test.hpp"

namespace decklog::e2e {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;

// A small ext4 of its own. Needs root and a loop device.
class SmallDisk final {
 public:
  SmallDisk() {
    char name[] = "/tmp/decklog-disk-XXXXXX";
    if (!::mkdtemp(name)) throw std::runtime_error("no temporary directory");
    folder_ = name;
    fs::create_directory(path());
    std::ofstream(image(), std::ios::binary);
    fs::resize_file(image(), 48u << 20);
    demand({"mkfs.ext4", "-q", "-m", "0", image()});
    demand({"mount", "-o", "loop", image(), path()});
  }
  ~SmallDisk() {
    (void)run({"umount", "-l", path()});
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  std::string path() const { return folder_ + "/mnt"; }
  void fill() const {
    std::ofstream file(path() + "/filler", std::ios::binary | std::ios::app);
    const std::string block(64 << 10, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
    file.clear();
    while (file.put('x').flush()) {
    }
  }
  void free() const { fs::remove(path() + "/filler"); }

 private:
  std::string image() const { return folder_ + "/image"; }
  static void demand(const std::vector<std::string>& command) {
    const Outcome outcome = run(command);
    if (outcome.status != 0) throw std::runtime_error(command[0] + ": " + outcome.text());
  }
  std::string folder_;
};

std::string runtime_id(const AgentUnderTest& agent, const std::string& name) {
  const auto module = agent.module(name);
  return module.empty() || module.at("state") != "running" ? "" : module.at("runtimeId").as_string().c_str();
}

TEST(FullDisk, SupervisionGoesOnLossesAreCountedAndItRecovers) {
  SmallDisk disk;
  AgentSetup setup;
  setup.data_dir = disk.path() + "/data";
  setup.agent = "docker = false\njournal_budget = \"8MiB\"\n";
  AgentUnderTest agent(setup);
  agent.start();
  const std::string more =
      R"("restartPolicy":"always","restart":{"backoffFirstSecs":0.2,"backoffCapSecs":0.2})";
  ASSERT_EQ(agent.apply(deployment(process_module("worker", "exec sleep 100000", more))).status, 0);
  ASSERT_TRUE(agent.becomes("worker", "running")) << agent.describe();

  disk.fill();
  const auto degraded = [&] { return agent.ask("/v1/status").at("journalDegraded") == true; };
  std::string before = runtime_id(agent, "worker");
  // Each end and start makes events; the journal has some room of its own left, so go on until it has none.
  for (int round = 0; round < 300 && !degraded(); ++round) {
    ASSERT_EQ(::kill(std::stoi(before), SIGKILL), 0);
    ASSERT_TRUE(eventually([&] {
      const std::string now = runtime_id(agent, "worker");
      return !now.empty() && now != before;
    })) << agent.describe();
    before = runtime_id(agent, "worker");
    disk.fill();
  }
  ASSERT_TRUE(degraded()) << "the disk is full and the journal does not notice";
  // Nothing can be written now: the module is still watched and started.
  ASSERT_EQ(::kill(std::stoi(before), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] {
    const std::string now = runtime_id(agent, "worker");
    return !now.empty() && now != before;
  })) << agent.describe();

  disk.free();
  ASSERT_TRUE(eventually([&] { return !degraded(); })) << agent.describe();
  ASSERT_TRUE(agent.running());
  std::uint64_t lost = 0;
  for (const auto& event : agent.history({"--type", "log.gap"}))
    lost += event.at("data").at("count").to_number<std::uint64_t>();
  EXPECT_GT(lost, 0u) << "what was not written is told";
  EXPECT_TRUE(agent.becomes("worker", "running"));
  ASSERT_TRUE(eventually([&] {
    const auto reported = agent.reported();
    return reported.is_object() && reported.at("modules").at("worker").at("runtimeStatus") == "running";
  }));
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  agent.start();
  EXPECT_TRUE(agent.becomes("worker", "running")) << agent.describe();
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  const Outcome verified = agent.cli({"verify"});
  EXPECT_EQ(verified.status, 0) << verified.text();
  const Outcome replayed = agent.cli({"replay"});
  EXPECT_EQ(replayed.status, 0) << replayed.text();
}

class WallClock final {
 public:
  explicit WallClock(std::string file) : file_(std::move(file)) { step(0s); }
  const std::string& file() const { return file_; }
  void step(std::chrono::nanoseconds offset) const {
    const std::int64_t ns = offset.count();
    std::fstream out(file_, std::ios::binary | std::ios::in | std::ios::out);
    if (!out) out.open(file_, std::ios::binary | std::ios::out);
    out.write(reinterpret_cast<const char*>(&ns), sizeof ns);
  }

 private:
  std::string file_;
};

struct Wait {
  std::int64_t drawn = 0, took = 0;  // ns
};

// Every back-off of the module: what was drawn, and what it took on the monotonic clock.
std::vector<Wait> waits(const AgentUnderTest& agent, const std::string& module) {
  std::vector<Wait> list;
  std::int64_t since = 0, drawn = 0;
  for (const auto& event : agent.history({module, "--type", "module.transitioned"})) {
    const auto mono = std::stoll(event.at("mono").as_string().c_str());
    const auto& data = event.at("data");
    if (since != 0 && data.at("from") == "backing-off") list.push_back({drawn, mono - since});
    since = data.at("to") == "backing-off" ? mono : 0;
    if (since != 0) drawn = data.at("life").at("backoff_wait_ns").to_number<std::int64_t>();
  }
  return list;
}

TEST(ClockStep, IsInTheLogAndDisturbsNoBackOff) {
  char name[] = "/tmp/decklog-clock-XXXXXX";
  const int file = ::mkstemp(name);
  ASSERT_GE(file, 0);
  ::close(file);
  WallClock clock(name);
  AgentSetup setup;
  setup.environment = {"DECKLOG_TEST_CLOCK=" + clock.file(), std::string("LD_PRELOAD=") + DECKLOG_CLOCK_SHIM};
  const char* options = std::getenv("ASAN_OPTIONS");
  setup.environment.push_back(std::string("ASAN_OPTIONS=") + (options ? std::string(options) + ":" : "") +
                              "verify_asan_link_order=0");
  AgentUnderTest agent(setup);
  agent.start();
  const std::string more = R"("restartPolicy":"always","restart":{"backoffFirstSecs":2,"backoffCapSecs":2})";
  ASSERT_EQ(agent.apply(deployment(process_module("crashy", "exit 1", more))).status, 0);
  int restarts = 0;
  for (const auto step :
       {std::chrono::seconds(3600), std::chrono::seconds(-86400), std::chrono::seconds(0)}) {
    ASSERT_TRUE(agent.becomes("crashy", "backing-off")) << agent.describe();
    clock.step(step);
    ASSERT_TRUE(eventually([&] {
      const auto now = agent.module("crashy").at("restarts").to_number<int>();
      return now > restarts + 1;
    })) << agent.describe();
    restarts = agent.module("crashy").at("restarts").to_number<int>();
  }
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  const auto steps = agent.history({"--type", "clock.stepped"});
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_NEAR(steps[0].at("data").at("step_ns").to_number<double>() / 1e9, 3600, 5);
  EXPECT_NEAR(steps[1].at("data").at("step_ns").to_number<double>() / 1e9, -90000, 5);
  const auto list = waits(agent, "crashy");
  ASSERT_GE(list.size(), 3u);
  for (const auto& wait : list) {
    EXPECT_GE(wait.took, wait.drawn);
    EXPECT_LT(wait.took, wait.drawn + 20'000'000'000) << "waited on the wall clock";
  }
  expect_sound_log(agent);
  ::unlink(name);
}

// ---- secrets ----------------------------------------------------------------------------------------

// Each secret is a text that nothing else has.
constexpr const char* kSecrets[] = {"pw-of-registry-8c1f",      "env-value-51aa07", "sas-sig-77b2e9d0",
                                    "bW9kdWxlLWtleS1wbGFudGVk", "create-env-3f9d",  "arg-secret-c0ffee",
                                    "refused-pw-d1ce",          "torn-pw-0ddba11"};

std::string secret_document() {
  return deployment(
      process_module(
          "worker", "exec sleep 100000",
          R"("env":{"PLAIN":{"value":"env-value-51aa07"},)"
          R"("CONNECTION":{"value":"HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=bW9kdWxlLWtleS1wbGFudGVk"},)"
          R"("SAS":{"value":"SharedAccessSignature sr=h%2Fdevices%2Fd&sig=sas-sig-77b2e9d0&se=2000000000"}})") +
          R"(,"arguments":{"type":"process","restartPolicy":"never","settings":{"command":["/bin/true","--password=arg-secret-c0ffee"]}})"
          R"(,"pulled":{"type":"docker","settings":{"image":"127.0.0.1:1/team/x:1","createOptions":"{\"Env\":[\"TOKEN=create-env-3f9d\"]}"}})",
      R"("runtime":{"type":"docker","settings":{"registryCredentials":{"r":{"address":"127.0.0.1:1","username":"anna","password":"pw-of-registry-8c1f"}}}})");
}

void expect_no_secret(const std::string& text, const std::string& where) {
  for (const char* secret : kSecrets)
    EXPECT_EQ(text.find(secret), std::string::npos) << secret << " is in " << where;
}

TEST(Secrets, AreInNothingTheAgentWrites) {
  AgentSetup setup;
  setup.agent = "docker = true\ndocker_socket = \"/nonexistent/docker.sock\"\n";
  AgentUnderTest agent(setup);
  agent.start();
  ASSERT_EQ(agent.apply(secret_document()).status, 0);
  ASSERT_TRUE(agent.becomes("worker", "running") && agent.becomes("arguments", "stopped"))
      << agent.describe();
  const std::string pid = runtime_id(agent, "worker").substr(0, runtime_id(agent, "worker").find('@'));
  const std::string environment = read_file("/proc/" + pid + "/environ");
  ASSERT_NE(environment.find("env-value-51aa07"), std::string::npos) << "the module itself gets them";
  // Refused documents hold secrets too: one with a fault beside it, one that is cut off.
  const Outcome fault = agent.apply(
      R"({"schemaVersion":"1.1","runtime":{"type":"docker","settings":{"registryCredentials":{"r":{"address":"a","username":"u","pasword":"refused-pw-d1ce"}}}},"modules":{}})");
  EXPECT_EQ(fault.status, 3);
  expect_no_secret(fault.text(), "the refusal");
  const Outcome torn = agent.apply(
      R"({"schemaVersion":"1.1","runtime":{"settings":{"registryCredentials":{"r":{"password":"torn-pw-0ddba11)");
  EXPECT_EQ(torn.status, 3);
  expect_no_secret(torn.text(), "the refusal");
  ASSERT_TRUE(eventually([&] {
    return agent.reported().is_object() && agent.reported().at("lastDesiredStatus").at("code") == 400;
  }));

  expect_no_secret(json::serialize(agent.ask("/v1/modules")), "list");
  expect_no_secret(agent.cli({"plan", "-"}, secret_document()).text(), "plan");
  for (const char* module : {"worker", "arguments", "pulled"})
    expect_no_secret(agent.cli({"why", module}).text(), "why");
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  // Uncompressed: every event as text, and as stored.
  expect_no_secret(agent.cli({"--json", "history"}).text(), "history --json");
  expect_no_secret(agent.cli({"--json", "state"}).text(), "state --json");
  ASSERT_EQ(agent.cli({"export", agent.path("log.bundle")}).status, 0);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(agent.folder())) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const std::string text = read_file(entry.path().string());
    expect_no_secret(text, entry.path().string());
    // Certificates are for everybody.
    if (!entry.path().string().starts_with(agent.data_dir()) || text.starts_with("-----BEGIN CERTIFICATE"))
      continue;
    EXPECT_EQ(entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all), fs::perms::none)
        << entry.path() << " can be read by others";
  }
  EXPECT_GT(files, 5u);
  EXPECT_NE(read_file(agent.path("log.bundle")).find("worker"), std::string::npos)
      << "a bundle is not compressed";
  // Offline, from the sealed document: the next run still has what the log does not.
  agent.start();
  EXPECT_TRUE(agent.becomes("worker", "running")) << agent.describe();
  EXPECT_EQ(agent.stop(), 0) << agent.log();
  expect_sound_log(agent);
}

}  // namespace
}  // namespace decklog::e2e
