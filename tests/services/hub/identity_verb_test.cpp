// An operator gives a leaf device its identity on the command line; the official SDK connects with what that
// printed.
#include <array>
#include <cstdio>

#include "tests/services/hub/hub_test.hpp"

namespace decklog::hub::test {
namespace {

class IdentityVerb : public HubTest {
 protected:
  struct Said {
    int status = -1;
    std::string text;
  };
  Said identity(const std::string& arguments) {
    const std::string command = std::string(DECKLOG_PROGRAM) + " --config " + hub_.config_file() +
                                " fleet identity " + arguments + " 2>&1";
    Said said;
    FILE* const output = ::popen(command.c_str(), "r");
    std::array<char, 4096> part{};
    while (output && std::fgets(part.data(), part.size(), output)) said.text += part.data();
    if (output) said.status = WEXITSTATUS(::pclose(output));
    while (said.text.ends_with('\n')) said.text.pop_back();
    return said;
  }
  Puppet::Answer open_with(const std::string& as, const std::string& connection_string) {
    auto arguments = hub_.client("leaf-9");
    arguments["connectionString"] = connection_string;
    return puppet_.call("open", as, arguments);
  }
};

TEST_F(IdentityVerb, WhatItPrintsIsWhatAnSdkConnectsWith) {
  start();
  puppet_.start();
  const auto made = identity("--device leaf-9 --new");
  ASSERT_EQ(made.status, 0) << made.text;
  ASSERT_TRUE(open_with("leaf-9", made.text).ok) << made.text << "\n" << hub_.log();
  do_("send", "leaf-9", {{"body", "hello"}});
  EXPECT_EQ(hub_.wait_telemetry(1).at(0).device, "leaf-9");

  const auto module = identity("--device " + std::string(kDeviceId) + " --module probe --new");
  ASSERT_EQ(module.status, 0) << module.text;
  auto arguments = hub_.client(kDeviceId, "probe");
  arguments["connectionString"] = module.text;
  EXPECT_TRUE(puppet_.call("open", "probe", arguments).ok) << hub_.log();

  // The key is shown once; making it again would lock the device out.
  const auto again = identity("--device leaf-9 --new");
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.text, testing::HasSubstr("there is such an identity"));

  ASSERT_EQ(identity("--device leaf-9 --disable").status, 0);
  EXPECT_TRUE(eventually([&] { return hub_.client_state("leaf-9") != "connected"; }));
  EXPECT_FALSE(open_with("second", made.text).ok);
  ASSERT_EQ(identity("--device leaf-9 --enable").status, 0);
  EXPECT_TRUE(eventually([&] { return open_with("third", made.text).ok; })) << hub_.log();
}

TEST_F(IdentityVerb, RefusesWhatNobodyCouldConnectWith) {
  EXPECT_EQ(identity("--device leaf-9").status, 2);
  EXPECT_EQ(identity("--device leaf-9 --new --thumbprint zz").status, 2);
  EXPECT_EQ(identity("--device leaf-9 --new --thumbprint aa --authority").status, 2);
  EXPECT_EQ(identity("--device leaf-9 --disable").status, 4);
  EXPECT_NE(identity("--device leaf-9 --put /nowhere").status, 0);
  EXPECT_NE(identity("--device leaf-9 --put " + hub_.config_file()).status, 0);
}

}  // namespace
}  // namespace decklog::hub::test
