// What only the local uplink can meet: files of other programs, half-written, torn, removed or edited by
// hand.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "services/uplink/local_store.hpp"
#include "tests/services/uplink/rig.hpp"

namespace decklog::uplink {
namespace {

namespace fs = std::filesystem;
const TwinKey kAgent{"edge-1", "$edgeAgent"};

class LocalUplinkTest : public testing::Test {
 protected:
  test::TempDir directory;
  std::string root = directory.path("fleet");

  LocalOptions options() const {
    LocalOptions out;
    out.directory = root;
    out.device = "edge-1";
    out.rescan = std::chrono::milliseconds(500);
    return out;
  }
  std::unique_ptr<Observer> observe(LocalOptions with) {
    auto io = std::make_unique<boost::asio::io_context>();
    auto uplink = make_local_uplink(io->get_executor(), std::move(with));
    return std::make_unique<Observer>(std::move(io), std::move(uplink));
  }
  static void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }
  static Result<std::size_t> publish(Observer& seen, std::vector<Telemetry> batch) {
    return seen.ask<std::size_t>([&](auto done) { seen.uplink->publish(std::move(batch), done); });
  }
  std::string segment(int number) const {
    char name[32];
    std::snprintf(name, sizeof name, "%012d.jsonl", number);
    return root + "/telemetry/edge-1/" + name;
  }
};

TEST_F(LocalUplinkTest, AFileIsTakenOnlyWhenItsWriterIsDone) {
  auto seen = observe(options());
  seen->uplink->watch_desired(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  const std::string path = root + "/desired/edge-1/_agent.json";
  ASSERT_TRUE(seen->wait([&] { return fs::exists(root + "/desired/edge-1"); }));
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::write(fd, "{\"half\":", 8), 8);
  // Several periodic looks see the file open for writing and leave it alone.
  EXPECT_FALSE(seen->wait([&] { return !seen->desired.empty(); }, std::chrono::milliseconds(1500)));
  ASSERT_EQ(::write(fd, "1}", 2), 2);
  ::close(fd);
  ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 1; }));
  EXPECT_EQ(seen->desired[0].second.json, "{\"half\":1}");
  EXPECT_TRUE(seen->watch_failures.empty());
}

TEST_F(LocalUplinkTest, ADocumentEditedByHandGetsANewRevisionThatSurvives) {
  const std::string path = root + "/desired/edge-1/_agent.json";
  write(path, "{\"v\":1}");
  std::uint64_t first = 0;
  {
    auto seen = observe(options());
    seen->uplink->watch_desired(kAgent);
    ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
    ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 1; }));
    first = seen->desired[0].second.revision;
    EXPECT_GT(first, 0u);
  }
  auto seen = observe(options());
  seen->uplink->watch_desired(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 1; }));
  EXPECT_EQ(seen->desired[0].second.revision, first);
  write(path, "{\"v\":2}");
  ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 2; }));
  EXPECT_EQ(seen->desired[1].second.revision, first + 1);
  fs::remove(path);
  ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 3; }));
  EXPECT_EQ(seen->desired[2].second.json, "");
  EXPECT_EQ(seen->desired[2].second.revision, first + 2);
}

TEST_F(LocalUplinkTest, AnOversizeDocumentIsSaidAndTheNextOneWorks) {
  auto seen = observe(options());
  seen->uplink->watch_desired(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  write(root + "/desired/edge-1/_agent.json", std::string(kMaxDocumentBytes + 1, ' '));
  ASSERT_TRUE(seen->wait([&] { return !seen->watch_failures.empty(); }));
  EXPECT_EQ(seen->watch_failures[0].second.code, Errc::kTooLarge);
  write(root + "/desired/edge-1/_agent.json", "{}");
  EXPECT_TRUE(seen->wait([&] { return seen->desired.size() == 1; }));
}

TEST_F(LocalUplinkTest, MarkerAndMissingRootCutTheLink) {
  auto seen = observe(options());
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  write(root + "/OFFLINE", "");
  ASSERT_TRUE(seen->wait([&] { return !seen->connected(); }));
  EXPECT_EQ(seen->links.back().change, LinkChange::kLost);
  EXPECT_EQ(seen->connect().change, LinkChange::kFailed);
  fs::remove(root + "/OFFLINE");
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  fs::rename(root, directory.path("elsewhere"));
  ASSERT_TRUE(seen->wait([&] { return !seen->connected(); }));
  EXPECT_EQ(seen->connect().change, LinkChange::kFailed) << "a root that went away is not made again";
  fs::rename(directory.path("elsewhere"), root);
  EXPECT_EQ(seen->connect().change, LinkChange::kConnected);
}

TEST_F(LocalUplinkTest, TornTailIsCutOffAndRepeatsAreKnownAfterARestart) {
  {
    auto seen = observe(options());
    ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
    ASSERT_TRUE(publish(*seen, {reading(1), reading(2)}));
  }
  std::ofstream(segment(1), std::ios::app) << "{\"id\":\"edge-1/7/3\",\"torn";
  auto seen = observe(options());
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(publish(*seen, {reading(2), reading(3)}));
  std::ifstream file(segment(1));
  std::vector<std::string> ids;
  for (std::string line; std::getline(file, line);) ids.push_back(line.substr(7, 10));
  EXPECT_EQ(ids, (std::vector<std::string>{"edge-1/7/1", "edge-1/7/2", "edge-1/7/3"}));
}

TEST_F(LocalUplinkTest, SegmentsRotateAndTheOldestGo) {
  LocalOptions small = options();
  small.segment_bytes = 2000;
  small.log_bytes_max = 10000;
  auto seen = observe(small);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  for (std::uint64_t i = 1; i <= 60; ++i) ASSERT_TRUE(publish(*seen, {reading(i, std::string(300, 'x'))}));
  std::uint64_t total = 0;
  for (const auto& entry : fs::directory_iterator(root + "/telemetry/edge-1")) total += entry.file_size();
  EXPECT_LE(total, small.log_bytes_max + small.segment_bytes);
  EXPECT_FALSE(fs::exists(segment(1)));
  auto fleet = fleet::open_local_fleet(root);
  const auto there = stored(*fleet, "edge-1");
  ASSERT_FALSE(there.empty());
  EXPECT_EQ(there.back().id, "edge-1/7/60");
}

TEST_F(LocalUplinkTest, ARemovedTelemetryFolderIsANewStream) {
  auto seen = observe(options());
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  const auto checkpoint = [&] {
    return seen->ask<std::string>([&](auto done) { seen->uplink->checkpoint(done); });
  };
  ASSERT_TRUE(publish(*seen, {reading(1)}));
  const auto before = checkpoint();
  fs::remove_all(root + "/telemetry");
  const auto after = checkpoint();
  ASSERT_TRUE(before && after);
  EXPECT_NE(*before, *after);
  ASSERT_TRUE(publish(*seen, {reading(1)}));
  auto fleet = fleet::open_local_fleet(root);
  EXPECT_EQ(stored(*fleet, "edge-1").size(), 1u);
}

TEST_F(LocalUplinkTest, ACallClaimedByARunThatDiedIsAnsweredForIt) {
  write(root + "/methods/taken/old.json", R"({"device":"edge-1","module":"$edgeAgent","name":"x"})");
  auto seen = observe(options());
  seen->uplink->accept_methods(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen->wait([&] { return fs::exists(root + "/methods/out/old.json"); }));
  EXPECT_TRUE(seen->calls.empty());
  write(root + "/methods/in/bad.json", "not json");
  ASSERT_TRUE(seen->wait([&] { return fs::exists(root + "/methods/out/bad.json"); }));
  write(root + "/methods/in/other.json", R"({"device":"edge-1","module":"sensor","name":"x"})");
  write(root + "/methods/in/ours.json", R"({"device":"edge-1","module":"$edgeAgent","name":"y"})");
  ASSERT_TRUE(seen->wait([&] { return seen->calls.size() == 1; }));
  EXPECT_EQ(seen->calls[0].name, "y");
  EXPECT_TRUE(fs::exists(root + "/methods/in/other.json")) << "another service's call is left to it";
}

TEST_F(LocalUplinkTest, AMessageThatIsNotOneIsSetAside) {
  auto seen = observe(options());
  seen->uplink->accept_cloud_messages("edge-1");
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  write(root + "/c2d/edge-1/in/1.json", "[]");
  ASSERT_TRUE(seen->wait([&] { return fs::exists(root + "/c2d/edge-1/rejected/1.json"); }));
  EXPECT_TRUE(seen->wait([&] { return seen->watch_failures.size() == 1; }));
  EXPECT_TRUE(seen->messages.empty());
}

TEST_F(LocalUplinkTest, FilesAreForTheirOwnerOnly) {
  auto seen = observe(options());
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(publish(*seen, {reading(1)}));
  ASSERT_TRUE(
      seen->ask<std::uint64_t>([&](auto done) { seen->uplink->put_reported(kAgent, "{}", 0, done); }));
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    EXPECT_EQ(entry.status().permissions() & fs::perms(077), fs::perms::none) << entry.path();
  }
}

TEST_F(LocalUplinkTest, IdsThatLookLikePathsStayInside) {
  auto seen = observe(options());
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  const TwinKey hostile{"../../escape", "../x/y"};
  ASSERT_TRUE(
      seen->ask<std::uint64_t>([&](auto done) { seen->uplink->put_reported(hostile, "{}", 0, done); }));
  EXPECT_TRUE(fs::exists(root + "/reported/=2E=2E=2F=2E=2E=2Fescape/=2E=2E=2Fx=2Fy.json"));
  EXPECT_FALSE(fs::exists(directory.path("escape")));
}

}  // namespace
}  // namespace decklog::uplink
