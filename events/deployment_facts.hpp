// Facts of the deployment (the desired document), of operator commands and of reporting.
// Enum numbers are stored for ever: append only. See module_facts.hpp for what fields() is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"

namespace decklog {

enum class DeploymentState : std::uint8_t {
  kNone = 1,  // no document was ever accepted
  kApplying = 2,
  kApplied = 3,  // every module as wanted, healthy for the minimum time
  kFailed = 4,   // deadline passed first
  kRollingBack = 5,
  kRolledBack = 6,  // the last good document is applied again; the bad one is not retried
};

enum class DeploymentReason : std::uint8_t {
  kNone = 0,
  kAccepted = 1,
  kUnchanged = 2,
  kRejected = 3,  // the document; the state before goes on
  kConverged = 4,
  kDiverged = 5,  // was applied; some module is no longer as wanted
  kDeadline = 6,
  kRollbackStarted = 7,
  kRollbackDone = 8,
  kKnownBad = 9,        // the same document failed before; not tried again until it changes
  kNoGoodVersion = 10,  // rollback asked for and nothing to go back to
  kRestored = 11,       // taken from the device's own store at start
};

// Codes of lastDesiredStatus: 200, 400, 406, 412, 417, 500.
struct DeploymentLife final {
  DeploymentState state = DeploymentState::kNone;
  std::uint64_t version = 0;       // of the document being applied or applied
  std::string hash;                // of that document, hex
  std::uint64_t good_version = 0;  // last one that converged; 0 = none
  std::string good_hash;
  std::string bad_hash;            // do not retry; empty = none
  std::uint64_t last_version = 0;  // of the newest document seen, accepted or not
  std::int32_t last_code = 406;
  std::string last_message;
  bool rollback_on_failure = false;
  std::int64_t min_healthy_ns = 0;
  std::int64_t deadline_ns = 0;  // how long applying may take; 0 = for ever
  std::int64_t healthy_since_mono_ns = 0;
  std::int64_t deadline_mono_ns = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "state", self.state);
    visit(1, "version", self.version);
    visit(2, "hash", self.hash);
    visit(3, "good_version", self.good_version);
    visit(4, "good_hash", self.good_hash);
    visit(5, "bad_hash", self.bad_hash);
    visit(6, "last_version", self.last_version);
    visit(7, "last_code", self.last_code);
    visit(8, "last_message", self.last_message);
    visit(9, "rollback_on_failure", self.rollback_on_failure);
    visit(10, "min_healthy_ns", self.min_healthy_ns);
    visit(11, "deadline_ns", self.deadline_ns);
    visit(12, "healthy_since_mono_ns", self.healthy_since_mono_ns);
    visit(13, "deadline_mono_ns", self.deadline_mono_ns);
  }
  friend bool operator==(const DeploymentLife&, const DeploymentLife&) = default;
};

// ---- inputs
// ----------------------------------------------------------------------------------------------------

// A desired document arrived. The log holds its redacted form (secrets are keyed digests: equal stays equal).
struct DesiredReceived final {
  std::string source;  // "uplink", "operator", "store"
  std::uint64_t version = 0;
  std::string document;  // redacted JSON; empty when it is not JSON at all (see problem)
  std::string hash;      // keyed digest of the whole document as received
  std::uint64_t size = 0;
  std::int32_t problem_code = 0;  // 400 when the bytes are not JSON or are too large; 0 = none
  std::string problem;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "source", self.source);
    visit(1, "version", self.version);
    visit(2, "document", self.document);
    visit(3, "hash", self.hash);
    visit(4, "size", self.size);
    visit(5, "problem_code", self.problem_code);
    visit(6, "problem", self.problem);
  }
  friend bool operator==(const DesiredReceived&, const DesiredReceived&) = default;
};

// An operator (or a direct method of the fleet) asked for something. Who: envelope actor.
struct OperatorCommanded final {
  std::string command;  // "restart", "stop", "start"
  ModuleName module;
  std::string request_id;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "command", self.command);
    visit(1, "module", self.module);
    visit(2, "request_id", self.request_id);
  }
  friend bool operator==(const OperatorCommanded&, const OperatorCommanded&) = default;
};

// A timer that the core armed fired. Key: "backoff/<module>", "deployment", "uplink", "tick", ...
struct TimerFired final {
  std::string key;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "key", self.key);
  }
  friend bool operator==(const TimerFired&, const TimerFired&) = default;
};

// The fleet holds the reported document made from all events up to `through`.
struct ReportAcknowledged final {
  std::uint64_t through = 0;   // journal sequence
  std::uint64_t revision = 0;  // upstream revision after it
  std::string digest;          // of the document, hex
  std::uint16_t code = 0;      // Errc; 0 = accepted
  std::string message;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "through", self.through);
    visit(1, "revision", self.revision);
    visit(2, "digest", self.digest);
    visit(3, "code", self.code);
    visit(4, "message", self.message);
  }
  friend bool operator==(const ReportAcknowledged&, const ReportAcknowledged&) = default;
};

// ---- decisions
// -------------------------------------------------------------------------------------------------

struct DeploymentTransitioned final {
  DeploymentState from = DeploymentState::kNone;
  DeploymentState to = DeploymentState::kNone;
  std::string trigger;
  DeploymentReason reason = DeploymentReason::kNone;
  std::vector<std::string> plan;  // one line a step, in words: "create sensor: not there"
  DeploymentLife life;
  std::uint32_t effects = 0;  // statemachines::DeploymentEffect bits

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "from", self.from);
    visit(1, "to", self.to);
    visit(2, "trigger", self.trigger);
    visit(3, "reason", self.reason);
    visit(4, "plan", self.plan);
    visit(5, "life", self.life);
    visit(6, "effects", self.effects);
  }
  friend bool operator==(const DeploymentTransitioned&, const DeploymentTransitioned&) = default;
};

// A machine refused an input: kept for the audit, counted, nothing changed.
struct InputRejected final {
  std::string machine;  // "ModuleLifecycle", "Deployment", "Uplink", "ClientSession", or "document",
                        // "config", "route"
  std::string subject;  // module, client, document path
  std::string state;
  std::string input;
  std::string why;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "machine", self.machine);
    visit(1, "subject", self.subject);
    visit(2, "state", self.state);
    visit(3, "input", self.input);
    visit(4, "why", self.why);
  }
  friend bool operator==(const InputRejected&, const InputRejected&) = default;
};

}  // namespace decklog
