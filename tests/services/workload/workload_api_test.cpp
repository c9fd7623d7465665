#include "services/workload/workload_api.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <boost/json.hpp>

#include "tests/services/workload/workload_fixture.hpp"

namespace decklog::workload {
namespace {

const http::ClientRequest kTrust{.target = "/trust-bundle?api-version=2018-06-28"};

TEST(WorkloadApi, SocketsComeAndGoWithModules) {
  WorkloadDevice device([](const ModuleName&, const http::PeerCredentials&) { return true; });
  const std::string sensor = device.add("sensor"), filter = device.add("filter");
  EXPECT_NE(sensor, filter);
  EXPECT_EQ(device.add("sensor"), sensor);
  const auto answer = http::request({sensor}, kTrust);
  ASSERT_TRUE(answer) << describe(answer.error());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->content_type, "application/json");
  struct stat info {};
  ASSERT_EQ(::stat((device.directory.path() + "/run").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0711u);
  device.loop.call([&] { device.api->remove(ModuleName("sensor")); });
  EXPECT_EQ(http::request({sensor}, kTrust).error().code, Errc::kUnavailable);
  EXPECT_FALSE(std::filesystem::exists(sensor));
  EXPECT_EQ(http::request({filter}, kTrust)->status, 200);
  EXPECT_EQ(device.add("sensor"), sensor);
  EXPECT_EQ(http::request({sensor}, kTrust)->status, 200);
}

TEST(WorkloadApi, AProcessThatDoesNotBelongIsRefusedEverything) {
  WorkloadDevice device([](const ModuleName& name, const http::PeerCredentials& peer) {
    return name.value == "sensor" && peer.pid == ::getpid();
  });
  const std::string mine = device.add("sensor"), other = device.add("other");
  EXPECT_EQ(http::request({mine}, kTrust)->status, 200);
  for (const char* target :
       {"/trust-bundle?api-version=2018-06-28", "/modules?api-version=2018-06-28", "/nothing"}) {
    const auto refused = http::request({other}, {.target = target});
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->status, 403);
    EXPECT_EQ(refused->content_type, "application/json");
  }
}

TEST(WorkloadApi, AHugeBodyIsRefusedAndTheSocketGoesOn) {
  WorkloadDevice device([](const ModuleName&, const http::PeerCredentials&) { return true; });
  const std::string path = device.add("sensor");
  const auto refused = http::request({path}, {.method = "POST",
                                              .target = "/modules/sensor/genid/1/sign?api-version=2018-06-28",
                                              .body = std::string(kMaxWorkloadBodyBytes + 1, 'x')});
  ASSERT_TRUE(refused) << describe(refused.error());
  EXPECT_EQ(refused->status, 413);
  EXPECT_EQ(http::request({path}, kTrust)->status, 200);
}

TEST(WorkloadApi, NamesThatAreNoDirectoryNamesAreRefused) {
  WorkloadDevice device([](const ModuleName&, const http::PeerCredentials&) { return true; });
  for (const char* name : {"", ".", "..", "../x", "a/b", "a b", "a\nb"}) {
    device.loop.call(
        [&] { EXPECT_EQ(device.api->add(ModuleName(name)).error().code, Errc::kInvalidArgument) << name; });
  }
}

}  // namespace
}  // namespace decklog::workload
