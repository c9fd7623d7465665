// The device's configuration file (TOML), read once at start into a constant value. Agent and hub share one
// file. A bad file is refused whole, with file, line and key: "config.toml:12: hub.mqtt_port: must be 1 to
// 65535". Every key, its default and its meaning: examples/config.toml.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::config {

struct Endpoint {
  std::string address;  // IP literal
  std::uint16_t port = 0;
};

struct UplinkConfig {
  std::string kind = "local";  // "local", "nats", "none"
  std::string directory;       // local; default <data_dir>/uplink
  std::string url = "nats://127.0.0.1:4222";
  std::string user, password_file, token_file, credentials_file;
  std::string ca_file, certificate_file, key_file;
  Duration ping_every = std::chrono::seconds(20);
  Duration backoff_first = std::chrono::seconds(1);
  Duration backoff_cap = std::chrono::minutes(2);
  Duration stable_after = std::chrono::seconds(60);
};

struct AgentConfig {
  std::uint64_t journal_budget_bytes = 64ull << 20;
  std::optional<Endpoint> metrics;  // /metrics, /healthz, /readyz; unset = off
  std::string management_socket;    // default <run_dir>/agent.sock
  std::string docker_socket = "/var/run/docker.sock";
  bool docker = true;               // use the engine for modules of type docker
  std::string network = "decklog";  // network containers join
  Duration heartbeat = std::chrono::minutes(5);
  Duration list_every = std::chrono::seconds(30);
};

// What a client may do with topics outside IoT Hub's; first match wins, no match is a refusal.
struct TopicRule {
  std::string client;  // identity or user name; "*" = any authenticated client
  std::string filter;  // MQTT filter
  bool publish = false, subscribe = false;
};

struct HubUser {
  std::string name, password_file;
};

struct HubConfig {
  bool enabled = true;
  std::optional<Endpoint> mqtt_tls, mqtt_plain;
  std::optional<Endpoint> https;  // module-to-module methods and MQTT over WebSocket, as SDKs expect on 443
  bool allow_anonymous = false;   // plain listener on loopback only
  std::string server_certificate_file, server_key_file;  // default: from the edge CA
  std::string client_ca_file;  // roots for leaf devices' certificates, beside the edge CA's own
  std::optional<Endpoint> metrics;
  std::string management_socket;     // default <run_dir>/hub.sock
  std::string durability = "power";  // "power", "process"
  std::uint64_t journal_budget_bytes = 64ull << 20;
  std::uint64_t store_limit_bytes = 1ull << 30;
  Duration default_ttl = std::chrono::hours(2);
  std::uint32_t max_clients = 10000;
  std::vector<TopicRule> topics;
  std::vector<HubUser> users;
};

struct Config {
  std::string file;  // where it came from
  std::string device;
  std::string iothub_hostname;   // default "<device>.decklog.local"
  std::string gateway_hostname;  // default "localhost"; what modules connect to
  std::string data_dir = "/var/lib/decklog";
  std::string run_dir = "/run/decklog";
  std::string edge_ca_certificate_file, edge_ca_key_file;  // the user's own; default: made at first start
  UplinkConfig uplink;
  AgentConfig agent;
  HubConfig hub;
};

Result<Config> load_config(const std::string& path);
// `name` stands for the file in messages.
Result<Config> parse_config(std::string_view text, const std::string& name);

}  // namespace decklog::config
