// The real hub as a device has it: a configuration, a process, a fleet in a directory, clients that know
// their keys. Everything is in a temporary directory and a network of its own; the destructor ends what was
// started. The conservation law is checked by conserved(), which every test ends with. Blocking; one thread.
#pragma once

#include <boost/json.hpp>
#include <memory>
#include <string>

#include "services/fleet/fleet.hpp"
#include "tests/services/hub/puppet.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/nats_server.hpp"
#include "tests/support/temp_dir.hpp"

namespace decklog::hub::test {

inline const std::string kHost = "hub.example.net";
inline const std::string kDeviceId = "edge-1";
inline const std::string kKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
inline const std::string kOtherKey = "HxAeHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";

struct HubSetup {
  std::string uplink = {};  // lines of [uplink]; default: the local one in folder()/fleet
  std::string hub = {};     // lines of [hub]
  std::string routes = R"("up":"FROM /messages/* INTO $upstream")";
  std::string wrapper = {};  // put in front of the hub's own data: a mounted file system's path
};

// Lines of [hub] in which PASSWORD_FILE stands for a file that holds the password; it is written into
// `directory`.
std::string with_password_file(std::string lines, const decklog::test::TempDir& directory,
                               const std::string& password);

class HubRig final {
 public:
  explicit HubRig(HubSetup setup = {});
  ~HubRig();
  HubRig(const HubRig&) = delete;
  HubRig& operator=(const HubRig&) = delete;

  void start();  // waits until it says its ports
  void kill();   // SIGKILL
  int stop();    // SIGTERM
  bool running() { return process_.running(); }
  pid_t pid() const { return process_.pid(); }
  void start_agent();

  std::string folder() const { return directory_.path().string(); }
  std::string config_file() const { return folder() + "/config.toml"; }
  std::string data_dir() const;
  std::string ca_file() const { return data_dir() + "/workload/edge-ca.pem"; }
  std::string log() const;  // what hub and agent printed

  fleet::Fleet& fleet() { return *fleet_; }
  void set_fleet(std::unique_ptr<fleet::Fleet> fleet) { fleet_ = std::move(fleet); }
  void put_routes(const std::string& routes);  // members of "routes"
  void routes_applied();                       // waits until the hub reports the newest as taken
  void enrol(const std::string& device, const std::string& module = {}, const std::string& key = kKey,
             const std::string& status = "enabled");
  void cut_uplink();
  void restore_uplink();
  // Telemetry in the fleet, oldest first.
  std::vector<fleet::TelemetryRecord> telemetry();
  std::vector<fleet::TelemetryRecord> wait_telemetry(std::size_t count);

  std::string connection_string(const std::string& device, const std::string& module = {},
                                const std::string& key = kKey) const;
  // Arguments of "open" for an SDK client.
  boost::json::object client(const std::string& device, const std::string& module = {},
                             const std::string& key = kKey) const;
  // Arguments of "mqtt" for a plain client that authenticates as that identity.
  boost::json::object plain_client(const std::string& device, const std::string& module = {},
                                   boost::json::object options = {}) const;

  std::string get(const std::string& target) const;  // of the management socket; "" = no answer
  boost::json::object queues() const { return boost::json::parse(get("/v1/queues?all")).as_object(); }
  std::string client_state(const std::string& id) const;
  // Waits until nothing is queued, then: accepted = delivered + expired + dropped, in every queue and route.
  void drained() const;
  void conserved() const;

 private:
  HubSetup setup_;
  decklog::test::TempDir directory_;
  fixture::ChildProcess process_, agent_;
  std::unique_ptr<fleet::Fleet> fleet_;
  std::uint64_t desired_revision_ = 0;
};

}  // namespace decklog::hub::test
