// The reported document: what every reader of JSON can take, whatever the modules and their errors are
// called.
#include "services/agent/report.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace decklog::agent {
namespace {

namespace json = boost::json;

constexpr const char* kHash = "h";

// In force, with one module "m" that was looked at.
AgentState with_document(const std::string& text) {
  AgentState state;
  Envelope event;
  event.sequence = Sequence{1};
  DeploymentTransitioned decided;
  decided.life.hash = kHash;
  event.fact = decided;
  apply(state, event);
  DesiredReceived desired;
  desired.document = text;
  desired.hash = kHash;
  event.fact = desired;
  apply(state, event);
  ModuleObserved seen;
  seen.module = ModuleName("m");
  event.fact = seen;
  apply(state, event);
  EXPECT_NE(state.in_force(), nullptr);
  return state;
}

json::object reported_module(const AgentState& state) {
  json::error_code failed;
  const auto report = json::parse(make_report(state, {}).json, failed);
  EXPECT_FALSE(failed) << failed.message();
  return failed ? json::object() : report.at("modules").at("m").as_object();
}

TEST(Report, CreateOptionsAreSplitBetweenCharacters) {
  std::string label;
  for (int i = 0; i < 700; ++i) label += "\u00e4";
  for (const std::string shift : {"", "x"}) {
    const json::object options{{"Labels", json::object{{"site", shift + label}}}};
    const json::object settings{{"image", "i:1"}, {"createOptions", json::serialize(options)}};
    const auto state = with_document(json::serialize(json::object{
        {"schemaVersion", "1.1"},
        {"modules", json::object{{"m", json::object{{"type", "docker"}, {"settings", settings}}}}}}));
    const auto module = reported_module(state);
    ASSERT_FALSE(module.empty());
    std::string joined;
    for (const char* part : {"createOptions", "createOptions01", "createOptions02"}) {
      const auto& text = module.at("settings").at(part).as_string();
      EXPECT_LE(text.size(), 512u);
      joined += std::string_view(text);
    }
    EXPECT_EQ(json::parse(joined), json::value(options));
  }
}

TEST(Report, AnErrorIsCutBetweenCharacters) {
  auto state = with_document(
      R"({"schemaVersion":"1.1","modules":{"m":{"type":"process","settings":{"command":["x"]}}}})");
  for (const std::string shift : {"", "x"}) {
    Envelope event;
    event.sequence = Sequence{9};
    WorkFinished failed;
    failed.module = ModuleName("m");
    failed.code = 1;
    failed.message = shift;
    for (int i = 0; i < 300; ++i) failed.message += "\u00f6";
    event.fact = failed;
    apply(state, event);
    EXPECT_FALSE(reported_module(state).empty());
  }
}

}  // namespace
}  // namespace decklog::agent
