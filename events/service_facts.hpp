// Facts of a service itself and of its log. See module_facts.hpp for what fields() is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"

namespace decklog {

// ---- inputs
// ----------------------------------------------------------------------------------------------------

// First event of every run of a service. Boot id, build and time are in the envelope.
struct ServiceStarted final {
  std::string service;  // "agent", "hub"
  std::string version;
  bool clean_shutdown = false;  // the run before ended with ServiceStopped
  std::string device;
  std::uint64_t epoch = 0;             // of this journal: changes when the journal was lost and begun anew
  std::vector<std::string> behaviour;  // behaviour flags this build decides by
  std::string settings;                // the core's settings as JSON: replay decides with the same ones

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "service", self.service);
    visit(1, "version", self.version);
    visit(2, "clean_shutdown", self.clean_shutdown);
    visit(3, "device", self.device);
    visit(4, "epoch", self.epoch);
    visit(5, "behaviour", self.behaviour);
    visit(6, "settings", self.settings);
  }
  friend bool operator==(const ServiceStarted&, const ServiceStarted&) = default;
};

struct ServiceStopped final {
  std::string reason;  // "SIGTERM", "operator", "device shutdown"

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "reason", self.reason);
  }
  friend bool operator==(const ServiceStopped&, const ServiceStopped&) = default;
};

// The wall clock jumped against the monotonic one.
struct ClockStepped final {
  std::int64_t step_ns = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "step_ns", self.step_ns);
  }
  friend bool operator==(const ClockStepped&, const ClockStepped&) = default;
};

// The store refused (disk full, I/O error) or recovered.
struct StoreObserved final {
  std::string store;       // "journal", "messages"
  std::uint16_t code = 0;  // Errc; 0 = works again
  std::string message;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "store", self.store);
    visit(1, "code", self.code);
    visit(2, "message", self.message);
  }
  friend bool operator==(const StoreObserved&, const StoreObserved&) = default;
};

// ---- notes: about the log
// ---------------------------------------------------------------------------------------

enum class GapKind : std::uint8_t { kLost = 1, kDamaged = 2, kRedacted = 3, kCompacted = 4, kNotWritten = 5 };

// Sequences first..last are not (all) in the log any more, and why. kNotWritten: `count` events happened
// while the store refused and got no sequence at all.
struct GapRecorded final {
  GapKind gap = GapKind::kLost;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint64_t count = 0;
  std::string reason;
  std::string kept_aside;  // path of the damaged tail, when there is one

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "gap", self.gap);
    visit(1, "first", self.first);
    visit(2, "last", self.last);
    visit(3, "count", self.count);
    visit(4, "reason", self.reason);
    visit(5, "kept_aside", self.kept_aside);
  }
  friend bool operator==(const GapRecorded&, const GapRecorded&) = default;
};

// RFC 6962 tree head over all leaves before this event, signed with the device's log key (Ed25519).
struct HeadSigned final {
  std::uint64_t tree_size = 0;
  std::string root;       // hex
  std::string signature;  // base64
  std::string key_id;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "tree_size", self.tree_size);
    visit(1, "root", self.root);
    visit(2, "signature", self.signature);
    visit(3, "key_id", self.key_id);
  }
  friend bool operator==(const HeadSigned&, const HeadSigned&) = default;
};

// State folded from all events up to and including `through` is in the snapshot store.
struct SnapshotTaken final {
  std::uint64_t through = 0;
  std::string digest;  // of the snapshot bytes, hex
  std::uint64_t size = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "through", self.through);
    visit(1, "digest", self.digest);
    visit(2, "size", self.size);
  }
  friend bool operator==(const SnapshotTaken&, const SnapshotTaken&) = default;
};

// Messages the hub accepted and will not deliver, and why. Every loss is an event.
struct MessagesDropped final {
  std::string route;
  std::string endpoint;
  std::string reason;  // "expired", "quota", "no-route", "refused-upstream", "endpoint-removed", ...
  std::uint64_t count = 0;
  std::uint64_t first = 0;  // message sequence range
  std::uint64_t last = 0;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "route", self.route);
    visit(1, "endpoint", self.endpoint);
    visit(2, "reason", self.reason);
    visit(3, "count", self.count);
    visit(4, "first", self.first);
    visit(5, "last", self.last);
  }
  friend bool operator==(const MessagesDropped&, const MessagesDropped&) = default;
};

// Something people should find in the history that no machine decides on: a route set compiled, a certificate
// renewed.
struct Remarked final {
  std::string topic;  // "routes", "certificate", "auth", "twin"
  std::string subject;
  std::string text;

  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "topic", self.topic);
    visit(1, "subject", self.subject);
    visit(2, "text", self.text);
  }
  friend bool operator==(const Remarked&, const Remarked&) = default;
};

}  // namespace decklog
