// `fleet init` against a server that is played: what is made, what is kept, what is refused. The real
// server's part is in tests/e2e.
#include "services/fleet/stream_plan.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>

namespace decklog::fleet {
namespace {

namespace json = boost::json;

// Streams by name, each with its configuration, as JetStream's API shows them.
class PlayedServer {
 public:
  Result<uplink::NatsMessage> answer(const uplink::NatsMessage& request) {
    const std::string name = request.subject.substr(request.subject.rfind('.') + 1);
    asked.push_back(request.subject);
    uplink::NatsMessage out;
    if (request.subject.starts_with("$JS.API.STREAM.INFO.")) {
      out.body = streams.contains(name) ? describe(name) : not_found();
      return out;
    }
    if (full) {
      out.body = R"({"error":{"code":500,"err_code":10047,"description":"insufficient storage"}})";
      return out;
    }
    streams[name] = json::parse(request.body).as_object();
    out.body = describe(name);
    return out;
  }
  Result<std::vector<InitStep>> init(const InitOptions& options) {
    return init_streams(options, [this](const auto& request) { return answer(request); });
  }

  std::map<std::string, json::object> streams;
  std::vector<std::string> asked;
  bool clustered = false, full = false;

 private:
  static std::string not_found() {
    return R"({"error":{"code":404,"err_code":10059,"description":"stream not found"}})";
  }
  std::string describe(const std::string& name) const {
    json::object info{
        {"created", "2026-01-01T00:00:00Z"}, {"config", streams.at(name)}, {"state", json::object{}}};
    if (clustered) info["cluster"] = json::object{{"leader", "n1"}};
    return json::serialize(info);
  }
};

TEST(FleetInit, MakesEveryStreamOnceAndFindsThemAgain) {
  PlayedServer server;
  const auto first = server.init({});
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_GE(first->size(), 4u);
  for (const auto& step : *first) EXPECT_EQ(step.outcome, InitStep::Outcome::kCreated) << step.name;
  EXPECT_EQ(server.streams.size(), first->size());
  const auto again = server.init({});
  ASSERT_TRUE(again) << again.error().message;
  for (const auto& step : *again) EXPECT_EQ(step.outcome, InitStep::Outcome::kExisted) << step.name;
}

// A device must not lose documents or mail because something newer came: full means refused.
TEST(FleetInit, DocumentsAndMailAreRefusedWhenFullAndTelemetryForgetsItsOldest) {
  PlayedServer server;
  ASSERT_TRUE(server.init({}));
  std::map<std::string, int> policies;
  for (const auto& [name, config] : server.streams) {
    const bool keeps = config.at("subjects").as_array().at(0).as_string().starts_with("$KV.") ||
                       config.at("retention").as_string() == "workqueue";
    EXPECT_EQ(config.at("discard").as_string(), keeps ? "new" : "old") << name;
    EXPECT_EQ(config.at("storage").as_string(), "file") << name;
    EXPECT_GT(config.at("max_bytes").to_number<std::int64_t>(), 0) << name << " is bounded";
    ++policies[keeps ? "keeps" : "forgets"];
  }
  EXPECT_GE(policies["keeps"], 3);
  EXPECT_GE(policies["forgets"], 2);
}

TEST(FleetInit, AStreamOfAnotherPurposeIsLeftAloneAndNamed) {
  PlayedServer server;
  ASSERT_TRUE(server.init({}));
  const std::string name = server.streams.begin()->first;
  server.streams[name]["subjects"] = json::array{"someone.elses.>"};
  const auto refused = server.init({});
  ASSERT_TRUE(refused.has_error());
  EXPECT_EQ(refused.error().code, Errc::kConflict);
  EXPECT_EQ(refused.error().where, name);
  EXPECT_EQ(server.streams[name].at("subjects").as_array().at(0).as_string(), "someone.elses.>");
}

TEST(FleetInit, MoreReplicasKeepTheOperatorsOwnLimits) {
  PlayedServer server;
  server.clustered = true;
  ASSERT_TRUE(server.init({}));
  const std::string name = server.streams.begin()->first;
  server.streams[name]["max_bytes"] = 12345;
  InitOptions three;
  three.replicas = 3;
  const auto changed = server.init(three);
  ASSERT_TRUE(changed) << changed.error().message;
  for (const auto& step : *changed) EXPECT_EQ(step.outcome, InitStep::Outcome::kReplicasChanged) << step.name;
  EXPECT_EQ(server.streams[name].at("max_bytes").to_number<std::int64_t>(), 12345);
  EXPECT_EQ(server.streams[name].at("num_replicas").to_number<int>(), 3);
}

TEST(FleetInit, AServerAloneDoesNotPretendToHoldThreeCopies) {
  PlayedServer server;
  ASSERT_TRUE(server.init({}));
  InitOptions three;
  three.replicas = 3;
  const auto refused = server.init(three);
  ASSERT_TRUE(refused.has_error());
  EXPECT_EQ(refused.error().code, Errc::kUnsupported);
}

TEST(FleetInit, WhatTheServerRefusesIsToldWithTheStreamsName) {
  PlayedServer server;
  server.full = true;
  const auto refused = server.init({});
  ASSERT_TRUE(refused.has_error());
  EXPECT_FALSE(refused.error().where.empty());
  EXPECT_NE(refused.error().message.find("insufficient storage"), std::string::npos)
      << refused.error().message;
}

TEST(FleetInit, ANumberOfReplicasThatCannotBeIsRefusedBeforeAnythingIsAsked) {
  for (const int replicas : {-1, 0, 6}) {
    PlayedServer server;
    InitOptions options;
    options.replicas = replicas;
    const auto refused = server.init(options);
    ASSERT_TRUE(refused.has_error()) << replicas;
    EXPECT_EQ(refused.error().where, "replicas");
    EXPECT_TRUE(server.asked.empty());
  }
}

}  // namespace
}  // namespace decklog::fleet
