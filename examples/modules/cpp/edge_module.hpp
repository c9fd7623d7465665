// A module's connection to the Edge Hub, from the environment that the Edge Agent gives it:
// IOTEDGE_WORKLOADURI, IOTEDGE_DEVICEID, IOTEDGE_MODULEID, IOTEDGE_MODULEGENERATIONID,
// IOTEDGE_IOTHUBHOSTNAME, IOTEDGE_GATEWAYHOSTNAME. The same as ModuleClient.fromEnvironment() of the Node
// SDK: no key leaves the agent, tokens are signed by its workload API.
//
// One thread, blocking. connect() and send() come back by themselves from a hub that is away: they try until
// it works. What has no answer is sent again, so a message may arrive twice. Failure: std::runtime_error for
// what no waiting mends (a variable is missing, the agent refuses to sign).
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace mqtt {
class async_client;
}

namespace edge {

using Properties = std::map<std::string, std::string>;

struct Message {
  std::string port;  // of an input: its name
  std::string body;
  Properties properties;  // of the application, and the hub's ("$.cdid": the sender's device)
};

class Module final {
 public:
  static Module from_environment();
  Module(Module&&) noexcept;
  ~Module();

  // Subscribes to the module's inputs when `inputs` is set. The hub keeps the session: what arrives for an
  // input while the module is away waits.
  void connect(bool inputs);
  // Returns when the hub has the message.
  void send(const std::string& output, const Message& message);
  // The next message of any input; nothing after `patience`.
  std::optional<Message> receive(std::chrono::milliseconds patience);

 private:
  struct Environment {
    std::string workload_socket, device, module, generation, hub, gateway;
  };
  explicit Module(Environment environment);
  std::string make_token();
  void open();
  void keep_connected();

  Environment environment_;
  std::unique_ptr<mqtt::async_client> client_;
  std::chrono::steady_clock::time_point renew_at_;
  bool inputs_ = false;
};

}  // namespace edge
