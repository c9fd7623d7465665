// What every test of the hub begins and ends with.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/services/hub/hub_rig.hpp"
#include "tests/services/hub/own_network.hpp"

namespace decklog::hub::test {

namespace json = boost::json;

class OwnNetwork final : public testing::Environment {
 public:
  void SetUp() override { ASSERT_TRUE(enter_own_network()) << "no network namespace: run as root"; }
};
inline const auto* const kOwnNetwork = testing::AddGlobalTestEnvironment(new OwnNetwork);

class HubTest : public testing::Test {
 protected:
  // Routes and identities first, so that the hub has them when the first client comes.
  void start(const std::string& routes = R"("up":"FROM /messages/* INTO $upstream")") {
    hub_.put_routes(routes);
    hub_.start();
    hub_.routes_applied();
  }
  // An enrolled client that is open; its name in the puppet is its id.
  std::string open(const std::string& device, const std::string& module = {}, const json::object& more = {}) {
    hub_.enrol(device, module);
    const std::string as = module.empty() ? device : module;
    auto arguments = hub_.client(device, module);
    for (const auto& member : more) arguments[member.key()] = member.value();
    const auto opened = puppet_.call("open", as, arguments);
    EXPECT_TRUE(opened.ok) << opened.error << ": " << opened.message << "\n" << hub_.log();
    return as;
  }
  void do_(const std::string& what, const std::string& as, const json::object& more = {}) {
    const auto done = puppet_.call(what, as, more);
    EXPECT_TRUE(done.ok) << what << ": " << done.error << ": " << done.message;
  }
  void TearDown() override {
    if (hub_.running()) hub_.conserved();
  }

  HubRig hub_;
  Puppet puppet_{hub_.folder()};
};

}  // namespace decklog::hub::test
