// Who a connecting client is, and whether it proved that: IoT Hub identities (own modules' keys from the
// agent, others from the cache of upstream records, the fleet asked when those do not suffice) and local
// users. Private to services/hub. Thread: the executor's. A verdict comes at once when no question is needed,
// else within kLookupDeadline. Secrets are compared, never logged.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "persistence/identity_store.hpp"
#include "services/broker/policy.hpp"
#include "services/config/config.hpp"
#include "services/hub/head_remarks.hpp"
#include "services/hub/parts.hpp"
#include "services/iothub/credentials.hpp"
#include "services/workload/identities.hpp"

namespace decklog::hub {

// An identity as the fleet or the agent knows it.
struct IdentityFacts {
  enum class Proof { kNone, kKeys, kThumbprint, kAuthority };
  bool enabled = true;
  Proof proof = Proof::kNone;
  std::vector<std::string> keys;         // base64
  std::vector<std::string> thumbprints;  // upper-case hex
  friend bool operator==(const IdentityFacts&, const IdentityFacts&) = default;
};
// {"status":..,"authentication":{"type":..,"symmetricKey":{..},"x509Thumbprint":{..}}}
Result<IdentityFacts> parse_identity_facts(std::string_view json);

// What a client showed when it connected; kept to be looked at again when its identity changes.
struct ShownProof {
  std::optional<iothub::SasToken> token;
  broker::PeerCertificate certificate;
};

class Identities final {
 public:
  struct Parts {
    const config::Config& config;
    loop::Surroundings& surroundings;
    uplink::Uplink& uplink;
    Remarks& remarks;
    persistence::IdentityStore& store;
    const workload::LocalIdentities& modules;
    std::weak_ptr<void> alive;
  };
  struct Verdict {
    mqtt::ConnectCode code = mqtt::ConnectCode::kNotAuthorized;
    std::string identity, cause;
    std::optional<Identity> client;  // accepted as an IoT Hub identity
    ShownProof proof;
  };
  explicit Identities(Parts parts) : parts_(std::move(parts)) {}

  void check(const broker::ConnectInfo& info, std::function<void(Verdict)> done);
  // A token of this identity, with what is known here; for HTTP. Also asks nobody.
  Status check_token(const Identity& client, std::string_view token) const;
  // Whether what was shown is still good; the token's end is not looked at. Failure: "disabled" or
  // "re-keyed".
  Status recheck(const Identity& client, const ShownProof& proof) const;

  // An upstream record changed. True when it is about something that is or may be connected.
  void on_identity(const Identity& client, const std::string& json);
  void on_link(bool up);
  void tick();
  bool known(const Identity& client) const { return find(client).has_value(); }
  // Asks the fleet for its record again. `done`: whether there is one.
  void refresh(const Identity& client, std::function<void(bool)> done);
  // A local user must not sit on a client id that an identity will come with.
  bool is_reserved(std::string_view client_id) const;

 private:
  using Done = std::function<void(Verdict)>;
  struct Waiting {
    Identity client;
    ShownProof proof;
    Verdict otherwise;  // when the fleet cannot be asked after all
    Done done;
  };
  struct Lookup {
    MonoTime deadline;
    std::vector<Waiting> waiting;
  };

  void check_identity(const broker::ConnectInfo& info, Done done);
  void check_user(const broker::ConnectInfo& info, Done done) const;
  Verdict judge(const Identity& client, const ShownProof& proof) const;
  std::optional<IdentityFacts> find(const Identity& client) const;
  Status prove(const Identity& client, const IdentityFacts& facts, const ShownProof& proof,
               WallTime now) const;
  bool may_ask(const std::string& name, Duration every);
  void ask(const std::string& name, Waiting waiting);
  void answered(const std::string& name, const Result<std::string>& record);
  void keep(const std::string& name, const std::string& json);

  Parts parts_;
  bool link_up_ = false;
  std::map<std::string, Lookup> lookups_;
  std::map<std::string, MonoTime> asked_;
};

}  // namespace decklog::hub
