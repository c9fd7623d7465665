// Everything the hub owns, in the order it is built; taken down in reverse. Private to services/hub.
#pragma once

#include "observability/histogram.hpp"
#include "persistence/identity_store.hpp"
#include "persistence/message_store.hpp"
#include "persistence/session_store.hpp"
#include "persistence/tally_store.hpp"
#include "persistence/twin_store.hpp"
#include "services/broker/broker.hpp"
#include "services/broker/durable_session_store.hpp"
#include "services/hub/forwarder.hpp"
#include "services/hub/head.hpp"
#include "services/hub/hub.hpp"
#include "services/hub/link.hpp"
#include "services/hub/loss_log.hpp"
#include "services/loop/timers.hpp"
#include "services/workload/device_keys.hpp"
#include "services/workload/identities.hpp"

namespace decklog::hub {

// How often and how long the fleet was out of reach, since start.
struct LinkTally {
  bool up = false;
  MonoTime lost_at;  // {0}: up, or never up yet
  std::uint64_t losses = 0;
  observability::Seconds offline;

  void change(bool now_up, MonoTime now);
};

struct Hub::Parts {
  explicit Parts(HubLog& log) : losses(log) {}

  std::unique_ptr<workload::DeviceKeys> keys;
  std::unique_ptr<uplink::Uplink> uplink;
  std::unique_ptr<loop::ServiceLoop> loop;
  std::unique_ptr<loop::Timers> timers;
  std::unique_ptr<HubLink> link;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);  // posted work looks at it
  std::unique_ptr<persistence::MessageStore> messages;
  std::unique_ptr<persistence::SessionStore> sessions;
  std::unique_ptr<persistence::TwinStore> twins;
  std::unique_ptr<persistence::IdentityStore> identities;
  std::unique_ptr<persistence::TallyStore> tries, told;
  std::unique_ptr<workload::LocalIdentities> modules;
  std::unique_ptr<broker::DurableSessionStore> session_store;
  std::unique_ptr<Forwarder> forwarder;
  std::unique_ptr<Head> head;
  std::shared_ptr<broker::TlsContext> tls;
  std::string certificate;          // PEM text in use
  std::string certificate_problem;  // said last
  std::unique_ptr<broker::Broker> broker;
  std::int32_t desired_code = 200;
  std::string desired_description;
  std::uint64_t desired_version = 0;
  LinkTally link_tally;
  LossLog losses;
};

}  // namespace decklog::hub
