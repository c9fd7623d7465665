// Containers under the real agent: a dockerd of our own, a registry that demands credentials, and all that
// can go wrong with either.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "tests/e2e/agent_under_test.hpp"
#include "tests/support/docker_engine.hpp"
#include "tests/support/registry.hpp"

namespace decklog::e2e {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr const char* kPassword = "s3cret-of-the-registry";

// Base64 of {"username":...}: what an engine wants to hear on a push.
std::string registry_auth(const std::string& address) {
  const std::string text = json::serialize(
      json::object{{"username", "anna"}, {"password", kPassword}, {"serveraddress", address}});
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > text.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

// One engine and one registry for the whole binary; images 1 and 2 differ in /marker.
struct Yard {
  Yard() {
    for (const std::string tag : {"1", "2"}) {
      engine.import_busybox(repository, tag, tag);
      digest[tag] = engine.push(repository, tag, registry_auth(registry.address()));
    }
    forget();
  }
  void forget() {
    for (const std::string tag : {"1", "2"}) {
      engine.remove_image(repository + ":" + tag);
      engine.remove_image(repository + "@" + digest[tag]);
    }
  }

  fixture::DockerEngine engine{fixture::DockerEngine::Which::kOwn};
  fixture::Registry registry{"anna", kPassword};
  std::string repository = registry.address() + "/team/worker";
  std::map<std::string, std::string> digest;
};

Yard& yard() {
  static Yard made;
  return made;
}

class Docker : public testing::Test {
 protected:
  Docker()
      : agent_({.agent = "docker_socket = \"" + yard().engine.socket_path() + "\"\nlist_every = \"2s\"\n"}) {
    agent_.start();
  }
  ~Docker() override {
    yard().registry.resume();
    (void)agent_.apply(deployment(""));
    (void)eventually([&] {
      const auto list = agent_.ask("/v1/modules");
      return list.is_object() && list.at("modules").as_array().empty();
    });
    yard().forget();
  }

  std::string containers(const std::string& modules, const std::string& password = kPassword) const {
    return deployment(modules,
                      R"("runtime":{"type":"docker","settings":{"registryCredentials":{"yard":{"address":")" +
                          yard().registry.address() + R"(","username":"anna","password":")" + password +
                          R"("}}}})");
  }
  std::string container(const std::string& name, const std::string& tag, const std::string& script,
                        const std::string& more = {}, json::object options = {},
                        const std::string& settings = {}) const {
    options["Cmd"] = json::array{"/bin/sh", "-c", json::value(script)};
    // A shell as process 1 ignores SIGTERM: half a second of patience is enough.
    return "\"" + name + R"(":{"type":"docker","stopTimeoutSecs":0.5,)" + more + (more.empty() ? "" : ",") +
           R"("settings":{"image":")" + yard().repository + ":" + tag + R"(",)" + settings +
           R"("createOptions":)" + json::serialize(json::value(json::serialize(options))) + "}}";
  }
  std::string id(const std::string& name) const {
    const auto module = agent_.module(name);
    return module.empty() ? "" : module.at("runtimeId").as_string().c_str();
  }
  bool runs_anew(const std::string& name, const std::string& before) const {
    return eventually(
        [&] { return agent_.state(name) == "running" && id(name) != before && !id(name).empty(); });
  }
  bool description_has(const std::string& name, const std::string& text) const {
    return eventually([&] {
      const auto module = agent_.module(name);
      return !module.empty() &&
             std::string(module.at("description").as_string()).find(text) != std::string::npos;
    });
  }
  bool applied() const {
    return eventually([&] { return agent_.deployment_state() == "applied"; });
  }
  std::string marker(const std::string& name) const { return agent_.cli({"logs", name}).out; }

  AgentUnderTest agent_;
};

constexpr const char* kStay = "cat /marker; echo; exec sleep 100000";
constexpr const char* kQuick = R"("restart":{"backoffFirstSecs":0.5,"backoffCapSecs":1})";

TEST_F(Docker, DeploysFromARegistryWithCredentialsUpdatesAndRemoves) {
  ASSERT_EQ(agent_
                .apply(containers(
                    container("worker", "1", kStay, R"("env":{"A":{"value":"1"},"B":{"value":"2"}})")))
                .status,
            0);
  ASSERT_TRUE(agent_.becomes("worker", "running") && applied()) << agent_.describe();
  EXPECT_EQ(marker("worker").substr(0, 1), "1");
  const std::string first = id("worker");
  ASSERT_TRUE(eventually([&] {
    const auto reported = agent_.reported();
    return reported.is_object() && reported.at("modules").as_object().contains("worker") &&
           reported.at("modules").at("worker").at("runtimeStatus") == "running";
  }));
  EXPECT_TRUE(agent_.reported()
                  .at("modules")
                  .at("worker")
                  .at("settings")
                  .at("imageHash")
                  .as_string()
                  .starts_with("sha256:"));

  // In place: policy, version, order, and the order in which env is written.
  const std::string in_place =
      R"("restartPolicy":"never","version":"9","startupOrder":3,"env":{"B":{"value":"2"},"A":{"value":"1"}})";
  ASSERT_EQ(agent_.apply(containers(container("worker", "1", kStay, in_place))).status, 0);
  ASSERT_TRUE(eventually([&] { return agent_.module("worker").at("version") == "9"; }));
  ASSERT_TRUE(applied());
  EXPECT_EQ(id("worker"), first);

  // By re-creation, and the image is here before the old container is stopped.
  ASSERT_EQ(agent_.apply(containers(container("worker", "2", kStay, in_place))).status, 0);
  ASSERT_TRUE(runs_anew("worker", first) && applied()) << agent_.describe();
  EXPECT_EQ(marker("worker").substr(0, 1), "2");
  std::vector<std::string> works;
  for (const auto& event : agent_.history({"worker", "--type", "work.finished"}))
    works.emplace_back(event.at("data").at("work").as_string());
  EXPECT_EQ(works, (std::vector<std::string>{"pull", "create", "start", "pull", "stop", "remove", "create",
                                             "start"}));
  EXPECT_EQ(yard().engine.call("GET", "/containers/" + first + "/json").status, 404u);

  const std::string second = id("worker");
  ASSERT_EQ(agent_.apply(containers("")).status, 0);
  ASSERT_TRUE(agent_.becomes("worker", "")) << agent_.describe();
  EXPECT_EQ(yard().engine.call("GET", "/containers/" + second + "/json").status, 404u);
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  expect_sound_log(agent_);
  agent_.start();
}

TEST_F(Docker, TellsApartHowAModuleEnded) {
  const json::object small{{"HostConfig", {{"Memory", 16 << 20}, {"MemorySwap", 16 << 20}}}};
  const std::string never = R"("restartPolicy":"never")";
  const std::string again = std::string(R"("restartPolicy":"on-failure",)") + kQuick;
  ASSERT_EQ(agent_
                .apply(containers(container("coded", "1", "exit 3", never) + "," +
                                  container("clean", "1", "exit 0", again) + "," +
                                  container("shot", "1", "exec sleep 100000", never) + "," +
                                  container("greedy", "1", "exec tail /dev/zero", never, small) + "," +
                                  container("crashy", "1", "exit 4", again)))
                .status,
            0);
  EXPECT_TRUE(description_has("coded", "exit code 3")) << agent_.describe();
  EXPECT_TRUE(description_has("greedy", "out of memory")) << agent_.describe();
  ASSERT_TRUE(agent_.becomes("shot", "running")) << agent_.describe();
  ASSERT_EQ(yard().engine.call("POST", "/containers/" + id("shot") + "/kill?signal=KILL").status, 204u);
  EXPECT_TRUE(description_has("shot", "signal 9")) << agent_.describe();
  EXPECT_TRUE(eventually([&] { return agent_.module("crashy").at("restarts").to_number<int>() >= 2; }))
      << agent_.describe();
  EXPECT_TRUE(agent_.becomes("clean", "stopped")) << agent_.describe();
  EXPECT_EQ(agent_.module("clean").at("restarts"), 0) << "a clean end is no failure";
  EXPECT_EQ(agent_.module("coded").at("restarts"), 0);
}

TEST_F(Docker, AHealthcheckThatFailsMakesUnhealthyAndThePolicyDecides) {
  const json::object check{{"Healthcheck",
                            {{"Test", {"CMD-SHELL", "test ! -e /tmp/sick"}},
                             {"Interval", 500'000'000},
                             {"Timeout", 10'000'000'000},
                             {"Retries", 2}}}};
  const std::string script = "rm -f /tmp/sick; sleep 3; echo > /tmp/sick; exec sleep 100000";
  ASSERT_EQ(
      agent_
          .apply(containers(container("left", "1", script, R"("restartPolicy":"on-failure")", check) + "," +
                            container("healed", "1", script,
                                      std::string(R"("restartPolicy":"on-unhealthy",)") + kQuick, check)))
          .status,
      0);
  ASSERT_TRUE(agent_.becomes("left", "unhealthy")) << agent_.describe();
  ASSERT_TRUE(eventually([&] { return agent_.module("healed").at("restarts").to_number<int>() >= 1; }))
      << agent_.describe();
  ASSERT_TRUE(agent_.becomes("healed", "running")) << agent_.describe();
  EXPECT_EQ(agent_.state("left"), "unhealthy");
  EXPECT_EQ(agent_.module("left").at("restarts"), 0);
  const Outcome history = agent_.cli({"history", "healed", "--kind", "decision"});
  EXPECT_NE(history.out.find("its health probe failed past the threshold"), std::string::npos)
      << history.text();
  EXPECT_NE(history.out.find("running -> unhealthy"), std::string::npos) << history.text();
  ASSERT_TRUE(eventually([&] {
    const auto reported = agent_.reported();
    return reported.is_object() && reported.at("modules").at("left").at("runtimeStatus") == "unhealthy";
  }));
}

TEST_F(Docker, AnImageWithAnotherDigestIsNotStarted) {
  const auto pinned = [&](const std::string& digest) { return "\"digest\":\"" + digest + "\","; };
  const std::string wrong = "sha256:" + std::string(64, '0');
  ASSERT_EQ(agent_.apply(containers(container("worker", "1", kStay, {}, {}, pinned(wrong)))).status, 0);
  ASSERT_TRUE(eventually([&] {
    const std::string state = agent_.state("worker");
    return state == "image-rejected" || state == "backing-off";
  })) << agent_.describe();
  EXPECT_EQ(id("worker"), "");
  // Another image's digest under this tag: what is run is what is pinned, never what the tag says.
  ASSERT_EQ(
      agent_.apply(containers(container("worker", "1", kStay, {}, {}, pinned(yard().digest["2"])))).status,
      0);
  ASSERT_TRUE(agent_.becomes("worker", "running")) << agent_.describe();
  EXPECT_EQ(marker("worker").substr(0, 1), "2");
}

TEST_F(Docker, ARegistryThatIsAwayOrSaysNoIsTriedAgain) {
  yard().registry.stop();
  ASSERT_EQ(agent_.apply(containers(container("worker", "1", kStay, kQuick))).status, 0);
  ASSERT_TRUE(agent_.becomes("worker", "backing-off")) << agent_.describe();
  EXPECT_TRUE(description_has("worker", "try")) << agent_.describe();
  yard().registry.start();
  ASSERT_TRUE(agent_.becomes("worker", "running")) << agent_.describe();
  // Wrong credentials: said in words, without them; the container that runs stays until a new one can be had.
  const std::string before = id("worker");
  ASSERT_EQ(agent_.apply(containers(container("worker", "2", kStay, kQuick), "not-the-password")).status, 0);
  ASSERT_TRUE(description_has("worker", "auth") || description_has("worker", "credential"))
      << agent_.describe();
  EXPECT_EQ(id("worker"), before);
  EXPECT_EQ(json::serialize(agent_.ask("/v1/modules")).find("not-the-password"), std::string::npos);
  ASSERT_EQ(agent_.apply(containers(container("worker", "2", kStay, kQuick))).status, 0);
  ASSERT_TRUE(runs_anew("worker", before)) << agent_.describe();
}

TEST_F(Docker, AContainerRemovedBehindOurBackIsMadeAgain) {
  ASSERT_EQ(agent_
                .apply(containers(
                    container("worker", "1", kStay, std::string(R"("restartPolicy":"always",)") + kQuick)))
                .status,
            0);
  ASSERT_TRUE(agent_.becomes("worker", "running")) << agent_.describe();
  const std::string before = id("worker");
  yard().engine.remove_container(before);
  ASSERT_TRUE(runs_anew("worker", before)) << agent_.describe();
  // Also when nobody was there to see it.
  const std::string second = id("worker");
  agent_.kill();
  yard().engine.remove_container(second);
  agent_.start();
  ASSERT_TRUE(runs_anew("worker", second)) << agent_.describe();
}

TEST_F(Docker, ANewerDocumentEndsThePlanOfTheOneBefore) {
  ASSERT_EQ(agent_.apply(containers(container("kept", "1", kStay))).status, 0);
  ASSERT_TRUE(agent_.becomes("kept", "running")) << agent_.describe();
  const std::string kept = id("kept");
  yard().registry.pause();  // the next pull hangs
  ASSERT_EQ(
      agent_.apply(containers(container("kept", "2", kStay) + "," + container("late", "2", kStay))).status,
      0);
  ASSERT_TRUE(agent_.becomes("late", "downloading")) << agent_.describe();
  EXPECT_EQ(id("kept"), kept) << "what runs goes on while the next is pulled";
  ASSERT_EQ(agent_
                .apply(containers(container("kept", "1", kStay) + "," +
                                  process_module("other", "exec sleep 100000")))
                .status,
            0);
  ASSERT_TRUE(agent_.becomes("other", "running") && agent_.becomes("late", "") && applied())
      << agent_.describe();
  EXPECT_EQ(id("kept"), kept);
  yard().registry.resume();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  for (const auto& event : agent_.history({"late", "--type", "work.finished"}))
    EXPECT_NE(event.at("data").at("work"), "create") << "nothing of the older plan is done any more";
  expect_sound_log(agent_);
  agent_.start();
}

TEST_F(Docker, AnEngineThatDiesMidPullIsWaitedForAndProcessesAreSupervisedMeanwhile) {
  const std::string process =
      process_module("process", "exec sleep 100000", std::string(R"("restartPolicy":"always",)") + kQuick);
  const std::string running =
      container("running", "1", kStay, std::string(R"("restartPolicy":"always",)") + kQuick);
  ASSERT_EQ(agent_.apply(containers(running + "," + process)).status, 0);
  ASSERT_TRUE(agent_.becomes("running", "running") && agent_.becomes("process", "running"))
      << agent_.describe();
  yard().registry.pause();
  const std::string pulled = container("pulled", "2", kStay, kQuick);
  ASSERT_EQ(agent_.apply(containers(running + "," + process + "," + pulled)).status, 0);
  ASSERT_TRUE(agent_.becomes("pulled", "downloading")) << agent_.describe();
  yard().engine.kill();
  ASSERT_TRUE(eventually([&] {
    return agent_.cli({"history", "--type", "engine.observed"}).out.find("docker engine is gone") !=
           std::string::npos;
  })) << agent_.describe();
  const std::string before = id("process");
  ASSERT_EQ(::kill(std::stoi(before), SIGKILL), 0);
  ASSERT_TRUE(runs_anew("process", before)) << agent_.describe();
  yard().registry.resume();
  yard().engine.start();
  ASSERT_TRUE(agent_.becomes("pulled", "running")) << agent_.describe();
  ASSERT_TRUE(agent_.becomes("running", "running")) << agent_.describe();
  ASSERT_TRUE(applied()) << agent_.describe();
  EXPECT_EQ(agent_.stop(), 0) << agent_.log();
  expect_sound_log(agent_);
  agent_.start();
}

}  // namespace
}  // namespace decklog::e2e
