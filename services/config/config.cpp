#include "services/config/config.hpp"

#include <toml++/toml.h>
#include <fstream>
#include <initializer_list>
#include <sstream>

#include <boost/asio/ip/address.hpp>

#include "services/mqtt/text.hpp"

namespace decklog::config {
namespace {

struct Refusal {
  Error error;
};

// One table of the file, refusing what it does not know. Keys are read once; finish() looks for leftovers.
class Section {
 public:
  Section(const toml::table* table, std::string name, std::string file)
      : table_(table), name_(std::move(name)), file_(std::move(file)) {}

  [[noreturn]] void refuse(const toml::node* node, const std::string& key, const std::string& why) const {
    const auto line = node ? node->source().begin.line : table_ ? table_->source().begin.line : 0;
    throw Refusal{error(Errc::kInvalidArgument, why, file_ + ":" + std::to_string(line) + ": " + path(key))};
  }

  void text(const char* key, std::string& into) {
    if (const auto* node = take(key)) into = string_of(node, key);
  }
  void flag(const char* key, bool& into) {
    const auto* node = take(key);
    if (!node) return;
    if (!node->is_boolean()) refuse(node, key, "must be true or false");
    into = node->as_boolean()->get();
  }
  template <class Number>
  void number(const char* key, Number& into, std::int64_t low, std::int64_t high) {
    const auto* node = take(key);
    if (!node) return;
    const auto* value = node->as_integer();
    if (!value || value->get() < low || value->get() > high) {
      refuse(node, key, "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    into = static_cast<Number>(value->get());
  }
  // "64MiB", "1GiB", or a plain number of bytes.
  void bytes(const char* key, std::uint64_t& into, std::uint64_t low) {
    const auto* node = take(key);
    if (!node) return;
    std::uint64_t value = 0;
    if (const auto* plain = node->as_integer(); plain && plain->get() >= 0) {
      value = static_cast<std::uint64_t>(plain->get());
    } else {
      value = parse_bytes(node, key);
    }
    if (value < low) refuse(node, key, "must be at least " + std::to_string(low) + " bytes");
    into = value;
  }
  void duration(const char* key, Duration& into, Duration low) {
    const auto* node = take(key);
    if (!node) return;
    auto parsed = parse_duration(string_of(node, key));
    if (!parsed) refuse(node, key, parsed.error().message);
    if (*parsed < low) refuse(node, key, "must be at least " + to_text(low));
    into = *parsed;
  }
  void choice(const char* key, std::string& into, std::initializer_list<std::string_view> names) {
    const auto* node = take(key);
    if (!node) return;
    into = string_of(node, key);
    std::string list;
    for (const auto name : names) {
      if (into == name) return;
      list += (list.empty() ? "" : ", ") + std::string(name);
    }
    refuse(node, key, "must be one of " + list);
  }
  // "127.0.0.1:9600", "[::1]:9600"; "" or "off" = not wanted.
  void endpoint(const char* key, std::optional<Endpoint>& into) {
    const auto* node = take(key);
    if (!node) return;
    const std::string text = string_of(node, key);
    into.reset();
    if (text.empty() || text == "off") return;
    const auto colon = text.rfind(':');
    std::string address = text.substr(0, colon == std::string::npos ? 0 : colon);
    if (address.size() > 2 && address.front() == '[' && address.back() == ']')
      address = address.substr(1, address.size() - 2);
    boost::system::error_code failed;
    const auto ip = boost::asio::ip::make_address(address, failed);
    int port = -1;
    if (colon != std::string::npos && text.size() - colon - 1 > 0 && text.size() - colon - 1 <= 5 &&
        text.find_first_not_of("0123456789", colon + 1) == std::string::npos) {
      port = std::stoi(text.substr(colon + 1));
    }
    if (failed || port < 0 || port > 65535)
      refuse(node, key, "must be an IP address and a port, such as 127.0.0.1:9600");
    into = Endpoint{ip.to_string(), static_cast<std::uint16_t>(port)};
  }

  Section table(const char* key) {
    const auto* node = take(key);
    if (node && !node->is_table()) refuse(node, key, "must be a table");
    return Section(node ? node->as_table() : nullptr, path(key), file_);
  }
  std::vector<Section> tables(const char* key) {
    std::vector<Section> list;
    const auto* node = take(key);
    if (!node) return list;
    if (!node->is_array()) refuse(node, key, "must be an array of tables: [[" + path(key) + "]]");
    for (const auto& item : *node->as_array()) {
      if (!item.is_table()) refuse(&item, key, "must be an array of tables: [[" + path(key) + "]]");
      list.emplace_back(item.as_table(), path(key), file_);
    }
    return list;
  }

  void finish() const {
    if (!table_) return;
    for (const auto& [key, node] : *table_) {
      const std::string name(key.str());
      if (std::find(taken_.begin(), taken_.end(), name) == taken_.end()) refuse(&node, name, "unknown key");
    }
  }
  // Where a key stands, or nothing when it is not in the file.
  const toml::node* at(const char* key) const { return table_ ? table_->get(key) : nullptr; }
  // Two keys that mean something only together.
  void together(const char* one, const std::string& first, const char* other, const std::string& second) const {
    if (first.empty() == second.empty()) return;
    const char* there = first.empty() ? other : one;
    refuse(at(there), there, std::string("needs ") + path(first.empty() ? one : other) + " beside it");
  }

 private:
  std::string path(const std::string& key) const { return name_.empty() ? key : name_ + "." + key; }
  const toml::node* take(const char* key) {
    taken_.emplace_back(key);
    return table_ ? table_->get(key) : nullptr;
  }
  std::string string_of(const toml::node* node, const std::string& key) const {
    const auto* value = node->as_string();
    if (!value) refuse(node, key, "must be a string");
    if (value->get().find('\0') != std::string::npos) refuse(node, key, "must not contain a NUL character");
    return value->get();
  }
  std::uint64_t parse_bytes(const toml::node* node, const std::string& key) const {
    const std::string text = string_of(node, key);
    const auto digits = text.find_first_not_of("0123456789");
    const std::string unit = digits == std::string::npos ? "" : text.substr(digits);
    const int shift = unit == "KiB" ? 10 : unit == "MiB" ? 20 : unit == "GiB" ? 30 : unit.empty() ? 0 : -1;
    if (digits == 0 || shift < 0 || std::min(digits, text.size()) > 9)
      refuse(node, key, "must be a size such as 64MiB");
    return std::stoull(text.substr(0, digits)) << shift;
  }

  const toml::table* table_;
  std::string name_, file_;
  std::vector<std::string> taken_;
};

void read_uplink(Section section, UplinkConfig& into) {
  section.choice("kind", into.kind, {"local", "nats", "none"});
  section.text("directory", into.directory);
  section.text("url", into.url);
  section.text("user", into.user);
  section.text("password_file", into.password_file);
  section.text("token_file", into.token_file);
  section.text("credentials_file", into.credentials_file);
  section.text("ca_file", into.ca_file);
  section.text("certificate_file", into.certificate_file);
  section.text("key_file", into.key_file);
  section.duration("ping_every", into.ping_every, std::chrono::milliseconds(100));
  section.duration("backoff_first", into.backoff_first, std::chrono::milliseconds(50));
  section.duration("backoff_cap", into.backoff_cap, std::chrono::milliseconds(50));
  section.duration("stable_after", into.stable_after, std::chrono::milliseconds(0));
  section.finish();
  section.together("user", into.user, "password_file", into.password_file);
  section.together("certificate_file", into.certificate_file, "key_file", into.key_file);
  if (into.backoff_cap < into.backoff_first) {
    section.refuse(section.at("backoff_cap"), "backoff_cap",
                   "must not be less than backoff_first, " + to_text(into.backoff_first));
  }
}

void read_agent(Section section, AgentConfig& into) {
  section.bytes("journal_budget", into.journal_budget_bytes, 4u << 20);
  section.endpoint("metrics", into.metrics);
  section.text("management_socket", into.management_socket);
  section.text("docker_socket", into.docker_socket);
  section.flag("docker", into.docker);
  section.text("network", into.network);
  section.duration("heartbeat", into.heartbeat, std::chrono::seconds(1));
  section.duration("list_every", into.list_every, std::chrono::seconds(1));
  section.finish();
}

bool loopback(const Endpoint& endpoint) {
  return boost::asio::ip::make_address(endpoint.address).is_loopback();
}

void read_topics(Section& section, HubConfig& into) {
  for (auto& rule : section.tables("topics")) {
    TopicRule read;
    rule.text("client", read.client);
    rule.text("filter", read.filter);
    rule.flag("publish", read.publish);
    rule.flag("subscribe", read.subscribe);
    rule.finish();
    if (read.client.empty()) rule.refuse(nullptr, "client", "missing");
    if (read.filter.empty()) rule.refuse(nullptr, "filter", "missing");
    if (!mqtt::valid_topic_filter(read.filter))
      rule.refuse(rule.at("filter"), "filter", "is not an MQTT topic filter");
    into.topics.push_back(std::move(read));
  }
  for (auto& user : section.tables("users")) {
    HubUser read;
    user.text("name", read.name);
    user.text("password_file", read.password_file);
    user.finish();
    if (read.name.empty() || read.password_file.empty())
      user.refuse(nullptr, "name", "name and password_file are both needed");
    for (const HubUser& other : into.users) {
      if (other.name == read.name) user.refuse(user.at("name"), "name", "there is another user of this name");
    }
    into.users.push_back(std::move(read));
  }
}

void read_hub(Section section, HubConfig& into) {
  section.flag("enabled", into.enabled);
  section.endpoint("mqtt_tls", into.mqtt_tls);
  section.endpoint("mqtt_plain", into.mqtt_plain);
  section.endpoint("https", into.https);
  section.flag("allow_anonymous", into.allow_anonymous);
  section.text("server_certificate_file", into.server_certificate_file);
  section.text("server_key_file", into.server_key_file);
  section.endpoint("metrics", into.metrics);
  section.text("management_socket", into.management_socket);
  section.choice("durability", into.durability, {"power", "process"});
  section.bytes("journal_budget", into.journal_budget_bytes, 4u << 20);
  section.bytes("store_limit", into.store_limit_bytes, 1u << 20);
  section.duration("default_ttl", into.default_ttl, std::chrono::seconds(1));
  section.number("max_clients", into.max_clients, 1, 1000000);
  read_topics(section, into);
  section.finish();
  // Plaintext and anonymous access never leave the device.
  if (into.mqtt_plain && !loopback(*into.mqtt_plain)) {
    section.refuse(section.at("mqtt_plain"), "mqtt_plain",
                   "a plaintext listener must be on a loopback address");
  }
  if (into.allow_anonymous && !into.mqtt_plain) {
    section.refuse(section.at("allow_anonymous"), "allow_anonymous",
                   "needs hub.mqtt_plain, which is on loopback only");
  }
  section.together("server_certificate_file", into.server_certificate_file, "server_key_file",
                   into.server_key_file);
}

Config read_config(const toml::table& root, const std::string& name) {
  Config config;
  config.file = name;
  config.hub.mqtt_tls = Endpoint{"0.0.0.0", 8883};
  config.hub.https = Endpoint{"0.0.0.0", 443};
  Section section(&root, "", name);
  section.text("device", config.device);
  section.text("iothub_hostname", config.iothub_hostname);
  section.text("gateway_hostname", config.gateway_hostname);
  section.text("data_dir", config.data_dir);
  section.text("run_dir", config.run_dir);
  section.text("edge_ca_certificate_file", config.edge_ca_certificate_file);
  section.text("edge_ca_key_file", config.edge_ca_key_file);
  read_uplink(section.table("uplink"), config.uplink);
  read_agent(section.table("agent"), config.agent);
  read_hub(section.table("hub"), config.hub);
  section.finish();
  section.together("edge_ca_certificate_file", config.edge_ca_certificate_file, "edge_ca_key_file",
                   config.edge_ca_key_file);
  if (config.device.empty()) section.refuse(nullptr, "device", "missing: the device needs a name");
  if (config.device.size() > 128 ||
      config.device.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:@=*!$'()?,%") !=
          std::string::npos) {
    section.refuse(root.get("device"), "device",
                   "must be 1 to 128 letters, digits and - . _ : @ = * ! $ ' ( ) ? , %");
  }
  if (config.iothub_hostname.empty()) config.iothub_hostname = config.device + ".decklog.local";
  if (config.gateway_hostname.empty()) config.gateway_hostname = "localhost";
  if (config.uplink.directory.empty()) config.uplink.directory = config.data_dir + "/uplink";
  if (config.agent.management_socket.empty()) config.agent.management_socket = config.run_dir + "/agent.sock";
  if (config.hub.management_socket.empty()) config.hub.management_socket = config.run_dir + "/hub.sock";
  return config;
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& name) {
  try {
    return read_config(toml::parse(text, name), name);
  } catch (const toml::parse_error& failed) {
    return error(Errc::kMalformed, std::string(failed.description()),
                 name + ":" + std::to_string(failed.source().begin.line) + ", column " +
                     std::to_string(failed.source().begin.column));
  } catch (Refusal& refusal) {
    return std::move(refusal.error);
  }
}

Result<Config> load_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return error(Errc::kNotFound, "cannot be read", path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_config(text.str(), path);
}

}  // namespace decklog::config
