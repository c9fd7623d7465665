// Twins without clients and without a broker: what reaches the fleet of patches that were made without it.
#include "services/hub/twins.hpp"

#include "tests/services/hub/hub_fakes.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::hub::test {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

class TwinsTest : public testing::Test {
 protected:
  TwinsTest() {
    persistence::StoreHooks hooks;
    hooks.post = [this](std::function<void()> work) { asio::post(context_, std::move(work)); };
    persistence::MessageStoreOptions options;
    options.directory = directory_.path("messages");
    auto opened = persistence::MessageStore::open(options, hooks, surroundings_.boot(), surroundings_.now());
    EXPECT_TRUE(opened) << describe(opened.error());
    store_ = std::move(*opened);
    persistence::Sealer plain;
    plain.seal = [](std::string_view, std::string_view text) { return std::string(text); };
    plain.open = [](std::string_view, std::string_view text) {
      return Result<std::string>(std::string(text));
    };
    auto twins = persistence::TwinStore::open(*store_, plain);
    EXPECT_TRUE(twins);
    records_ = std::move(*twins);
    twins_.emplace(Twins::Parts{surroundings_, uplink_, clients_, remarks_, *records_, stats_,
                                [](const Identity&, std::string_view) {}, alive_});
  }
  json::object upstream() const { return json::parse(uplink_.reported.json).as_object(); }

  decklog::test::TempDir directory_;
  asio::io_context context_{1};
  FakeSurroundings surroundings_;
  FakeUplink uplink_{context_};
  FakeLog log_;
  Remarks remarks_{log_, surroundings_};
  Clients clients_;
  HeadStats stats_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::unique_ptr<persistence::MessageStore> store_;
  std::unique_ptr<persistence::TwinStore> records_;
  std::optional<Twins> twins_;
};

const Identity kSensor{"edge-1", "sensor"};

TEST_F(TwinsTest, WhatWasDeletedAndMadeAnewBeforeTheFirstSyncKeepsNothingOld) {
  uplink_.reported = {R"({"a":{"old":1,"o":{"x":1}},"kept":true})", 7};
  EXPECT_TRUE(twins_->patch(kSensor, "1", R"({"a":null})"));
  EXPECT_TRUE(twins_->patch(kSensor, "2", R"({"a":{"new":2,"o":{"y":3}}})"));
  twins_->on_link(true);
  EXPECT_TRUE(run_until(context_, [&] { return uplink_.reported.revision == 8; }));
  EXPECT_EQ(upstream(), json::parse(R"({"a":{"new":2,"o":{"y":3}},"kept":true})")) << uplink_.reported.json;
}

TEST_F(TwinsTest, PatchesMadeOfflineAfterASyncDoSoToo) {
  uplink_.reported = {R"({"a":{"old":1},"theirs":1})", 7};
  twins_->on_link(true);
  twins_->get(kSensor, "1");
  EXPECT_TRUE(run_until(context_, [&] {
    return records_->find({"edge-1", "sensor"}) != nullptr &&
           records_->find({"edge-1", "sensor"})->pending_base == 7;
  }));
  twins_->on_link(false);
  EXPECT_TRUE(twins_->patch(kSensor, "2", R"({"a":null})"));
  EXPECT_TRUE(twins_->patch(kSensor, "3", R"({"a":{"new":2}})"));
  uplink_.reported = {R"({"a":{"old":1},"theirs":2})", 9};  // somebody else wrote meanwhile
  twins_->on_link(true);
  EXPECT_TRUE(run_until(context_, [&] { return uplink_.reported.revision == 10; }));
  EXPECT_EQ(upstream(), json::parse(R"({"a":{"new":2},"theirs":2})")) << uplink_.reported.json;
}

}  // namespace
}  // namespace decklog::hub::test
