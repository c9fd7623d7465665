#include "tests/services/broker/mqtt_client.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

namespace decklog::broker::test {

using mqtt::PacketType;

MqttClient::MqttClient(std::uint16_t port) {
  open(port);
}
MqttClient::MqttClient(MqttClient&& other) noexcept {
  *this = std::move(other);
}
MqttClient& MqttClient::operator=(MqttClient&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(ended_, other.ended_);
  std::swap(reset_, other.reset_);
  std::swap(input_, other.input_);
  return *this;
}
MqttClient::~MqttClient() {
  close();
}

void MqttClient::open(std::uint16_t port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0) << errno;
}

void MqttClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void MqttClient::shutdown_write() {
  ::shutdown(fd_, SHUT_WR);
}

void MqttClient::send(const std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const auto n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;  // the broker may have closed already; the test sees that by reading
    sent += static_cast<std::size_t>(n);
  }
}

bool MqttClient::read_more(int deadline_ms) {
  if (ended_) return false;
  pollfd wait{fd_, POLLIN, 0};
  if (::poll(&wait, 1, deadline_ms) <= 0) return false;
  char buffer[65536];
  const auto n = ::recv(fd_, buffer, sizeof buffer, 0);
  if (n <= 0) {
    ended_ = true;
    reset_ = n < 0;
    return false;
  }
  input_.append(buffer, static_cast<std::size_t>(n));
  return true;
}

std::optional<Received> MqttClient::next(int deadline_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  while (true) {
    const auto frame = mqtt::next_frame(input_, mqtt::kMaxPacketBytes);
    EXPECT_NE(frame.status, mqtt::Frame::Status::kMalformed) << mqtt::describe(frame.violation);
    if (frame.status == mqtt::Frame::Status::kComplete) {
      Received packet;
      packet.type = frame.type;
      packet.flags = frame.flags;
      packet.body = frame.body;
      if (frame.type == PacketType::kPublish) {
        mqtt::PublishPacket publish;
        EXPECT_EQ(mqtt::decode(frame, publish), mqtt::Violation::kNone);
        packet.topic = publish.topic;
        packet.payload = publish.payload;
        packet.id = publish.packet_id;
        packet.qos = static_cast<int>(publish.qos);
        packet.retain = publish.retain;
        packet.duplicate = publish.duplicate;
      } else if (frame.type == PacketType::kConnack) {
        mqtt::ConnackPacket connack;
        EXPECT_EQ(mqtt::decode(frame, connack), mqtt::Violation::kNone);
        packet.session_present = connack.session_present;
        packet.code = static_cast<int>(connack.code);
      } else if (frame.type == PacketType::kSuback) {
        mqtt::SubackPacket suback;
        EXPECT_EQ(mqtt::decode(frame, suback), mqtt::Violation::kNone);
        packet.id = suback.packet_id;
        packet.codes = suback.codes;
      } else if (frame.body.size() == 2) {
        EXPECT_EQ(mqtt::decode_packet_id(frame, packet.id), mqtt::Violation::kNone);
      }
      input_.erase(0, frame.raw.size());
      return packet;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !read_more(static_cast<int>(left.count()))) return std::nullopt;
  }
}

Received MqttClient::expect(PacketType type) {
  const auto packet = next();
  EXPECT_TRUE(packet.has_value()) << "nothing came; wanted type " << static_cast<int>(type);
  if (!packet) return {};
  EXPECT_EQ(static_cast<int>(packet->type), static_cast<int>(type)) << packet->topic;
  return *packet;
}

Received MqttClient::expect_publish(const std::string& topic, const std::string& payload) {
  auto packet = expect(PacketType::kPublish);
  EXPECT_EQ(packet.topic, topic);
  EXPECT_EQ(packet.payload, payload);
  return packet;
}

bool MqttClient::closes_gracefully(int deadline_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  while (!ended_ && std::chrono::steady_clock::now() < until) {
    input_.clear();
    read_more(50);
  }
  return ended_ && !reset_;
}

void MqttClient::expect_silence() {
  std::string ping;
  mqtt::append_empty(ping, PacketType::kPingreq);
  send(ping);
  expect(PacketType::kPingresp);
}

Received MqttClient::connect(const ConnectOptions& options) {
  mqtt::ConnectPacket packet;
  packet.client_id = options.id;
  packet.clean_session = options.clean;
  packet.keep_alive_s = options.keep_alive_s;
  packet.will = options.will;
  if (options.username) packet.username = *options.username;
  if (options.password) packet.password = *options.password;
  std::string bytes;
  mqtt::append_connect(bytes, packet);
  send(bytes);
  return expect(PacketType::kConnack);
}

std::string MqttClient::subscribe(const std::string& filter, int qos, std::uint16_t id) {
  mqtt::SubscribePacket packet;
  packet.packet_id = id;
  packet.requests.push_back({filter, static_cast<mqtt::Qos>(qos)});
  std::string bytes;
  mqtt::append_subscribe(bytes, packet);
  send(bytes);
  const auto answer = expect(PacketType::kSuback);
  EXPECT_EQ(answer.id, id);
  return answer.codes;
}

void MqttClient::unsubscribe(const std::string& filter, std::uint16_t id) {
  mqtt::UnsubscribePacket packet;
  packet.packet_id = id;
  packet.filters.push_back(filter);
  std::string bytes;
  mqtt::append_unsubscribe(bytes, packet);
  send(bytes);
  EXPECT_EQ(expect(PacketType::kUnsuback).id, id);
}

void MqttClient::publish(const std::string& topic, const std::string& payload, int qos, std::uint16_t id,
                         bool retain, bool duplicate) {
  mqtt::PublishPacket packet;
  packet.topic = topic;
  packet.payload = payload;
  packet.qos = static_cast<mqtt::Qos>(qos);
  packet.packet_id = id;
  packet.retain = retain;
  packet.duplicate = duplicate;
  std::string bytes;
  mqtt::append_publish(bytes, packet);
  send(bytes);
}

void MqttClient::ack(PacketType type, std::uint16_t id) {
  std::string bytes;
  mqtt::append_acknowledgement(bytes, type, id);
  send(bytes);
}

void MqttClient::disconnect() {
  std::string bytes;
  mqtt::append_empty(bytes, PacketType::kDisconnect);
  send(bytes);
}

MqttClient connected(std::uint16_t port, const std::string& id, bool clean) {
  MqttClient client(port);
  ConnectOptions options;
  options.id = id;
  options.clean = clean;
  EXPECT_EQ(client.connect(options).code, 0) << id;
  return client;
}

}  // namespace decklog::broker::test
