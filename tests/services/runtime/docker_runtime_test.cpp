// What only containers have: registries, digests, HEALTHCHECK, OOM, networks, and an engine that goes away.
#include <gtest/gtest.h>

#include <cstdlib>

#include "services/runtime/engine_json.hpp"
#include "tests/services/runtime/docker_backend.hpp"
#include "tests/services/runtime/runtime_contract.hpp"
#include "tests/support/registry.hpp"

namespace decklog::runtime {
namespace {

using namespace std::chrono_literals;

constexpr const char* kLoop = "while :; do sleep 0.1; done";

class DockerRuntimeTest : public RuntimeContract<DockerBackend> {
 protected:
  Result<PullResult> pull(const ModuleSpec& spec) {
    return wait_for<PullResult>(io_, [&](auto done) {
      return runtime_->pull(
          spec, [this](const PullProgress& seen) { progress_.push_back(seen); }, done);
    });
  }
  ModuleSpec with_options(const std::string& name, const std::string& script, boost::json::object more) {
    ModuleSpec spec = backend_.spec(name, script);
    more["Cmd"] = {"/bin/sh", "-c", script};
    spec.create_options = boost::json::serialize(more);
    return spec;
  }

  std::vector<PullProgress> progress_;
};

class RegistryTest : public DockerRuntimeTest {
 protected:
  static constexpr const char* kPassword = "s3cret-of-the-registry";

  void SetUp() override {
    DockerRuntimeTest::SetUp();
    repository_ = registry_.address() + "/team/sensor";
    test_engine().import_busybox(repository_, "1", "one");
    digest_ = test_engine().push(repository_, "1", registry_auth(credential("anna", kPassword)));
    test_engine().remove_image(repository_ + ":1");
  }
  void TearDown() override {
    DockerRuntimeTest::TearDown();
    test_engine().remove_image(repository_ + ":1");
    test_engine().remove_image(repository_ + "@" + digest_);
  }
  RegistryCredential credential(const std::string& user, const std::string& password) const {
    return {registry_.address(), user, password};
  }
  ModuleSpec registry_spec(const std::string& name) const {
    ModuleSpec spec = backend_.spec(name, "cat /marker");
    spec.image = repository_ + ":1";
    spec.credential = credential("anna", kPassword);
    return spec;
  }

  fixture::Registry registry_{"anna", kPassword};
  std::string repository_;
  std::string digest_;
};

TEST_F(RegistryTest, PullsWithCredentialsAndRuns) {
  ModuleSpec spec = registry_spec("r-good");
  const auto pulled = pull(spec);
  ASSERT_TRUE(pulled) << describe(pulled.error());
  EXPECT_EQ(pulled->digest, digest_);
  EXPECT_TRUE(pulled->image_id.starts_with("sha256:"));
  EXPECT_GT(pulled->bytes, 0u);
  EXPECT_FALSE(progress_.empty());
  run_to_end(spec);
  const auto lines = logs(spec.name, {});
  ASSERT_TRUE(lines);
  ASSERT_EQ(lines->size(), 1u);
  EXPECT_EQ(lines->front().text, "one");
}

TEST_F(RegistryTest, RefusesWrongAndMissingCredentialsWithoutTellingThem) {
  ModuleSpec spec = registry_spec("r-wrong");
  spec.credential = credential("anna", "not-the-password");
  const auto wrong = pull(spec);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::kUnauthenticated) << describe(wrong.error());
  EXPECT_EQ(describe(wrong.error()).find("not-the-password"), std::string::npos);
  spec.credential.reset();
  const auto missing = pull(spec);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kUnauthenticated) << describe(missing.error());
}

TEST_F(RegistryTest, UnknownImageIsNotFound) {
  ModuleSpec spec = registry_spec("r-unknown");
  spec.image = repository_ + ":no-such-tag";
  const auto pulled = pull(spec);
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Errc::kNotFound) << describe(pulled.error());
}

TEST_F(RegistryTest, PinnedDigestIsPulledAndRun) {
  ModuleSpec spec = registry_spec("r-pinned");
  spec.digest = digest_;
  // The tag moves on; what is pinned stays.
  test_engine().import_busybox(repository_, "1", "two");
  (void)test_engine().push(repository_, "1", registry_auth(*spec.credential));
  test_engine().remove_image(repository_ + ":1");
  const auto pulled = pull(spec);
  ASSERT_TRUE(pulled) << describe(pulled.error());
  EXPECT_EQ(pulled->digest, digest_);
  run_to_end(spec);
  const auto lines = logs(spec.name, {});
  ASSERT_TRUE(lines);
  EXPECT_EQ(lines->at(0).text, "one");
  // Here already: no registry is needed for it any more.
  registry_.stop();
  EXPECT_TRUE(pull(spec).has_value());
}

TEST_F(RegistryTest, WrongDigestIsRefusedAndNotStarted) {
  ModuleSpec spec = registry_spec("r-digest");
  spec.digest = "sha256:" + std::string(64, '0');
  const auto pulled = pull(spec);
  ASSERT_FALSE(pulled);
  EXPECT_EQ(pulled.error().code, Errc::kCorrupt) << describe(pulled.error());
  // Also when somebody else has put the tag here.
  ModuleSpec plain = registry_spec("r-plain");
  ASSERT_TRUE(pull(plain));
  const auto created = create(spec);
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, Errc::kCorrupt) << describe(created.error());
  spec.pull_policy = PullPolicy::kNever;
  EXPECT_EQ(pull(spec).error().code, Errc::kCorrupt);
}

TEST_F(RegistryTest, NeverPullTakesOnlyWhatIsHere) {
  ModuleSpec spec = registry_spec("r-never");
  spec.pull_policy = PullPolicy::kNever;
  EXPECT_EQ(pull(spec).error().code, Errc::kNotFound);
  spec.image = kTestImage;
  EXPECT_TRUE(pull(spec).has_value());
}

TEST_F(RegistryTest, RegistryDownThenUp) {
  const ModuleSpec spec = registry_spec("r-down");
  registry_.stop();
  const auto down = pull(spec);
  ASSERT_FALSE(down);
  EXPECT_EQ(down.error().code, Errc::kUnavailable) << describe(down.error());
  EXPECT_EQ(down.error().where, "registry");
  registry_.start();
  const auto up = pull(spec);
  EXPECT_TRUE(up) << describe(up.error());
}

TEST_F(RegistryTest, HangingPullHoldsUpNothingAndIsCancelled) {
  const ModuleSpec spec = registry_spec("r-hang");
  registry_.pause();
  bool called = false;
  Handle handle = runtime_->pull(spec, {}, [&](Result<PullResult>) { called = true; });
  const ModuleSpec other = backend_.spec("r-other", kLoop);
  EXPECT_TRUE(create(other).has_value());
  EXPECT_TRUE(start(other.name).has_value());
  handle.reset();
  registry_.resume();
  const auto pulled = pull(spec);
  EXPECT_TRUE(pulled) << describe(pulled.error());
  EXPECT_FALSE(called);
}

TEST_F(DockerRuntimeTest, NoticesContainerRemovedBehindOurBack) {
  const ModuleSpec spec = backend_.spec("d-removed", kLoop);
  ASSERT_TRUE(create(spec));
  const auto started = start(spec.name);
  ASSERT_TRUE(started);
  test_engine().remove_container(started->runtime_id);
  EXPECT_TRUE(heard(spec.name, Presence::kAbsent));
  EXPECT_EQ(inspect(spec.name).error().code, Errc::kNotFound);
}

TEST_F(DockerRuntimeTest, ReportsOutOfMemory) {
  const ModuleSpec spec = with_options("d-oom", "dd if=/dev/zero of=/dev/null bs=256M count=4",
                                       {{"HostConfig", {{"Memory", 16 << 20}, {"MemorySwap", 16 << 20}}}});
  const Observation end = run_to_end(spec);
  EXPECT_TRUE(end.oom_killed);
  EXPECT_NE(end.exit_code, 0);
}

TEST_F(DockerRuntimeTest, ReportsHealthcheckTurningUnhealthyAndBack) {
  const ModuleSpec spec = with_options("d-health", "touch /tmp/ok; " + std::string(kLoop),
                                       {{"Healthcheck",
                                         {{"Test", {"CMD", "test", "-e", "/tmp/ok"}},
                                          {"Interval", 200'000'000},
                                          {"Timeout", 2'000'000'000},
                                          {"Retries", 2}}}});
  ASSERT_TRUE(create(spec));
  ASSERT_TRUE(start(spec.name));
  const auto turned = [&](Health health) {
    return run_until(io_, [&] { return !heard_.empty() && heard_.back().health == health; });
  };
  ASSERT_TRUE(turned(Health::kHealthy));
  ASSERT_TRUE(probe(spec.name, "rm /tmp/ok", 5s));
  ASSERT_TRUE(turned(Health::kUnhealthy));
  EXPECT_EQ(heard_.back().presence, Presence::kRunning);
  ASSERT_TRUE(probe(spec.name, "touch /tmp/ok", 5s));
  EXPECT_TRUE(turned(Health::kHealthy));
}

TEST_F(DockerRuntimeTest, ReadsTerminalLogs) {
  const ModuleSpec spec = with_options("d-tty", "echo one; echo two", {{"Tty", true}});
  run_to_end(spec);
  const auto lines = logs(spec.name, {});
  ASSERT_TRUE(lines) << describe(lines.error());
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_EQ(lines->at(0).text, "one");
  EXPECT_NE(lines->at(1).time.ns, 0);
}

TEST_F(DockerRuntimeTest, JoinsNetworkWithAliasHostsAndMounts) {
  ModuleSpec server = backend_.spec("d-server", "while :; do sleep 0.1; done");
  server.network = "decklog-test-" + std::to_string(::getpid());
  server.network_aliases = {"gateway.example"};
  server.extra_hosts = {"upstream.example:10.1.2.3"};
  server.mounts = {{"/usr/bin", "/from/host:here", true}};
  const auto created = create(server);
  ASSERT_TRUE(created) << describe(created.error());
  const auto started = start(server.name);
  ASSERT_TRUE(started) << describe(started.error());
  EXPECT_TRUE(probe(server.name,
                    "while read a b; do test \"$b\" = upstream.example && exit 0; done < /etc/hosts; exit 1",
                    5s));
  EXPECT_TRUE(probe(server.name, "test -e /from/host:here/busybox", 5s));
  const auto body = test_engine().call("GET", "/containers/" + started->runtime_id + "/json").body;
  EXPECT_NE(body.find("gateway.example"), std::string::npos);
  EXPECT_TRUE(remove(server.name));
  EXPECT_EQ(test_engine().call("DELETE", "/networks/" + server.network).status, 204u);
}

TEST_F(DockerRuntimeTest, TakesAnotherNameWhenTheNameIsSomebodyElses) {
  const auto foreign = test_engine().call("POST", "/containers/create?name=d-taken",
                                          std::string(R"({"Image":")") + kTestImage + R"("})");
  ASSERT_EQ(foreign.status, 201u) << foreign.body;
  const ModuleSpec spec = backend_.spec("d-taken", kLoop);
  const auto created = create(spec);
  EXPECT_TRUE(created) << describe(created.error());
  EXPECT_TRUE(start(spec.name).has_value());
  EXPECT_TRUE(remove(spec.name).has_value());
  EXPECT_EQ(test_engine().call("DELETE", "/containers/d-taken").status, 204u) << "not ours, so still there";
  const ModuleSpec system = backend_.spec("$edgeAgent", kLoop);
  EXPECT_TRUE(create(system).has_value()) << "a module name that is no container name";
}

TEST_F(DockerRuntimeTest, RefusesCreateOptionsThatMakeNoSense) {
  for (const char* options : {"{", "[]", "7", R"({"HostConfig":3})", R"({"Env":[1]})", R"({"Labels":[]})",
                              R"({"HostConfig":{"Mounts":{}}})"}) {
    ModuleSpec spec = backend_.spec("d-options", "exit 0");
    spec.create_options = options;
    spec.env["SECRET"] = "planted-secret";
    spec.mounts = {{"/usr", "/usr2", true}};
    const auto created = create(spec);
    ASSERT_FALSE(created) << options;
    EXPECT_EQ(created.error().code, Errc::kInvalidArgument) << options;
    EXPECT_EQ(describe(created.error()).find("planted-secret"), std::string::npos);
  }
}

// SIGKILL of a dockerd takes an engine that is ours alone.
class OwnEngineTest : public testing::Test {
 protected:
  OwnEngineTest() {
    if (!test_engine().owned())
      own_ = std::make_unique<fixture::DockerEngine>(fixture::DockerEngine::Which::kOwn);
    engine().import_busybox("decklog-test/busybox", "1");
    DockerOptions options = backend_.options;
    options.socket_path = engine().socket_path();
    options.owner += "-own";
    options.retry_max = 500ms;
    runtime_ = std::make_unique<DockerRuntime>(io_.get_executor(), options);
    runtime_->start({[this](const Observation& seen) { heard_.push_back(seen); },
                     [this](Status status) { engine_.push_back(status); }});
  }
  fixture::DockerEngine& engine() { return own_ ? *own_ : test_engine(); }
  bool engine_said(std::size_t count) {
    return run_until(
        io_, [&] { return engine_.size() >= count; }, 60s);
  }

  boost::asio::io_context io_{1};
  DockerBackend backend_;
  std::unique_ptr<fixture::DockerEngine> own_;
  std::unique_ptr<DockerRuntime> runtime_;
  std::vector<Observation> heard_;
  std::vector<Status> engine_;
};

TEST_F(OwnEngineTest, EngineKilledMidPullAndStartedAgain) {
  ASSERT_TRUE(engine_said(1));
  ASSERT_TRUE(engine_[0].has_value());
  const ModuleSpec module = backend_.spec("e-module", std::string("trap 'exit 0' TERM; ") + kLoop);
  ASSERT_TRUE(wait_for<Observation>(io_, [&](auto done) { runtime_->create(module, done); }));
  const auto started =
      wait_for<Observation>(io_, [&](auto done) { runtime_->start_module(module.name, done); });
  ASSERT_TRUE(started);

  fixture::Registry registry("anna", "password");
  ModuleSpec spec = backend_.spec("e-pull", kLoop);
  spec.image = registry.address() + "/team/late:1";
  spec.credential = RegistryCredential{registry.address(), "anna", "password"};
  engine().import_busybox(registry.address() + "/team/late", "1");
  (void)engine().push(registry.address() + "/team/late", "1", registry_auth(*spec.credential));
  engine().remove_image(spec.image);
  registry.pause();
  std::optional<Result<PullResult>> pulled;
  const Handle handle =
      runtime_->pull(spec, {}, [&](Result<PullResult> result) { pulled = std::move(result); });
  io_.restart();
  io_.run_for(200ms);
  ASSERT_FALSE(pulled.has_value()) << "the registry hangs, so the pull is under way";
  engine().kill();
  ASSERT_TRUE(run_until(io_, [&] { return pulled.has_value(); }));
  ASSERT_FALSE(*pulled);
  EXPECT_EQ(pulled->error().code, Errc::kUnavailable);
  EXPECT_EQ(pulled->error().where, "engine");
  ASSERT_TRUE(engine_said(2));
  EXPECT_FALSE(engine_[1].has_value());
  const auto refused = wait_for<Observation>(io_, [&](auto done) { runtime_->inspect(module.name, done); });
  EXPECT_EQ(refused.error().code, Errc::kUnavailable);

  registry.resume();
  engine().start();
  ASSERT_TRUE(engine_said(3));
  EXPECT_TRUE(engine_[2].has_value());
  EXPECT_EQ(engine_.size(), 3u) << "each change is told once";
  const auto again = wait_for<PullResult>(io_, [&](auto done) { return runtime_->pull(spec, {}, done); });
  EXPECT_TRUE(again) << describe(again.error());
  const auto seen = wait_for<Observation>(io_, [&](auto done) { runtime_->inspect(module.name, done); });
  ASSERT_TRUE(seen) << describe(seen.error());
  EXPECT_EQ(seen->spec_hash, module.spec_hash);
  // Events flow again.
  heard_.clear();
  ASSERT_TRUE(wait_for<void>(io_, [&](auto done) { runtime_->remove(module.name, done); }));
  EXPECT_TRUE(run_until(io_, [&] { return !heard_.empty() && heard_.back().presence == Presence::kAbsent; }));
}

}  // namespace
}  // namespace decklog::runtime
