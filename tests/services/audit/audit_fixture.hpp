// A recorded life to read on a desk: two modules, one that ends three times; honest, or changed by the test.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "events/codec.hpp"
#include "services/audit/bundle.hpp"
#include "tests/services/agent/agent_sim.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::audit {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

inline const char* const kDeployment =
    R"({"schemaVersion":"1.1","modules":{
        "steady":{"type":"docker","settings":{"image":"i:1"}},
        "crashy":{"type":"docker","restartPolicy":"always","settings":{"image":"i:2"}}}})";

class AuditTest : public testing::Test {
 protected:
  AuditTest() {
    // A life with something to decide: two modules, one that ends three times.
    sim_.deploy(kDeployment);
    sim_.pass(1min);
    for (int end = 0; end < 3; ++end) {
      sim_.end_run("crashy", 3, 0);
      sim_.pass(10min);
    }
    EXPECT_TRUE(sim_.broken.empty());
  }
  std::string path(const std::string& name) const { return directory_.path(name); }

  // The log as a bundle. `change` may alter an event; false leaves it out.
  std::string bundle(const std::string& name, const std::function<bool(Envelope&)>& change = {}) {
    BundleWriter writer(path(name), sim_.journal.epoch());
    persistence::Visitor visitor;
    visitor.event = [&](const Envelope& event) {
      Envelope copy = event;
      if (!change || change(copy))
        writer.event(copy.sequence, encode(copy));
      else
        writer.missing({GapKind::kDamaged, event.sequence, event.sequence, "by the test"});
      return true;
    };
    visitor.missing = [](const persistence::MissingRange&) { return true; };
    EXPECT_TRUE(sim_.journal.read(Sequence{1}, sim_.journal.durable_sequence(), visitor));
    for (Sequence at = sim_.journal.durable_sequence(); at;) {
      const auto stored = sim_.journal.latest_snapshot(persistence::kStateSnapshot, at);
      if (!stored) break;
      writer.snapshot(stored->through, stored->bytes);
      at = Sequence{stored->through.value - 1};
    }
    EXPECT_TRUE(writer.finish());
    return path(name);
  }
  std::string doctored(const std::string& name) {
    int waits = 0;
    return bundle(name, [&](Envelope& event) {
      auto* decision = std::get_if<ModuleTransitioned>(&event.fact);
      if (decision && decision->to == ModuleState::kBackingOff && ++waits == 2) {
        decision->life.backoff_wait_ns += 1'000'000'000;
        changed_ = event.sequence;
        cause_ = event.cause;
      }
      return true;
    });
  }
  static std::unique_ptr<BundleReader> open(const std::string& path) {
    auto reader = BundleReader::open(path);
    EXPECT_TRUE(reader) << describe(reader.error());
    return std::move(*reader);
  }

  agent::sim::AgentSim sim_;
  decklog::test::TempDir directory_;
  Sequence changed_, cause_;
};

}  // namespace decklog::audit
