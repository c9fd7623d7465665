// One entry of a device's log. Names follow CloudEvents where there is one. Order is by sequence only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "events/deployment_facts.hpp"
#include "events/ids.hpp"
#include "events/instant.hpp"
#include "events/link_facts.hpp"
#include "events/module_facts.hpp"
#include "events/service_facts.hpp"

namespace decklog {

// An event type this build does not know; its bytes stay in the store. See Envelope::may_ignore.
struct UnknownFact final {
  std::uint8_t type = 0;
  template <class Self, class Visit>
  static void fields(Self& self, Visit&& visit) {
    visit(0, "type", self.type);
  }
  friend bool operator==(const UnknownFact&, const UnknownFact&) = default;
};

// The position in this list is the stored type number (0 = unknown). Append only.
using Fact =
    std::variant<UnknownFact, ServiceStarted, ServiceStopped, ClockStepped, StoreObserved, GapRecorded,
                 HeadSigned, SnapshotTaken, MessagesDropped, Remarked, ModuleObserved, ModulesListed,
                 EngineObserved, WorkFinished, PullProgressed, ProbeFinished, ModuleTransitioned,
                 DesiredReceived, OperatorCommanded, TimerFired, ReportAcknowledged, DeploymentTransitioned,
                 InputRejected, LinkObserved, ClientObserved, UplinkTransitioned, ClientTransitioned>;

enum class EventKind : std::uint8_t { kInput = 1, kDecision = 2, kNote = 3 };
enum class ClockState : std::uint8_t { kUnsynced = 1, kSynced = 2 };

// What the catalogue says of one type. Index = stored type number.
struct FactInfo {
  std::string_view name;    // "module.transitioned.v1"
  std::string_view schema;  // table name in event.fbs: "ModuleTransitioned"
  EventKind kind;
  bool lifecycle;            // kept longest when the byte budget is reached
  std::string_view meaning;  // one line for people
};
const FactInfo& fact_info(std::size_t type);
constexpr std::size_t kFactTypes = std::variant_size_v<Fact>;
inline const FactInfo& info(const Fact& fact) {
  return fact_info(fact.index());
}
// The catalogue as a Markdown table; events/README.md holds it, a test compares.
std::string catalogue_markdown();

struct Envelope {
  Sequence sequence;  // contiguous from 1 within one journal
  StreamId stream;
  Instant time;  // when the loop took the input that this event is or comes from
  BootId boot;
  ClockState clock = ClockState::kUnsynced;
  Sequence cause;            // the event that led here; none for inputs from outside
  std::uint64_t random = 0;  // inputs: the draw made for this input, so that replay draws the same
  Correlation correlation;
  Actor actor;
  std::string build;        // build id of the writer
  bool may_ignore = false;  // a reader that does not know the type may pass over it
  Fact fact;

  friend bool operator==(const Envelope&, const Envelope&) = default;
};

// CloudEvents 1.0 JSON with the extensions sequence, bootid, mono, clockstate, causationid, correlationid,
// actor. `source` = "/devices/<device>/<service>".
std::string to_cloud_event(const Envelope& event, std::string_view source);
// The fact's own fields as a JSON object; enums by name.
std::string fact_json(const Fact& fact);

// The stream an event about this fact belongs to.
StreamId stream_of(const Fact& fact);

// One field that differs between two facts, in words. `path` = "life.restart_count".
struct FieldDifference {
  std::string path, expected, got;
};
std::vector<FieldDifference> differences(const Fact& expected, const Fact& got);

// Names of stored enum values, lower case with dashes: "backing-off". Unknown numbers print as "#17".
std::string name_of(ModuleState);
std::string name_of(ModuleTarget);
std::string name_of(RestartPolicy);
std::string name_of(EndCause);
std::string name_of(PendingWork);
std::string name_of(ModuleReason);
std::string name_of(DeploymentState);
std::string name_of(DeploymentReason);
std::string name_of(UplinkState);
std::string name_of(ClientState);
std::string name_of(GapKind);
std::string name_of(EventKind);
std::string name_of(ClockState);

}  // namespace decklog
