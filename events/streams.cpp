#include "events/event.hpp"

namespace decklog {
namespace {

struct StreamChooser {
  StreamId operator()(const ModuleObserved& f) const { return StreamId::module(f.module); }
  StreamId operator()(const WorkFinished& f) const { return StreamId::module(f.module); }
  StreamId operator()(const PullProgressed& f) const { return StreamId::module(f.module); }
  StreamId operator()(const ProbeFinished& f) const { return StreamId::module(f.module); }
  StreamId operator()(const ModuleTransitioned& f) const { return StreamId::module(f.module); }
  StreamId operator()(const OperatorCommanded& f) const {
    return f.module.empty() ? StreamId::service() : StreamId::module(f.module);
  }
  StreamId operator()(const TimerFired& f) const {
    return f.key.starts_with("module/") ? StreamId{f.key}
           : f.key == "uplink"          ? StreamId::uplink()
                                        : StreamId::deployment();
  }
  StreamId operator()(const DesiredReceived&) const { return StreamId::deployment(); }
  StreamId operator()(const DeploymentTransitioned&) const { return StreamId::deployment(); }
  StreamId operator()(const ReportAcknowledged&) const { return StreamId::deployment(); }
  StreamId operator()(const LinkObserved&) const { return StreamId::uplink(); }
  StreamId operator()(const UplinkTransitioned&) const { return StreamId::uplink(); }
  StreamId operator()(const ClientObserved& f) const { return StreamId::client(f.client); }
  StreamId operator()(const ClientTransitioned& f) const { return StreamId::client(f.client); }
  StreamId operator()(const InputRejected& f) const {
    return f.machine == "ModuleLifecycle" ? StreamId::module(ModuleName(f.subject)) : StreamId::deployment();
  }
  template <class Other>
  StreamId operator()(const Other&) const {
    return StreamId::service();
  }
};

}  // namespace

StreamId stream_of(const Fact& fact) {
  return std::visit(StreamChooser{}, fact);
}

}  // namespace decklog
