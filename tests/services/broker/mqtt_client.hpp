// A blocking MQTT client for tests that says exactly the bytes it is told to. Every wait has a deadline.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "services/mqtt/decoder.hpp"
#include "services/mqtt/encoder.hpp"

namespace decklog::broker::test {

struct Received final {
  mqtt::PacketType type = mqtt::PacketType::kConnack;
  std::uint8_t flags = 0;
  std::string body;
  // Filled for PUBLISH, CONNACK, SUBACK and everything with an identifier.
  std::string topic, payload, codes;
  std::uint16_t id = 0;
  int qos = 0;
  bool retain = false, duplicate = false, session_present = false;
  int code = -1;
};

struct ConnectOptions final {
  std::string id = "client";
  bool clean = true;
  std::uint16_t keep_alive_s = 0;
  std::optional<mqtt::WillView> will = std::nullopt;
  std::optional<std::string> username = std::nullopt;
  std::optional<std::string> password = std::nullopt;
};

class MqttClient final {
 public:
  MqttClient() = default;
  explicit MqttClient(std::uint16_t port);
  MqttClient(MqttClient&& other) noexcept;
  MqttClient& operator=(MqttClient&& other) noexcept;
  ~MqttClient();

  void open(std::uint16_t port);
  void send(const std::string& bytes);
  // Next packet, or nothing when the peer closed or the deadline passed.
  std::optional<Received> next(int deadline_ms = 15000);
  Received expect(mqtt::PacketType type);
  Received expect_publish(const std::string& topic, const std::string& payload);
  // True when the peer ends with FIN (not RST) before the deadline; packets before it are skipped.
  bool closes_gracefully(int deadline_ms = 15000);
  // Nothing but silence: a PINGREQ is answered before anything else comes.
  void expect_silence();
  void shutdown_write();
  void close();
  int descriptor() const { return fd_; }

  Received connect(const ConnectOptions& options = {});
  std::string subscribe(const std::string& filter, int qos, std::uint16_t id = 1);
  void unsubscribe(const std::string& filter, std::uint16_t id = 2);
  void publish(const std::string& topic, const std::string& payload, int qos = 0, std::uint16_t id = 0,
               bool retain = false, bool duplicate = false);
  void ack(mqtt::PacketType type, std::uint16_t id);
  void disconnect();

 private:
  bool read_more(int deadline_ms);
  int fd_ = -1;
  bool ended_ = false;
  bool reset_ = false;
  std::string input_;
};

// A client that is connected, with what it asked for.
MqttClient connected(std::uint16_t port, const std::string& id, bool clean = true);

}  // namespace decklog::broker::test
