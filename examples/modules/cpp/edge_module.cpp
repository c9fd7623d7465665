#include "edge_module.hpp"

#include <mqtt/async_client.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <thread>

#include "workload.hpp"

namespace edge {

using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr auto kTokenLife = seconds(3600);
constexpr auto kRenewAfter = seconds(2700);
constexpr auto kPause = std::chrono::milliseconds(500);  // before a hub that is away is tried again
constexpr auto kAnswerWait = seconds(30);
constexpr auto kLook = std::chrono::milliseconds(200);    // whether the connection still stands
constexpr const char* kTrustBundle = "trust-bundle.pem";  // in the module's own directory

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

std::string input_prefix(const std::string& device, const std::string& module) {
  return "devices/" + device + "/modules/" + module + "/inputs/";
}

// "a=1&b=2", encoded.
std::string bag_of(const std::string& output, const Properties& properties) {
  std::string bag = "%24.on=" + percent_encoded(output);
  for (const auto& [name, value] : properties)
    bag += '&' + percent_encoded(name) + '=' + percent_encoded(value);
  return bag;
}

Properties properties_of(const std::string& bag) {
  Properties properties;
  for (std::size_t at = 0; at < bag.size();) {
    const auto end = std::min(bag.find('&', at), bag.size());
    const std::string pair = bag.substr(at, end - at);
    const auto equals = std::min(pair.find('='), pair.size());
    properties[percent_decoded(pair.substr(0, equals))] =
        equals < pair.size() ? percent_decoded(pair.substr(equals + 1)) : std::string();
    at = end + 1;
  }
  return properties;
}

}  // namespace

Module Module::from_environment() {
  Environment read;
  const std::string uri = variable("IOTEDGE_WORKLOADURI"), scheme = "unix://";
  if (!uri.starts_with(scheme)) throw std::runtime_error("IOTEDGE_WORKLOADURI: only unix:// is spoken here");
  read.workload_socket = uri.substr(scheme.size());
  read.device = variable("IOTEDGE_DEVICEID");
  read.module = variable("IOTEDGE_MODULEID");
  read.generation = variable("IOTEDGE_MODULEGENERATIONID");
  read.hub = variable("IOTEDGE_IOTHUBHOSTNAME");
  read.gateway = variable("IOTEDGE_GATEWAYHOSTNAME");
  return Module(std::move(read));
}

Module::Module(Environment environment) : environment_(std::move(environment)) {
  const auto& own = environment_;
  std::ofstream(kTrustBundle) << ask_workload(own.workload_socket, "/trust-bundle?api-version=2018-06-28", "",
                                              "certificate");
  const std::string port = own.gateway.find(':') == std::string::npos ? ":8883" : "";
  client_ =
      std::make_unique<mqtt::async_client>("ssl://" + own.gateway + port, own.device + '/' + own.module);
  client_->start_consuming();
}

Module::Module(Module&&) noexcept = default;
Module::~Module() = default;

// The key stays with the agent; it signs what it is shown.
std::string Module::make_token() {
  const auto& own = environment_;
  const std::string resource = percent_encoded(own.hub + "/devices/" + own.device + "/modules/" + own.module);
  const auto expiry = std::chrono::system_clock::now().time_since_epoch() + kTokenLife;
  const std::string end = std::to_string(std::chrono::duration_cast<seconds>(expiry).count());
  const boost::json::object body{
      {"keyId", "primary"}, {"algo", "HMACSHA256"}, {"data", to_base64(resource + '\n' + end)}};
  const std::string target = "/modules/" + percent_encoded(own.module) + "/genid/" +
                             percent_encoded(own.generation) + "/sign?api-version=2018-06-28";
  const std::string digest =
      ask_workload(own.workload_socket, target, boost::json::serialize(body), "digest");
  return "SharedAccessSignature sr=" + resource + "&sig=" + percent_encoded(digest) + "&se=" + end;
}

void Module::open() {
  const auto& own = environment_;
  mqtt::ssl_options tls;
  tls.set_trust_store(kTrustBundle);
  tls.set_enable_server_cert_auth(true);
  tls.set_verify(true);  // the host's name too
  mqtt::connect_options options;
  options.set_mqtt_version(MQTTVERSION_3_1_1);
  options.set_clean_session(false);
  options.set_keep_alive_interval(60);
  options.set_user_name(own.hub + '/' + own.device + '/' + own.module +
                        "/?api-version=2021-04-12&DeviceClientType=decklog-example");
  options.set_password(make_token());
  options.set_ssl(tls);
  client_->connect(options)->wait();
  renew_at_ = steady_clock::now() + kRenewAfter;
  if (inputs_) client_->subscribe(input_prefix(own.device, own.module) + '#', 1)->wait();
}

void Module::connect(bool inputs) {
  inputs_ = inputs;
  while (true) {
    try {
      return open();
    } catch (const mqtt::exception& failure) {
      std::cerr << "no connection to the hub: " << failure.what() << std::endl;
    }
    std::this_thread::sleep_for(kPause);
  }
}

// A token is only looked at when a connection begins: a new one means a new connection. The hub keeps the
// session meanwhile.
void Module::keep_connected() {
  if (client_->is_connected() && steady_clock::now() < renew_at_) return;
  try {
    if (client_->is_connected()) client_->disconnect()->wait();
  } catch (const mqtt::exception&) {
    // Gone by itself meanwhile.
  }
  connect(inputs_);
}

void Module::send(const std::string& output, const Message& message) {
  const auto& own = environment_;
  const std::string topic = "devices/" + own.device + "/modules/" + own.module + "/messages/events/" +
                            bag_of(output, message.properties) + '/';
  while (true) {
    keep_connected();
    try {
      const auto answer = client_->publish(topic, message.body, 1, false);
      const auto until = steady_clock::now() + kAnswerWait;
      while (client_->is_connected() && steady_clock::now() < until)
        if (answer->wait_for(kLook)) return;
    } catch (const mqtt::exception& failure) {
      std::cerr << "sending again: " << failure.what() << std::endl;
    }
  }
}

std::optional<Message> Module::receive(std::chrono::milliseconds patience) {
  keep_connected();
  mqtt::const_message_ptr got;
  if (!client_->try_consume_message_for(&got, patience) || !got) return std::nullopt;
  const std::string prefix = input_prefix(environment_.device, environment_.module), topic = got->get_topic();
  if (!topic.starts_with(prefix)) return std::nullopt;
  const auto slash = std::min(topic.find('/', prefix.size()), topic.size());
  Message message;
  message.port = topic.substr(prefix.size(), slash - prefix.size());
  message.body = got->to_string();
  if (slash < topic.size()) message.properties = properties_of(topic.substr(slash + 1));
  return message;
}

}  // namespace edge
