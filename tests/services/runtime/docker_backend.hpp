// The docker runtime as the contract suite wants it: one engine for the whole test binary, modules from a
// busybox image.
#pragma once

#include <signal.h>

#include <boost/json.hpp>
#include <memory>
#include <string>

#include "services/runtime/docker_runtime.hpp"
#include "tests/support/docker_engine.hpp"

namespace decklog::runtime {

inline constexpr const char* kTestImage = "decklog-test/busybox:1";

// Started at the first use, ended with the binary.
inline fixture::DockerEngine& test_engine() {
  static const std::unique_ptr<fixture::DockerEngine> engine = [] {
    auto made = std::make_unique<fixture::DockerEngine>();
    made->import_busybox("decklog-test/busybox", "1");
    return made;
  }();
  return *engine;
}

struct DockerBackend {
  DockerBackend() {
    options.socket_path = test_engine().socket_path();
    // Its own owner label: an engine that others use too must not mix our modules with theirs.
    options.owner = "decklog-test-" + std::to_string(::getpid());
  }

  std::unique_ptr<ModuleRuntime> make(boost::asio::any_io_executor executor) const {
    return std::make_unique<DockerRuntime>(std::move(executor), options);
  }
  ModuleSpec spec(const std::string& name, const std::string& script) const {
    ModuleSpec spec;
    spec.name = ModuleName(name);
    spec.kind = RuntimeKind::kDocker;
    spec.spec_hash = "hash-of-" + name;
    spec.image = kTestImage;
    spec.create_options = boost::json::serialize(boost::json::object{{"Cmd", {"/bin/sh", "-c", script}}});
    return spec;
  }
  static void kill_module(const Observation& seen) {
    (void)test_engine().call("POST", "/containers/" + seen.runtime_id + "/kill?signal=KILL");
  }
  static void break_command(ModuleSpec& spec) { spec.create_options = R"({"Cmd":["/no/such/program"]})"; }

  DockerOptions options;
};

}  // namespace decklog::runtime
