// What every ModuleRuntime has to do, as one typed suite. A backend type gives:
//   std::unique_ptr<ModuleRuntime> make(executor)      a new runtime over the same modules
//   ModuleSpec spec(name, script)                      a module that runs `sh -c script`
//   void kill_module(const Observation&)               SIGKILL its main process, behind the runtime's back
//   void break_command(ModuleSpec&)                    make it name a program that is not there
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/runtime/runtime.hpp"
#include "tests/services/runtime/waiting.hpp"

namespace decklog::runtime {

template <class Backend>
class RuntimeContract : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void TearDown() override {
    for (const auto& name : made_) (void)remove(name);
  }

  void open() {
    runtime_ = backend_.make(io_.get_executor());
    heard_.clear();
    engine_.clear();
    runtime_->start({[this](const Observation& seen) { heard_.push_back(seen); },
                     [this](Status status) { engine_.push_back(status); }});
    ASSERT_TRUE(run_until(io_, [&] { return !engine_.empty(); }));
    ASSERT_TRUE(engine_.front().has_value()) << describe(engine_.front().error());
  }

  Result<Observation> create(const ModuleSpec& spec) {
    made_.push_back(spec.name);
    return wait_for<Observation>(io_, [&](auto done) { runtime_->create(spec, done); });
  }
  Result<Observation> start(const ModuleName& name) {
    return wait_for<Observation>(io_, [&](auto done) { runtime_->start_module(name, done); });
  }
  Result<Observation> stop(const ModuleName& name, Duration timeout) {
    return wait_for<Observation>(io_, [&](auto done) { runtime_->stop_module(name, timeout, done); });
  }
  Result<Observation> inspect(const ModuleName& name) {
    return wait_for<Observation>(io_, [&](auto done) { runtime_->inspect(name, done); });
  }
  Status remove(const ModuleName& name) {
    return wait_for<void>(io_, [&](auto done) { runtime_->remove(name, done); });
  }
  Result<std::vector<Observation>> list() {
    return wait_for<std::vector<Observation>>(io_, [&](auto done) { runtime_->list(done); });
  }
  Result<std::vector<LogLine>> logs(const ModuleName& name, const LogOptions& options) {
    std::vector<LogLine> lines;
    const auto done = wait_for<void>(io_, [&](auto callback) {
      return runtime_->logs(
          name, options,
          [&lines](const LogLine& line) {
            lines.push_back(line);
            return true;
          },
          callback);
    });
    if (!done) return done.error();
    return lines;
  }
  Status probe(const ModuleName& name, const std::string& script, Duration timeout) {
    return wait_for<void>(io_, [&](auto done) {
      return runtime_->exec_probe(name, {{"sh", "-c", script}, timeout}, done);
    });
  }

  // Runs a module and waits until the listener heard of its end.
  Observation run_to_end(const ModuleSpec& spec) {
    const auto created = create(spec);
    EXPECT_TRUE(created) << describe(created.error());
    const auto started = start(spec.name);
    EXPECT_TRUE(started) << describe(started.error());
    return wait_for_end(spec.name);
  }
  Observation wait_for_end(const ModuleName& name) {
    Observation last;
    EXPECT_TRUE(run_until(io_, [&] {
      for (const auto& seen : heard_) {
        if (seen.name == name && seen.presence == Presence::kExited) last = seen;
      }
      return last.presence == Presence::kExited;
    }));
    return last;
  }
  bool heard(const ModuleName& name, Presence presence) {
    return run_until(io_, [&] {
      for (const auto& seen : heard_) {
        if (seen.name == name && seen.presence == presence) return true;
      }
      return false;
    });
  }

  boost::asio::io_context io_{1};
  Backend backend_;
  std::unique_ptr<ModuleRuntime> runtime_;
  std::vector<Observation> heard_;
  std::vector<Status> engine_;
  std::vector<ModuleName> made_;
};

TYPED_TEST_SUITE_P(RuntimeContract);

TYPED_TEST_P(RuntimeContract, CreateIsIdempotentBySpecHash) {
  ModuleSpec spec = this->backend_.spec("c-create", "exit 0");
  const auto first = this->create(spec);
  ASSERT_TRUE(first) << describe(first.error());
  EXPECT_EQ(first->presence, Presence::kCreated);
  EXPECT_EQ(first->spec_hash, spec.spec_hash);
  EXPECT_TRUE(this->create(spec).has_value());
  spec.spec_hash += "-other";
  const auto other = this->create(spec);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::kAlreadyExists);
}

TYPED_TEST_P(RuntimeContract, StartAndStopAreIdempotent) {
  const ModuleSpec spec = this->backend_.spec("c-life", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  const auto started = this->start(spec.name);
  ASSERT_TRUE(started) << describe(started.error());
  EXPECT_EQ(started->presence, Presence::kRunning);
  EXPECT_NE(started->started_at.ns, 0);
  const auto again = this->start(spec.name);
  ASSERT_TRUE(again) << describe(again.error());
  EXPECT_EQ(again->runtime_id, started->runtime_id);
  EXPECT_EQ(again->started_at, started->started_at);
  const auto stopped = this->stop(spec.name, std::chrono::seconds(10));
  ASSERT_TRUE(stopped) << describe(stopped.error());
  EXPECT_EQ(stopped->presence, Presence::kExited);
  EXPECT_TRUE(this->stop(spec.name, std::chrono::seconds(1)).has_value());
  EXPECT_TRUE(this->heard(spec.name, Presence::kExited));
}

TYPED_TEST_P(RuntimeContract, StartsAgainAfterItEnded) {
  const ModuleSpec spec = this->backend_.spec("c-again", "exit 5");
  EXPECT_EQ(this->run_to_end(spec).exit_code, 5);
  for (int round = 0; round < 3; ++round) {
    this->heard_.clear();
    ASSERT_TRUE(this->start(spec.name));
    EXPECT_EQ(this->wait_for_end(spec.name).exit_code, 5);
  }
}

TYPED_TEST_P(RuntimeContract, StopKillsWhatIgnoresTerm) {
  const ModuleSpec spec =
      this->backend_.spec("c-stubborn", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  ASSERT_TRUE(this->start(spec.name));
  // The trap has to be set before TERM comes.
  ASSERT_TRUE(run_until(this->io_, [&] {
    const auto lines = this->logs(spec.name, {});
    return lines && !lines->empty();
  }));
  const auto stopped = this->stop(spec.name, std::chrono::seconds(1));
  ASSERT_TRUE(stopped) << describe(stopped.error());
  EXPECT_EQ(stopped->presence, Presence::kExited);
  EXPECT_EQ(stopped->exit_code, 137);
  EXPECT_EQ(stopped->signal, 9);
}

TYPED_TEST_P(RuntimeContract, ReportsExitCode) {
  const Observation end = this->run_to_end(this->backend_.spec("c-exit", "exit 37"));
  EXPECT_EQ(end.exit_code, 37);
  EXPECT_EQ(end.signal, 0);
  EXPECT_FALSE(end.oom_killed);
  EXPECT_GE(end.finished_at.ns, end.started_at.ns);
  EXPECT_NE(end.started_at.ns, 0);
}

TYPED_TEST_P(RuntimeContract, ReportsCleanExit) {
  EXPECT_EQ(this->run_to_end(this->backend_.spec("c-clean", "exit 0")).exit_code, 0);
}

TYPED_TEST_P(RuntimeContract, NoticesKillBehindOurBack) {
  const ModuleSpec spec = this->backend_.spec("c-killed", "while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  const auto started = this->start(spec.name);
  ASSERT_TRUE(started);
  this->backend_.kill_module(*started);
  const Observation end = this->wait_for_end(spec.name);
  EXPECT_EQ(end.exit_code, 137);
  EXPECT_EQ(end.signal, 9);
}

TYPED_TEST_P(RuntimeContract, GivesEnvironment) {
  ModuleSpec spec = this->backend_.spec("c-env", "echo \"[$RATE][$WITH]\"");
  spec.env["RATE"] = "5";
  spec.env["WITH"] = "a=b; c \"d\" $e";
  this->run_to_end(spec);
  const auto lines = this->logs(spec.name, {});
  ASSERT_TRUE(lines) << describe(lines.error());
  ASSERT_EQ(lines->size(), 1u);
  EXPECT_EQ(lines->front().text, "[5][a=b; c \"d\" $e]");
}

TYPED_TEST_P(RuntimeContract, KeepsOutputWithTimesAndStreams) {
  const ModuleSpec spec =
      this->backend_.spec("c-logs", "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2");
  const Observation end = this->run_to_end(spec);
  const auto all = this->logs(spec.name, {});
  ASSERT_TRUE(all) << describe(all.error());
  ASSERT_EQ(all->size(), 6u);
  int errors = 0;
  for (const auto& line : *all) {
    EXPECT_GE(line.time.ns, end.started_at.ns - 1'000'000'000);
    errors += line.is_stderr ? 1 : 0;
    EXPECT_EQ(line.is_stderr, line.text == "bad");
  }
  EXPECT_EQ(errors, 1);
  const auto tail = this->logs(spec.name, {.tail = 2, .since = {}, .until = {}, .follow = false});
  ASSERT_TRUE(tail);
  EXPECT_EQ(tail->size(), 2u);
  const auto none = this->logs(
      spec.name,
      {.tail = {}, .since = WallTime{end.finished_at.ns + 3'600'000'000'000}, .until = {}, .follow = false});
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
}

TYPED_TEST_P(RuntimeContract, FollowsOutputUntilTheModuleEnds) {
  const ModuleSpec spec =
      this->backend_.spec("c-follow", "trap 'echo bye; exit 0' TERM; echo one; while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  ASSERT_TRUE(this->start(spec.name));
  std::vector<std::string> lines;
  std::optional<Status> done;
  const Handle handle = this->runtime_->logs(
      spec.name, {.tail = {}, .since = {}, .until = {}, .follow = true},
      [&](const LogLine& line) {
        lines.push_back(line.text);
        return true;
      },
      [&](Status status) { done = status; });
  ASSERT_TRUE(run_until(this->io_, [&] { return lines.size() == 1; }));
  EXPECT_FALSE(done.has_value());
  ASSERT_TRUE(this->stop(spec.name, std::chrono::seconds(10)));
  ASSERT_TRUE(run_until(this->io_, [&] { return done.has_value(); }));
  EXPECT_TRUE(done->has_value());
  EXPECT_EQ(lines.front(), "one");
  // TERM goes to the whole group: a shell may also report what it did to its child.
  EXPECT_NE(std::find(lines.begin(), lines.end(), "bye"), lines.end());
}

TYPED_TEST_P(RuntimeContract, SinkStopsTheLog) {
  const ModuleSpec spec = this->backend_.spec("c-sink", "for i in 1 2 3 4 5 6 7 8 9; do echo $i; done");
  this->run_to_end(spec);
  int seen = 0;
  const auto done = wait_for<void>(this->io_, [&](auto callback) {
    return this->runtime_->logs(
        spec.name, {}, [&](const LogLine&) { return ++seen < 3; }, callback);
  });
  EXPECT_TRUE(done) << describe(done.error());
  EXPECT_EQ(seen, 3);
}

TYPED_TEST_P(RuntimeContract, ListsWhatItMade) {
  const ModuleSpec a = this->backend_.spec("c-list-a", "while :; do sleep 0.1; done");
  const ModuleSpec b = this->backend_.spec("c-list-b", "exit 0");
  ASSERT_TRUE(this->create(a));
  ASSERT_TRUE(this->start(a.name));
  ASSERT_TRUE(this->create(b));
  const auto listed = this->list();
  ASSERT_TRUE(listed) << describe(listed.error());
  std::map<std::string, Presence> found;
  for (const auto& seen : *listed) found[seen.name.value] = seen.presence;
  EXPECT_EQ(found, (std::map<std::string, Presence>{{"c-list-a", Presence::kRunning},
                                                    {"c-list-b", Presence::kCreated}}));
}

TYPED_TEST_P(RuntimeContract, RemovesByForceAndTwice) {
  const ModuleSpec spec = this->backend_.spec("c-remove", "trap '' TERM; while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  ASSERT_TRUE(this->start(spec.name));
  const auto removed = this->remove(spec.name);
  ASSERT_TRUE(removed) << describe(removed.error());
  EXPECT_TRUE(this->heard(spec.name, Presence::kAbsent));
  const auto gone = this->inspect(spec.name);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::kNotFound);
  EXPECT_TRUE(this->remove(spec.name).has_value());
  EXPECT_TRUE(this->create(spec).has_value()) << "the name is free again";
}

TYPED_TEST_P(RuntimeContract, UnknownModuleIsNotFound) {
  const ModuleName name("c-nobody");
  EXPECT_EQ(this->inspect(name).error().code, Errc::kNotFound);
  EXPECT_EQ(this->start(name).error().code, Errc::kNotFound);
  EXPECT_EQ(this->stop(name, std::chrono::seconds(1)).error().code, Errc::kNotFound);
  EXPECT_EQ(this->logs(name, {}).error().code, Errc::kNotFound);
  EXPECT_EQ(this->probe(name, "exit 0", std::chrono::seconds(1)).error().code, Errc::kNotFound);
}

TYPED_TEST_P(RuntimeContract, RefusesHostileNames) {
  for (const char* name : {"", "..", ".", "../x", "a/b", "-rf", "a b", "a\nb"}) {
    ModuleSpec spec = this->backend_.spec("c-x", "exit 0");
    spec.name = ModuleName(name);
    const auto made =
        wait_for<Observation>(this->io_, [&](auto done) { this->runtime_->create(spec, done); });
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().code, Errc::kInvalidArgument);
    EXPECT_FALSE(this->remove(ModuleName(name)).has_value());
  }
}

TYPED_TEST_P(RuntimeContract, ReadoptsRunningModule) {
  const ModuleSpec spec = this->backend_.spec("c-adopt", "while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  const auto started = this->start(spec.name);
  ASSERT_TRUE(started);
  this->runtime_.reset();
  this->open();
  EXPECT_TRUE(this->heard(spec.name, Presence::kRunning)) << "told of what is there at the start";
  const auto seen = this->inspect(spec.name);
  ASSERT_TRUE(seen) << describe(seen.error());
  EXPECT_EQ(seen->runtime_id, started->runtime_id);
  EXPECT_EQ(seen->spec_hash, spec.spec_hash);
  this->backend_.kill_module(*seen);
  EXPECT_EQ(this->wait_for_end(spec.name).signal, 9);
}

TYPED_TEST_P(RuntimeContract, LearnsOfAnEndWhileItWasAway) {
  const ModuleSpec spec = this->backend_.spec("c-away", "trap 'exit 42' USR1; while :; do sleep 0.05; done");
  ASSERT_TRUE(this->create(spec));
  const auto started = this->start(spec.name);
  ASSERT_TRUE(started);
  this->runtime_.reset();
  this->backend_.kill_module(*started);
  this->open();
  EXPECT_EQ(this->wait_for_end(spec.name).exit_code, 137);
}

TYPED_TEST_P(RuntimeContract, ProbesInTheModulesContext) {
  ModuleSpec spec = this->backend_.spec("c-probe", "while :; do sleep 0.1; done");
  spec.env["TOKEN"] = "open";
  ASSERT_TRUE(this->create(spec));
  const auto before = this->probe(spec.name, "exit 0", std::chrono::seconds(5));
  EXPECT_EQ(before.error().code, Errc::kConflict) << "not running";
  ASSERT_TRUE(this->start(spec.name));
  const auto good = this->probe(spec.name, "test \"$TOKEN\" = open", std::chrono::seconds(5));
  EXPECT_TRUE(good) << describe(good.error());
  const auto bad = this->probe(spec.name, "exit 3", std::chrono::seconds(5));
  EXPECT_EQ(bad.error().code, Errc::kConflict);
  const auto slow = this->probe(spec.name, "sleep 30", std::chrono::milliseconds(300));
  EXPECT_EQ(slow.error().code, Errc::kTimeout);
  const auto missing = wait_for<void>(this->io_, [&](auto done) {
    return this->runtime_->exec_probe(spec.name, {{"/no/such/probe"}, std::chrono::seconds(5)}, done);
  });
  EXPECT_FALSE(missing.has_value());
  EXPECT_EQ(this->inspect(spec.name)->presence, Presence::kRunning) << "a probe never harms the module";
}

TYPED_TEST_P(RuntimeContract, ProgramThatCannotRunIsAnErrorNotAnExit) {
  ModuleSpec spec = this->backend_.spec("c-noexec", "exit 0");
  this->backend_.break_command(spec);
  ASSERT_TRUE(this->create(spec));
  const auto started = this->start(spec.name);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, Errc::kInvalidArgument) << describe(started.error());
  EXPECT_NE(started.error().message.find("o such file or directory"), std::string::npos)
      << started.error().message;
  EXPECT_NE(this->inspect(spec.name)->presence, Presence::kRunning);
}

TYPED_TEST_P(RuntimeContract, GivesAnAddressForProbes) {
  const ModuleSpec spec = this->backend_.spec("c-address", "while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  ASSERT_TRUE(this->start(spec.name));
  const auto address =
      wait_for<std::string>(this->io_, [&](auto done) { this->runtime_->address(spec.name, done); });
  ASSERT_TRUE(address) << describe(address.error());
  EXPECT_NE(address->find('.'), std::string::npos);
}

TYPED_TEST_P(RuntimeContract, DroppedHandlesAndRuntimesAreSilent) {
  const ModuleSpec spec = this->backend_.spec("c-silent", "while :; do sleep 0.1; done");
  ASSERT_TRUE(this->create(spec));
  ASSERT_TRUE(this->start(spec.name));
  bool called = false;
  {
    const Handle probe = this->runtime_->exec_probe(spec.name, {{"sleep", "30"}, std::chrono::seconds(30)},
                                                    [&](Status) { called = true; });
    const Handle pull = this->runtime_->pull(spec, {}, [&](Result<PullResult>) { called = true; });
    const Handle log = this->runtime_->logs(
        spec.name, {.tail = {}, .since = {}, .until = {}, .follow = true},
        [](const LogLine&) { return true; }, [&](Status) { called = true; });
  }
  this->runtime_->list([&](Result<std::vector<Observation>>) { called = true; });
  this->runtime_.reset();
  this->io_.restart();
  this->io_.run_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(called);
  this->open();
}

REGISTER_TYPED_TEST_SUITE_P(RuntimeContract, CreateIsIdempotentBySpecHash, StartAndStopAreIdempotent,
                            StartsAgainAfterItEnded, StopKillsWhatIgnoresTerm, ReportsExitCode,
                            ReportsCleanExit, NoticesKillBehindOurBack, GivesEnvironment,
                            KeepsOutputWithTimesAndStreams, FollowsOutputUntilTheModuleEnds, SinkStopsTheLog,
                            ListsWhatItMade, RemovesByForceAndTwice, UnknownModuleIsNotFound,
                            RefusesHostileNames, ReadoptsRunningModule, LearnsOfAnEndWhileItWasAway,
                            ProbesInTheModulesContext, ProgramThatCannotRunIsAnErrorNotAnExit,
                            GivesAnAddressForProbes, DroppedHandlesAndRuntimesAreSilent);

}  // namespace decklog::runtime
