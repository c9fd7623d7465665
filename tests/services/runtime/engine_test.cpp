// An engine that answers nonsense, half, too much, or nothing; and the pure readers of what it says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>
#include <filesystem>

#include "services/runtime/docker_runtime.hpp"
#include "services/runtime/engine_client.hpp"
#include "services/runtime/engine_json.hpp"
#include "services/runtime/log_frames.hpp"
#include "tests/services/runtime/waiting.hpp"

namespace decklog::runtime {
namespace {

using namespace std::chrono_literals;
using boost::asio::local::stream_protocol;

std::string answer(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Answers each request by its target; an empty text = no answer at all.
class FakeEngine final {
 public:
  using Script = std::function<std::string(const std::string& target)>;

  FakeEngine(boost::asio::io_context& io, Script script) : acceptor_(io), script_(std::move(script)) {
    char name[] = "/tmp/decklog-fake-XXXXXX";
    root_ = ::mkdtemp(name);
    acceptor_.open();
    acceptor_.bind(stream_protocol::endpoint(path()));
    acceptor_.listen();
    accept();
  }
  ~FakeEngine() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  std::string path() const { return root_ + "/engine.sock"; }
  void set(Script script) { script_ = std::move(script); }
  int requests() const { return requests_; }

 private:
  struct Peer {
    explicit Peer(stream_protocol::socket connected) : socket(std::move(connected)) {}
    stream_protocol::socket socket;
    std::string request;
    std::string reply;
  };
  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& failed, stream_protocol::socket socket) {
      if (failed) return;
      serve(std::make_shared<Peer>(std::move(socket)));
      accept();
    });
  }
  void serve(const std::shared_ptr<Peer>& peer) {
    boost::asio::async_read_until(
        peer->socket, boost::asio::dynamic_buffer(peer->request), "\r\n\r\n",
        [this, peer](const boost::system::error_code& failed, std::size_t) {
          if (failed) return;
          ++requests_;
          const auto from = peer->request.find(' ') + 1;
          peer->reply = script_(peer->request.substr(from, peer->request.find(' ', from) - from));
          if (peer->reply.empty()) return silent_.push_back(peer);
          boost::asio::async_write(peer->socket, boost::asio::buffer(peer->reply),
                                   [peer](auto, std::size_t) {});
        });
  }

  stream_protocol::acceptor acceptor_;
  Script script_;
  std::string root_;
  int requests_ = 0;
  std::vector<std::shared_ptr<Peer>> silent_;
};

const std::string kVersion = answer(R"({"ApiVersion":"1.41","MinAPIVersion":"1.12"})");

class EngineFaults : public testing::Test {
 protected:
  void open(FakeEngine& engine) {
    DockerOptions options;
    options.socket_path = engine.path();
    options.call_deadline = options.check_deadline = 300ms;
    options.retry_min = 20ms;
    options.retry_max = 100ms;
    runtime_ = std::make_unique<DockerRuntime>(io_.get_executor(), options);
    runtime_->start({[](const Observation&) {}, [this](Status status) { said_.push_back(status); }});
    ASSERT_TRUE(run_until(io_, [&] { return !said_.empty(); }));
  }
  Result<std::vector<Observation>> list() {
    return wait_for<std::vector<Observation>>(io_, [&](auto done) { runtime_->list(done); });
  }

  boost::asio::io_context io_{1};
  std::unique_ptr<DockerRuntime> runtime_;
  std::vector<Status> said_;
};

TEST_F(EngineFaults, NonsenseOfEveryKindIsAClearErrorAndPasses) {
  const std::string huge(kEngineBodyLimitBytes + 1, 'x');
  const std::map<std::string, std::string> nonsense{
      {"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
      {"silence", ""},
      {"cut short", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ApiVersion\""},
      {"cut in the head", "HTTP/1.1 20"},
      {"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
      {"not JSON", answer("<html>")},
      {"other JSON", answer("[1,2]")},
      {"too much", answer(huge)},
      {"head too large", "HTTP/1.1 200 OK\r\nX: " + std::string(kEngineHeadLimitBytes + 1, 'y') + "\r\n\r\n"},
      {"error", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"}};
  for (const auto& [name, text] : nonsense) {
    said_.clear();
    FakeEngine engine(io_, [&](const std::string&) { return text; });
    open(engine);
    ASSERT_FALSE(said_[0].has_value()) << name;
    EXPECT_THAT(said_[0].error().code, testing::AnyOf(Errc::kUnavailable, Errc::kTimeout)) << name;
    EXPECT_EQ(said_[0].error().where, "engine") << name;
    const auto listed = list();
    EXPECT_FALSE(listed.has_value()) << name;
    // It comes to its senses by itself.
    engine.set([](const std::string& target) {
      if (target == "/version") return kVersion;
      return target.find("/events") != std::string::npos ? std::string() : answer("[]");
    });
    ASSERT_TRUE(run_until(io_, [&] { return said_.size() == 2; })) << name;
    EXPECT_TRUE(said_[1].has_value()) << name;
    runtime_.reset();
  }
}

TEST_F(EngineFaults, HalfSaneEngineIsNotAskedInATightCircle) {
  FakeEngine engine(io_, [](const std::string& target) {
    if (target == "/version") return kVersion;
    if (target.find("/events") != std::string::npos)
      return std::string("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{}x\n");
    if (target.find("/containers/json") != std::string::npos) {
      return answer(R"([{"Id":"abc","State":"running","Labels":{"io.decklog.module":"m"}}])");
    }
    return answer("garbage");
  });
  open(engine);
  EXPECT_TRUE(said_[0].has_value());
  const int before = engine.requests();
  io_.restart();
  io_.run_for(1s);
  EXPECT_LT(engine.requests() - before, 150);
  const auto seen = wait_for<Observation>(io_, [&](auto done) { runtime_->inspect(ModuleName("m"), done); });
  EXPECT_EQ(seen.error().code, Errc::kUnavailable);
}

TEST_F(EngineFaults, TooOldEngineIsUnsupported) {
  FakeEngine engine(io_, [](const std::string&) { return answer(R"({"ApiVersion":"1.39"})"); });
  open(engine);
  EXPECT_EQ(said_[0].error().code, Errc::kUnsupported);
}

TEST_F(EngineFaults, OneHangingCallHoldsUpNoOther) {
  FakeEngine engine(io_, [](const std::string& target) {
    if (target == "/version") return kVersion;
    const bool hangs =
        target.find("/events") != std::string::npos || target.find("/images/") != std::string::npos;
    return hangs ? std::string() : answer("[]");
  });
  open(engine);
  ModuleSpec spec;
  spec.name = ModuleName("m");
  spec.image = "x:1";
  bool pulled = false;
  const Handle handle = runtime_->pull(spec, {}, [&](Result<PullResult>) { pulled = true; });
  EXPECT_TRUE(list().has_value());
  EXPECT_FALSE(pulled);
}

TEST(EngineJson, MergesCreateOptions) {
  ModuleSpec spec;
  spec.name = ModuleName("sensor");
  spec.spec_hash = "h1";
  spec.image = "reg/sensor:1";
  spec.env = {{"A", "ours"}, {"B", "2"}};
  spec.mounts = {{"/host", "/in", true}};
  spec.network = "decklog";
  spec.network_aliases = {"sensor"};
  spec.extra_hosts = {"gateway:1.2.3.4"};
  spec.create_options =
      R"({"Env":["A=theirs","C=3"],"Labels":{"x":"y","io.decklog.owner":"thief"},"Unknown":{"kept":[1]},
          "HostConfig":{"Memory":7,"RestartPolicy":{"Name":"always"},"AutoRemove":true,"ExtraHosts":["a:1.1.1.1"]}})";
  const auto body = create_body(spec, "me", "sha256:1");
  ASSERT_TRUE(body) << describe(body.error());
  const auto made = boost::json::parse(*body);
  EXPECT_EQ(made.at("Image").as_string(), "sha256:1");
  EXPECT_EQ(made.at("Env"), boost::json::parse(R"(["C=3","A=ours","B=2"])"));
  EXPECT_EQ(made.at("Labels").at("x").as_string(), "y");
  EXPECT_EQ(made.at("Labels").at("io.decklog.owner").as_string(), "me");
  EXPECT_EQ(made.at("Labels").at(kSpecHashLabel).as_string(), "h1");
  EXPECT_EQ(made.at("Labels").at(kImageLabel).as_string(), "reg/sensor:1");
  EXPECT_EQ(made.at("Unknown"), boost::json::parse(R"({"kept":[1]})"));
  const auto& host = made.at("HostConfig");
  EXPECT_EQ(host.at("Memory").as_int64(), 7);
  EXPECT_EQ(host.at("RestartPolicy").at("Name").as_string(), "no");
  EXPECT_FALSE(host.at("AutoRemove").as_bool());
  EXPECT_EQ(host.at("ExtraHosts"), boost::json::parse(R"(["a:1.1.1.1","gateway:1.2.3.4"])"));
  EXPECT_EQ(host.at("NetworkMode").as_string(), "decklog");
  EXPECT_EQ(host.at("LogConfig").at("Type").as_string(), "json-file");
  EXPECT_EQ(host.at("Mounts").at(0).at("Source").as_string(), "/host");
  EXPECT_EQ(made.at("NetworkingConfig").at("EndpointsConfig").at("decklog").at("Aliases"),
            boost::json::parse(R"(["sensor"])"));
}

TEST(EngineJson, KeepsAChosenNetwork) {
  ModuleSpec spec;
  spec.network = "decklog";
  spec.extra_hosts = {"gateway:1.2.3.4"};
  spec.create_options = R"({"HostConfig":{"NetworkMode":"container:other"}})";
  const auto made = boost::json::parse(*create_body(spec, "me", "i"));
  EXPECT_EQ(made.at("HostConfig").at("NetworkMode").as_string(), "container:other");
  EXPECT_FALSE(made.at("HostConfig").as_object().contains("ExtraHosts"));
  EXPECT_FALSE(made.as_object().contains("NetworkingConfig"));
}

TEST(EngineJson, SplitsImageReferences) {
  const auto name = split_image("localhost:5000/a/b:1.0@sha256:aa");
  EXPECT_EQ(name.repository, "localhost:5000/a/b");
  EXPECT_EQ(name.tag, "1.0");
  EXPECT_EQ(name.digest, "sha256:aa");
  EXPECT_EQ(split_image("localhost:5000/a").tag, "");
  EXPECT_EQ(split_image("localhost:5000/a").repository, "localhost:5000/a");
}

TEST(EngineJson, ClassifiesPullErrorsAndHidesSecrets) {
  EXPECT_EQ(classify_pull_error("Get https://x/v2/: unauthorized: authentication required", "i").code,
            Errc::kUnauthenticated);
  EXPECT_EQ(classify_pull_error("manifest for x:1 not found: manifest unknown", "i").code, Errc::kNotFound);
  EXPECT_EQ(classify_pull_error("write /var/x: no space left on device", "i").code, Errc::kNoSpace);
  EXPECT_EQ(classify_pull_error("dial tcp 127.0.0.1:1: connect: connection refused", "i").where, "registry");
  ModuleSpec spec;
  spec.env["T"] = "planted";
  spec.credential = RegistryCredential{"r", "u", "planted-password"};
  EXPECT_EQ(redact("bad planted-password and planted", spec), "bad *** and ***");
}

TEST(EngineJson, MetersAPull) {
  PullMeter meter;
  EXPECT_TRUE(meter.feed(R"({"status":"Pulling fs layer","progressDetail":{},"id":"a"})"));
  EXPECT_TRUE(meter.feed(R"({"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"a"})"));
  EXPECT_TRUE(meter.feed(R"({"status":"Downloading","progressDetail":{"current":-5,"total":10},"id":"b"})"));
  EXPECT_EQ(meter.progress().bytes_done, 50u);
  EXPECT_EQ(meter.progress().bytes_total, 110u);
  EXPECT_TRUE(meter.feed(R"({"status":"Download complete","id":"a"})"));
  EXPECT_EQ(meter.progress().bytes_done, 100u);
  EXPECT_TRUE(meter.feed(R"({"errorDetail":{"message":"no"},"error":"no"})"));
  EXPECT_EQ(meter.error(), "no");
  EXPECT_FALSE(meter.feed("garbage"));
}

TEST(LogFrames, ReadsFramesAtEveryCut) {
  const auto frame = [](char stream, const std::string& text) {
    return std::string{stream, 0, 0, 0, 0, 0, 0, static_cast<char>(text.size())} + text;
  };
  const std::string bytes = frame(1, "2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:01Z t") +
                            frame(2, "2026-01-01T00:00:02Z bad\n") + frame(1, "wo\nrest");
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    LogFrames frames(LogFrames::Form::kFrames);
    std::vector<LogLine> lines;
    ASSERT_TRUE(frames.feed(std::string_view(bytes).substr(0, cut), lines));
    ASSERT_TRUE(frames.feed(std::string_view(bytes).substr(cut), lines));
    frames.finish(lines);
    ASSERT_EQ(lines.size(), 4u) << cut;
    EXPECT_EQ(lines[0].text, "one");
    EXPECT_TRUE(lines[1].is_stderr);
    EXPECT_EQ(lines[2].text, "two");
    EXPECT_EQ(lines[3].text, "rest");
  }
  LogFrames frames(LogFrames::Form::kFrames);
  std::vector<LogLine> lines;
  EXPECT_FALSE(frames.feed("not a frame at all", lines));
}

}  // namespace
}  // namespace decklog::runtime
