#include <array>
#include <sstream>

#include "events/event.hpp"

namespace decklog {
namespace {

using enum EventKind;

constexpr std::array<FactInfo, kFactTypes> kCatalogue{{
    {"unknown", "", kNote, false, "a type newer than the reader"},
    {"service.started.v1", "ServiceStarted", kInput, true, "a run of the service began"},
    {"service.stopped.v1", "ServiceStopped", kInput, true, "a run ended in order"},
    {"clock.stepped.v1", "ClockStepped", kInput, true, "the wall clock jumped against the monotonic one"},
    {"store.observed.v1", "StoreObserved", kInput, true,
     "a store refused (disk full, I/O error) or works again"},
    {"log.gap.v1", "GapRecorded", kNote, true,
     "a range of the log is lost, damaged, redacted, compacted or was never written"},
    {"log.head.v1", "HeadSigned", kNote, true, "signed Merkle tree head over the log before it"},
    {"log.snapshot.v1", "SnapshotTaken", kNote, true, "folded state up to a sequence was stored"},
    {"messages.dropped.v1", "MessagesDropped", kNote, true,
     "accepted messages that will not be delivered, and why"},
    {"remark.v1", "Remarked", kNote, true, "something worth finding that no machine decides on"},
    {"module.observed.v1", "ModuleObserved", kInput, false, "what the runtime says of one module"},
    {"module.listed.v1", "ModulesListed", kInput, false, "a whole listing of one runtime"},
    {"engine.observed.v1", "EngineObserved", kInput, true, "the container engine went away or came back"},
    {"work.finished.v1", "WorkFinished", kInput, true, "a pull, create, start, stop or remove ended"},
    {"pull.progressed.v1", "PullProgressed", kInput, false, "bytes of an image pulled so far"},
    {"probe.finished.v1", "ProbeFinished", kInput, false, "one health probe run"},
    {"module.transitioned.v1", "ModuleTransitioned", kDecision, true, "ModuleLifecycle took a step"},
    {"desired.received.v1", "DesiredReceived", kInput, true, "a desired document arrived (redacted)"},
    {"operator.commanded.v1", "OperatorCommanded", kInput, true,
     "an operator or the fleet asked for something"},
    {"timer.fired.v1", "TimerFired", kInput, false, "a timer the core armed fired"},
    {"report.acknowledged.v1", "ReportAcknowledged", kInput, true,
     "the fleet holds the reported document up to a sequence"},
    {"deployment.transitioned.v1", "DeploymentTransitioned", kDecision, true,
     "Deployment took a step; carries the plan"},
    {"input.rejected.v1", "InputRejected", kDecision, true, "an input was refused; nothing changed"},
    {"link.observed.v1", "LinkObserved", kInput, false, "what the uplink saw of its connection"},
    {"client.observed.v1", "ClientObserved", kInput, false, "what the broker saw of one client"},
    {"uplink.transitioned.v1", "UplinkTransitioned", kDecision, true, "Uplink took a step"},
    {"client.transitioned.v1", "ClientTransitioned", kDecision, true, "ClientSession took a step"},
}};

const char* kind_text(EventKind kind) {
  switch (kind) {
    case kInput:
      return "input";
    case kDecision:
      return "decision";
    case kNote:
      return "note";
  }
  return "?";
}

}  // namespace

const FactInfo& fact_info(std::size_t type) {
  return kCatalogue[type < kFactTypes ? type : 0];
}

std::string catalogue_markdown() {
  std::ostringstream out;
  out << "| no. | type | kind | kept | meaning |\n|---|---|---|---|---|\n";
  for (std::size_t i = 1; i < kFactTypes; ++i) {
    const FactInfo& entry = kCatalogue[i];
    out << "| " << i << " | `" << entry.name << "` | " << kind_text(entry.kind) << " | "
        << (entry.lifecycle ? "longest" : "shorter") << " | " << entry.meaning << " |\n";
  }
  return out.str();
}

}  // namespace decklog
