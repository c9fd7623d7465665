// The operator's side of the fleet: what `decklog fleet ...` does, and what tests use to play the cloud.
//
// Blocking, for tools: every call has its own deadline. One thread at a time. Implementations: NATS JetStream
// and the directory of the local uplink. Errors as in uplink.hpp; kNotFound for a missing stream or bucket
// says to run init.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/instant.hpp"
#include "events/result.hpp"
#include "services/uplink/local_uplink.hpp"
#include "services/uplink/nats_connection.hpp"
#include "services/uplink/uplink.hpp"

namespace decklog::fleet {

using uplink::MethodAnswer;
using uplink::TwinKey;
using uplink::TwinValue;

struct InitOptions {
  int replicas = 1;                                           // 3 on a cluster
  std::uint64_t telemetry_bytes_max = 1024ull * 1024 * 1024;  // oldest go
  Duration telemetry_age_max = std::chrono::hours(24 * 7);
  std::uint64_t events_bytes_max = 1024ull * 1024 * 1024;  // oldest go
  Duration events_age_max = std::chrono::hours(24 * 90);
  std::uint64_t twins_bytes_max = 512ull * 1024 * 1024;  // full = new documents are refused
  std::uint64_t cloud_bytes_max = 128ull * 1024 * 1024;  // full = new messages are refused
  Duration cloud_age_max = std::chrono::hours(48);
  Duration dedupe_window = std::chrono::minutes(10);
};

// What init found or made, one for each stream and bucket.
struct InitStep {
  std::string name;
  enum class Outcome : std::uint8_t {
    kCreated = 1,
    kExisted = 2,
    kReplicasChanged = 3
  } outcome = Outcome::kExisted;
};

struct TelemetryRecord {
  std::string id;  // <sender>/<epoch>/<sequence>: the key to drop repeats by
  std::string device;
  std::string module;
  std::string output;
  std::string enqueued;  // RFC 3339
  std::vector<std::pair<std::string, std::string>> properties;
  std::string body;
};

struct TailOptions {
  std::string device;  // empty = all
  enum class From : std::uint8_t { kStart = 1, kNow = 2 } from = From::kNow;
  Duration idle_max = Duration::zero();  // stop after so long without a message; zero = never
};
enum class Tail : std::uint8_t { kGoOn = 1, kStop = 2 };

class Fleet {
 public:
  virtual ~Fleet() = default;

  // Makes what is missing, leaves what exists as its operator set it up (but for the number of replicas).
  // kConflict when a stream of that name takes other subjects.
  virtual Result<std::vector<InitStep>> init(const InitOptions& options) = 0;

  virtual Result<std::uint64_t> put_desired(const TwinKey& key, const std::string& json,
                                            std::optional<std::uint64_t> expected) = 0;
  virtual Status remove_desired(const TwinKey& key) = 0;
  virtual Result<TwinValue> get_desired(const TwinKey& key) = 0;  // revision 0 when there is none
  virtual Result<TwinValue> get_reported(const TwinKey& key) = 0;
  virtual Status put_identity(const TwinKey& key, const std::string& json) = 0;
  virtual Status remove_identity(const TwinKey& key) = 0;
  virtual Result<TwinValue> get_identity(const TwinKey& key) = 0;  // revision 0 when there is none
  // kUnavailable: no device answers to that name now. kTimeout: it took the call and did not answer.
  virtual Result<MethodAnswer> call(const TwinKey& key, const std::string& method, const std::string& payload,
                                    Duration timeout) = 0;
  virtual Status send(const uplink::CloudMessage& message) = 0;
  // In order of storing. A repeat outside the dedupe window has an id that was there before.
  virtual Status tail_telemetry(const TailOptions& options,
                                const std::function<Tail(const TelemetryRecord&)>& take) = 0;
};

// Connects; the error says why not.
Result<std::unique_ptr<Fleet>> open_nats_fleet(uplink::NatsOptions options);
std::unique_ptr<Fleet> open_local_fleet(const std::string& directory);

}  // namespace decklog::fleet
