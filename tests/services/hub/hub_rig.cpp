#include "tests/services/hub/hub_rig.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "services/iothub/credentials.hpp"

namespace decklog::hub::test {

namespace json = boost::json;

namespace {

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

constexpr std::int64_t kFarFuture = 4'000'000'000;

}  // namespace

std::string with_password_file(std::string lines, const decklog::test::TempDir& directory,
                               const std::string& password) {
  const std::string file = directory.path("password"), name = "PASSWORD_FILE";
  std::ofstream(file) << password << '\n';
  return lines.replace(lines.find(name), name.size(), file);
}

HubRig::HubRig(HubSetup setup) : setup_(std::move(setup)) {
  if (setup_.uplink.empty()) setup_.uplink = "kind = \"local\"\ndirectory = \"" + folder() + "/fleet\"\n";
  std::ofstream(config_file())
      << "device = \"" << kDeviceId << "\"\niothub_hostname = \"" << kHost
      << "\"\ngateway_hostname = \"localhost\"\ndata_dir = \"" << data_dir() << "\"\nrun_dir = \"" << folder()
      << "/run\"\n[uplink]\n"
      << setup_.uplink
      << "ping_every = \"500ms\"\nbackoff_first = \"50ms\"\nbackoff_cap = \"200ms\"\n"
         "[agent]\ndocker = false\n[hub]\n"
      << setup_.hub;
  fleet_ = fleet::open_local_fleet(folder() + "/fleet");
  EXPECT_TRUE(fleet_->init({}));
}

HubRig::~HubRig() {
  if (testing::Test::HasFailure()) std::fprintf(stderr, "---- hub and agent said:\n%s----\n", log().c_str());
  agent_.end(SIGTERM);
  process_.end(SIGTERM);
}

std::string HubRig::data_dir() const {
  return (setup_.wrapper.empty() ? folder() : setup_.wrapper) + "/data";
}

std::string HubRig::log() const {
  return read_file(folder() + "/hub.log") + read_file(folder() + "/agent.log");
}

void HubRig::start() {
  const auto said = read_file(folder() + "/hub.log").size();
  ASSERT_TRUE(process_.start({DECKLOG_PROGRAM, "--config", config_file(), "hub"}, folder() + "/hub.log"));
  const bool ready = eventually([&] {
    return !process_.running() ||
           read_file(folder() + "/hub.log").find("mqtts port", said) != std::string::npos;
  });
  ASSERT_TRUE(ready && process_.running()) << log();
}

void HubRig::kill() {
  process_.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return !process_.running(); }));
}

int HubRig::stop() {
  process_.end(SIGTERM);
  return 0;
}

void HubRig::start_agent() {
  ASSERT_TRUE(agent_.start({DECKLOG_PROGRAM, "--config", config_file(), "agent"}, folder() + "/agent.log"));
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder() + "/run/agent.sock"); })) << log();
}

// ---- the fleet's side

void HubRig::put_routes(const std::string& routes) {
  const auto revision =
      fleet_->put_desired({kDeviceId, "$edgeHub"},
                          R"({"schemaVersion":"1.1","routes":{)" + routes +
                              R"(},"storeAndForwardConfiguration":{"timeToLiveSecs":7200}})",
                          std::nullopt);
  ASSERT_TRUE(revision) << describe(revision.error());
  desired_revision_ = *revision;
}

void HubRig::routes_applied() {
  EXPECT_TRUE(eventually([&] {
    const auto reported = fleet_->get_reported({kDeviceId, "$edgeHub"});
    if (!reported || reported->revision == 0) return false;
    const auto document = json::parse(reported->json).as_object();
    return document.at("lastDesiredVersion").to_number<std::uint64_t>() == desired_revision_;
  })) << log();
}

void HubRig::enrol(const std::string& device, const std::string& module, const std::string& key,
                   const std::string& status) {
  json::object record{
      {"deviceId", device},
      {"generationId", "1"},
      {"status", status},
      {"authentication",
       json::object{{"type", "sas"},
                    {"symmetricKey", json::object{{"primaryKey", key}, {"secondaryKey", key}}}}}};
  if (!module.empty()) record["moduleId"] = module;
  const auto put = fleet_->put_identity({device, module}, json::serialize(record));
  ASSERT_TRUE(put) << describe(put.error());
}

void HubRig::cut_uplink() {
  std::ofstream(folder() + "/fleet/OFFLINE") << "cut";
  EXPECT_TRUE(eventually([&] { return json::parse(get("/v1/clients")).at("uplink") != "connected"; }));
}

void HubRig::restore_uplink() {
  std::filesystem::remove(folder() + "/fleet/OFFLINE");
  EXPECT_TRUE(eventually([&] { return json::parse(get("/v1/clients")).at("uplink") == "connected"; }));
}

std::vector<fleet::TelemetryRecord> HubRig::telemetry() {
  std::vector<fleet::TelemetryRecord> records;
  const auto read =
      fleet_->tail_telemetry({"", fleet::TailOptions::From::kStart, std::chrono::milliseconds(200)},
                             [&](const fleet::TelemetryRecord& record) {
                               records.push_back(record);
                               return fleet::Tail::kGoOn;
                             });
  EXPECT_TRUE(read || read.error().code == Errc::kNotFound) << describe(read.error());
  return records;
}

std::vector<fleet::TelemetryRecord> HubRig::wait_telemetry(std::size_t count) {
  std::vector<fleet::TelemetryRecord> records;
  (void)eventually([&] { return (records = telemetry()).size() >= count; });
  EXPECT_GE(records.size(), count);
  return records;
}

// ---- the clients' side

std::string HubRig::connection_string(const std::string& device, const std::string& module,
                                      const std::string& key) const {
  return "HostName=" + kHost + ";DeviceId=" + device + (module.empty() ? "" : ";ModuleId=" + module) +
         ";SharedAccessKey=" + key + ";GatewayHostName=localhost";
}

json::object HubRig::client(const std::string& device, const std::string& module,
                            const std::string& key) const {
  return {{"kind", module.empty() ? "device" : "module"},
          {"connectionString", connection_string(device, module, key)},
          {"ca", ca_file()}};
}

json::object HubRig::plain_client(const std::string& device, const std::string& module,
                                  json::object options) const {
  const iothub::ClientName name{device, module};
  const std::string resource = kHost + "/devices/" + device + (module.empty() ? "" : "/modules/" + module);
  const auto give = [&](const char* key, auto value) {
    if (!options.contains(key)) options[key] = value;
  };
  give("clientId", name.client_id());
  give("username", kHost + "/" + name.client_id() + "/?api-version=2021-04-12");
  give("password", iothub::make_sas_token(resource, kKey, kFarFuture));
  give("clean", false);
  return {{"url", "mqtts://localhost:8883"}, {"ca", ca_file()}, {"options", std::move(options)}};
}

// ---- what the hub says of itself

std::string HubRig::get(const std::string& target) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (folder() + "/run/hub.sock").copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  const std::string request = "GET " + target + " HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    char bytes[65536];
    for (ssize_t count = 0; (count = ::recv(fd, bytes, sizeof bytes, 0)) > 0;)
      answer.append(bytes, static_cast<std::size_t>(count));
  }
  ::close(fd);
  const auto body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

std::string HubRig::client_state(const std::string& id) const {
  const auto all = json::parse(get("/v1/clients"));
  for (const auto& line : all.at("clients").as_array()) {
    if (text(line.at("client")) == id) return text(line.at("state"));
  }
  return "";
}

void HubRig::drained() const {
  EXPECT_TRUE(eventually([&] {
    const auto all = queues();
    for (const auto& queue : all.at("queues").as_array()) {
      if (queue.at("queued").to_number<std::uint64_t>() != 0) return false;
    }
    return true;
  })) << get("/v1/queues");
  conserved();
}

void HubRig::conserved() const {
  const auto all = queues();
  EXPECT_FALSE(all.empty());
  for (const char* kind : {"queues", "routes"}) {
    for (const auto& each : all.at(kind).as_array()) {
      const auto count = [&](const char* what) { return each.at(what).to_number<std::uint64_t>(); };
      EXPECT_EQ(count("accepted"), count("delivered") + count("expired") + count("dropped") + count("queued"))
          << json::serialize(each);
    }
  }
}

}  // namespace decklog::hub::test
