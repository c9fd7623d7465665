// What only the NATS uplink can meet: servers that die, forget, refuse, or stop answering.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "services/uplink/jetstream.hpp"
#include "services/uplink/names.hpp"
#include "tests/services/uplink/rig.hpp"

namespace decklog::uplink {
namespace {

using testing::HasSubstr;
using testing::Not;

const TwinKey kAgent{"edge-1", "$edgeAgent"};

std::unique_ptr<Observer> observe(NatsOptions options) {
  auto io = std::make_unique<boost::asio::io_context>();
  auto uplink = make_nats_uplink(io->get_executor(), std::move(options));
  return std::make_unique<Observer>(std::move(io), std::move(uplink));
}

std::unique_ptr<fleet::Fleet> fleet_of(const NatsOptions& options) {
  auto opened = fleet::open_nats_fleet(options);
  EXPECT_TRUE(opened) << describe(opened.error());
  return opened ? std::move(*opened) : nullptr;
}

// The raw side door of these tests: deletes a stream.
Status delete_stream(const test::NatsServer& server, const std::string& name) {
  auto opened = NatsConnection::open(
      quick_options(server.url(), "test"),
      {[](LinkCause, const std::string&) {}, [](const std::string&, const std::string&) {}});
  NatsMessage message;
  message.subject = "$JS.API.STREAM.DELETE." + name;
  auto answer = opened.connection->request(message, std::chrono::seconds(5));
  if (!answer) return answer.error();
  return jetstream::check(*answer);
}

TEST(NatsUplink, KilledServerIsLostAndComesBackWithEverything) {
  test::NatsServer server;
  server.start();
  auto fleet = fleet_of(quick_options(server.url(), "operator"));
  ASSERT_TRUE(fleet->init({}));
  auto seen = observe(quick_options(server.url(), "edge-1"));
  seen->uplink->watch_desired(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  const auto put =
      seen->ask<std::uint64_t>([&](auto done) { seen->uplink->put_reported(kAgent, "{}", 0, done); });
  ASSERT_TRUE(put);
  server.kill();
  ASSERT_TRUE(seen->wait([&] { return !seen->connected(); }));
  EXPECT_EQ(seen->links.back().change, LinkChange::kLost);
  const LinkEvent down = seen->connect();
  EXPECT_EQ(down.change, LinkChange::kFailed);
  EXPECT_EQ(down.cause, LinkCause::kRefusedByHost) << down.detail;
  server.start();
  fleet = fleet_of(quick_options(server.url(), "operator"));
  ASSERT_TRUE(fleet->put_desired(kAgent, R"({"v":2})", std::nullopt));
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen->wait([&] { return !seen->desired.empty(); }));
  const auto reported = seen->ask<TwinValue>([&](auto done) { seen->uplink->get_reported(kAgent, done); });
  ASSERT_TRUE(reported);
  EXPECT_EQ(reported->revision, *put);
}

TEST(NatsUplink, UnknownHostIsADnsFailure) {
  auto seen = observe(quick_options("nats://no-such-host.invalid:4222", "edge-1"));
  const LinkEvent event = seen->connect();
  EXPECT_EQ(event.change, LinkChange::kFailed);
  EXPECT_EQ(event.cause, LinkCause::kDns) << event.detail;
}

TEST(NatsUplink, AServerThatStopsAnsweringFailsThePingNotTheExecutor) {
  test::NatsServer server;
  server.start();
  auto seen = observe(quick_options(server.url(), "edge-1"));
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  server.stop_responding();
  const auto begin = std::chrono::steady_clock::now();
  const auto ping =
      seen->ask<void>([&](auto done) { seen->uplink->ping(std::chrono::milliseconds(300), done); });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  server.respond_again();
  ASSERT_FALSE(ping);
  EXPECT_EQ(ping.error().code, Errc::kTimeout);
  EXPECT_TRUE(seen->ask<void>([&](auto done) { seen->uplink->ping(std::chrono::seconds(10), done); }));
}

TEST(NatsUplink, AServerThatStopsAnsweringBeforeTheGreetingTimesOut) {
  test::NatsServer server;
  server.start();
  server.stop_responding();
  NatsOptions options = quick_options(server.url(), "edge-1");
  options.connect_timeout = std::chrono::milliseconds(500);
  auto seen = observe(options);
  const LinkEvent event = seen->connect();
  server.respond_again();
  EXPECT_EQ(event.change, LinkChange::kFailed);
  EXPECT_EQ(event.cause, LinkCause::kTimeout) << event.detail;
}

TEST(NatsUplink, MissingStreamsAreSaidWithAHintAndFoundOnceMade) {
  test::NatsServer server;
  server.start();
  auto seen = observe(quick_options(server.url(), "edge-1"));
  seen->uplink->watch_desired(kAgent);
  seen->uplink->watch_identities("edge-1");
  seen->uplink->accept_cloud_messages("edge-1");
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen->wait([&] { return seen->watch_failures.size() >= 4; }));
  for (const auto& [what, reason] : seen->watch_failures) {
    EXPECT_EQ(reason.code, Errc::kNotFound) << what;
    EXPECT_THAT(reason.message, HasSubstr("decklog fleet init")) << what;
  }
  const auto read = seen->ask<TwinValue>([&](auto done) { seen->uplink->get_reported(kAgent, done); });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kNotFound);
  EXPECT_THAT(read.error().message, HasSubstr("decklog fleet init"));
  const auto sent = seen->ask<std::size_t>([&](auto done) { seen->uplink->publish({reading(1)}, done); });
  ASSERT_FALSE(sent);
  EXPECT_THAT(sent.error().message, HasSubstr("decklog fleet init"));
  const std::size_t said = seen->watch_failures.size();
  auto fleet = fleet_of(quick_options(server.url(), "operator"));
  ASSERT_TRUE(fleet->init({}));
  ASSERT_TRUE(fleet->put_desired(kAgent, R"({"v":1})", std::nullopt));
  EXPECT_TRUE(seen->wait([&] { return seen->desired.size() == 1; }))
      << "the watch is retried while connected";
  EXPECT_EQ(seen->watch_failures.size(), said) << "the same refusal is said once";
}

TEST(NatsUplink, InitIsIdempotentAndRespectsWhatIsThere) {
  test::NatsServer server;
  server.start();
  auto fleet = fleet_of(quick_options(server.url(), "operator"));
  const auto first = fleet->init({});
  ASSERT_TRUE(first) << describe(first.error());
  EXPECT_EQ(first->size(), 5u);
  for (const auto& step : *first) EXPECT_EQ(step.outcome, fleet::InitStep::Outcome::kCreated) << step.name;
  const auto second = fleet->init({});
  ASSERT_TRUE(second) << describe(second.error());
  for (const auto& step : *second) EXPECT_EQ(step.outcome, fleet::InitStep::Outcome::kExisted) << step.name;
  fleet::InitOptions three;
  three.replicas = 3;
  EXPECT_FALSE(fleet->init(three)) << "one server cannot keep three copies";
  three.replicas = 0;
  const auto none = fleet->init(three);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kInvalidArgument);
}

TEST(NatsUplink, RecreatedStreamIsANewCheckpoint) {
  test::NatsServer server;
  server.start();
  auto fleet = fleet_of(quick_options(server.url(), "operator"));
  ASSERT_TRUE(fleet->init({}));
  auto seen = observe(quick_options(server.url(), "edge-1"));
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  const auto checkpoint = [&] {
    return seen->ask<std::string>([&](auto done) { seen->uplink->checkpoint(done); });
  };
  ASSERT_TRUE(seen->ask<std::size_t>([&](auto done) { seen->uplink->publish({reading(1)}, done); }));
  const auto before = checkpoint();
  ASSERT_TRUE(before);
  ASSERT_TRUE(delete_stream(server, kTelemetryStream));
  const auto missing = checkpoint();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kNotFound);
  ASSERT_TRUE(fleet->init({}));
  const auto after = checkpoint();
  ASSERT_TRUE(after);
  EXPECT_NE(*before, *after);
  // The device still has its copy: it goes again, and is not taken for a repeat.
  ASSERT_TRUE(seen->ask<std::size_t>([&](auto done) { seen->uplink->publish({reading(1)}, done); }));
  EXPECT_EQ(stored(*fleet, "edge-1").size(), 1u);
}

TEST(NatsUplink, RecreatedBucketIsWatchedAgain) {
  test::NatsServer server;
  server.start();
  auto fleet = fleet_of(quick_options(server.url(), "operator"));
  ASSERT_TRUE(fleet->init({}));
  ASSERT_TRUE(fleet->put_desired(kAgent, R"({"v":1})", std::nullopt));
  ASSERT_TRUE(fleet->put_desired(kAgent, R"({"v":2})", std::nullopt));
  auto seen = observe(quick_options(server.url(), "edge-1"));
  seen->uplink->watch_desired(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 1; }));
  ASSERT_TRUE(delete_stream(server, kTwinsStream));
  ASSERT_TRUE(fleet->init({}));
  const auto revision = fleet->put_desired(kAgent, R"({"v":3})", std::nullopt);
  ASSERT_TRUE(revision);
  EXPECT_EQ(*revision, 1u);
  ASSERT_TRUE(seen->wait([&] { return seen->desired.size() == 2; }));
  EXPECT_EQ(seen->desired[1].second.json, R"({"v":3})");
  EXPECT_EQ(seen->desired[1].second.revision, 1u);
}

TEST(NatsUplink, WrongCredentialsAreRefusedAndNeverShown) {
  test::NatsServer server("authorization { users: [ { user: edge, password: \"right-one\" } ] }");
  server.start();
  NatsOptions options = quick_options(server.url(), "edge-1");
  options.user = "edge";
  options.password = "hunter2-planted";
  auto wrong = observe(options);
  const LinkEvent event = wrong->connect();
  EXPECT_EQ(event.change, LinkChange::kRefused);
  EXPECT_EQ(event.cause, LinkCause::kAuth) << event.detail;
  EXPECT_THAT(event.detail, Not(HasSubstr("hunter2")));
  const auto tool = fleet::open_nats_fleet(options);
  ASSERT_FALSE(tool);
  EXPECT_EQ(tool.error().code, Errc::kUnauthenticated);
  options.password = "right-one";
  EXPECT_EQ(observe(options)->connect().change, LinkChange::kConnected);
}

TEST(NatsUplink, TokenWorks) {
  test::NatsServer server("authorization { token: \"s3cret-token\" }");
  server.start();
  NatsOptions options = quick_options(server.url(), "edge-1");
  options.token = "other-token";
  EXPECT_EQ(observe(options)->connect().cause, LinkCause::kAuth);
  options.token = "s3cret-token";
  EXPECT_EQ(observe(options)->connect().change, LinkChange::kConnected);
}

TEST(NatsUplink, TlsIsVerifiedBothWays) {
  test::TempDir keys;
  test::make_tls_files(keys.path());
  const auto file = [&](const std::string& name) { return keys.path(name); };
  test::NatsServer server("tls { cert_file: \"" + file("server.pem") + "\", key_file: \"" +
                          file("server-key.pem") + "\", ca_file: \"" + file("ca.pem") + "\", verify: true }");
  server.start();
  NatsOptions options = quick_options(server.url(), "edge-1");
  options.tls_ca_file = file("ca.pem");
  options.tls_certificate_file = file("client.pem");
  options.tls_key_file = file("client-key.pem");
  EXPECT_EQ(observe(options)->connect().change, LinkChange::kConnected);
  NatsOptions stranger = options;
  stranger.tls_ca_file = file("other-ca.pem");
  const LinkEvent untrusted = observe(stranger)->connect();
  EXPECT_EQ(untrusted.change, LinkChange::kFailed);
  EXPECT_EQ(untrusted.cause, LinkCause::kTls) << untrusted.detail;
  NatsOptions other_name = options;
  other_name.tls_host_name = "elsewhere.example";
  EXPECT_EQ(observe(other_name)->connect().cause, LinkCause::kTls);
  NatsOptions anonymous = options;
  anonymous.tls_certificate_file.clear();
  anonymous.tls_key_file.clear();
  EXPECT_NE(observe(anonymous)->connect().change, LinkChange::kConnected);
  NatsOptions missing = options;
  missing.tls_ca_file = file("not-there.pem");
  EXPECT_NE(observe(missing)->connect().change, LinkChange::kConnected);
}

std::string users(const Permissions& permissions) {
  const auto list = [](const std::vector<std::string>& subjects) {
    std::string out;
    for (const auto& subject : subjects) out += "\"" + subject + "\",";
    return "[" + out + "]";
  };
  return "authorization { users: [ { user: operator, password: op },\n"
         "{ user: edge, password: ed, permissions: { publish: " +
         list(permissions.publish) + ", subscribe: " + list(permissions.subscribe) +
         ", allow_responses: true } } ] }";
}

TEST(NatsUplink, ADeviceNeedsItsOwnSubjectsAndGetsNoOthers) {
  test::NatsServer server(users(device_permissions("edge-1")));
  server.start();
  NatsOptions admin = quick_options(server.url(), "operator");
  admin.user = "operator";
  admin.password = "op";
  auto fleet = fleet_of(admin);
  ASSERT_TRUE(fleet->init({}));
  ASSERT_TRUE(fleet->put_desired(kAgent, R"({"v":1})", std::nullopt));
  ASSERT_TRUE(fleet->put_desired({"edge-2", "$edgeAgent"}, R"({"other":1})", std::nullopt));
  ASSERT_TRUE(fleet->put_identity({"edge-1", "sensor"}, "{\"id\":1}"));
  NatsOptions options = quick_options(server.url(), "edge-1");
  options.user = "edge";
  options.password = "ed";
  auto seen = observe(options);
  seen->uplink->watch_desired(kAgent);
  seen->uplink->watch_identities("edge-1");
  seen->uplink->accept_cloud_messages("edge-1");
  seen->uplink->accept_methods(kAgent);
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  EXPECT_TRUE(seen->wait([&] { return seen->desired.size() == 1 && seen->identities.size() == 1; }));
  CloudMessage cloud;
  cloud.device = "edge-1";
  cloud.body = "hello";
  ASSERT_TRUE(fleet->send(cloud));
  ASSERT_TRUE(seen->wait([&] { return seen->messages.size() == 1; }));
  seen->uplink->settle(seen->messages[0].delivery_tag, Settle::kAccept);
  EXPECT_TRUE(
      seen->ask<std::uint64_t>([&](auto done) { seen->uplink->put_reported(kAgent, "{}", 0, done); }));
  EXPECT_TRUE(seen->ask<std::size_t>([&](auto done) { seen->uplink->publish({reading(1)}, done); }));
  EXPECT_TRUE(seen->ask<std::size_t>([&](auto done) {
    seen->uplink->mirror({{1, 1, "agent", "{}"}}, done);
  }));
  EXPECT_TRUE(seen->ask<std::string>([&](auto done) { seen->uplink->checkpoint(done); }));
  std::optional<Result<MethodAnswer>> answer;
  std::atomic<bool> done = false;
  std::thread caller([&] {
    answer = fleet->call(kAgent, "ping", "null", std::chrono::seconds(5));
    done = true;
  });
  if (seen->wait([&] { return seen->calls.size() == 1; }))
    seen->uplink->answer_method(seen->calls[0].call_tag, {200, "1"});
  EXPECT_TRUE(seen->wait([&] { return done.load(); }));
  caller.join();
  EXPECT_TRUE(*answer) << describe(answer->error());
  EXPECT_TRUE(seen->watch_failures.empty()) << describe(seen->watch_failures[0].second);

  // Another device's things: every door is shut, quickly and by name.
  const TwinKey other{"edge-2", "$edgeAgent"};
  const auto read = seen->ask<TwinValue>([&](auto done) { seen->uplink->get_desired(other, done); });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::kPermissionDenied);
  const auto write =
      seen->ask<std::uint64_t>([&](auto done) { seen->uplink->put_reported(other, "{}", {}, done); });
  ASSERT_FALSE(write);
  EXPECT_EQ(write.error().code, Errc::kPermissionDenied);
  Telemetry forged = reading(2);
  forged.device = "edge-2";
  const auto sent = seen->ask<std::size_t>([&](auto done) { seen->uplink->publish({forged}, done); });
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kPermissionDenied);
  seen->uplink->watch_desired(other);
  seen->uplink->accept_methods(other);
  EXPECT_TRUE(seen->wait([&] { return seen->watch_failures.size() >= 2; }));
  for (const auto& [what, reason] : seen->watch_failures)
    EXPECT_EQ(reason.code, Errc::kPermissionDenied) << what;
  EXPECT_TRUE(seen->connected()) << "a refusal does not end the link";
  EXPECT_EQ(seen->desired.size(), 1u);
}

TEST(NatsUplink, CredentialsWithoutAnInboxAreRefusedForPermission) {
  Permissions nothing;
  nothing.publish = {"decklog.telemetry.edge-1.>"};
  nothing.subscribe = {"decklog.method.edge-1.>"};
  test::NatsServer server(users(nothing));
  server.start();
  NatsOptions options = quick_options(server.url(), "edge-1");
  options.user = "edge";
  options.password = "ed";
  const LinkEvent event = observe(options)->connect();
  EXPECT_EQ(event.change, LinkChange::kRefused);
  EXPECT_EQ(event.cause, LinkCause::kPermission) << event.detail;
}

TEST(NatsUplink, AMessageTooLargeStopsTheBatchInFrontOfIt) {
  test::NatsServer server;
  server.start();
  auto fleet = fleet_of(quick_options(server.url(), "operator"));
  ASSERT_TRUE(fleet->init({}));
  auto seen = observe(quick_options(server.url(), "edge-1"));
  ASSERT_EQ(seen->connect().change, LinkChange::kConnected);
  const auto publish = [&](std::vector<Telemetry> batch) {
    return seen->ask<std::size_t>([&](auto done) { seen->uplink->publish(std::move(batch), done); });
  };
  const Telemetry large = reading(2, std::string(3 * 1024 * 1024, 'x'));
  const auto first = publish({reading(1), large, reading(3)});
  ASSERT_TRUE(first) << describe(first.error());
  EXPECT_EQ(*first, 1u);
  const auto second = publish({large, reading(3)});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kTooLarge);
  const auto third = publish({reading(3)});
  ASSERT_TRUE(third) << describe(third.error());
  EXPECT_EQ(stored(*fleet, "edge-1").size(), 2u);
}

}  // namespace
}  // namespace decklog::uplink
