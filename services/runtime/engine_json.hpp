// What the container engine is told and what it answers, as pure functions over text: container-create
// bodies, inspect, list, image and event documents, pull progress. Reads no clock, no environment, no socket.
// Failure: kMalformed for createOptions that are not a JSON object or have wrongly typed members (where names
// the member); kUnavailable (where = "engine") for answers that make no sense. Messages hold no values of the
// spec. Source of facts: Docker Engine API v1.40 to v1.44.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/runtime/runtime.hpp"

namespace decklog::runtime {

// Ours are what we go by; the others are what tools for IoT Edge look at.
inline constexpr const char* kOwnerLabel = "io.decklog.owner";
inline constexpr const char* kModuleLabel = "io.decklog.module";
inline constexpr const char* kSpecHashLabel = "io.decklog.spec-hash";
inline constexpr const char* kImageLabel = "net.azure-devices.edge.original-image";
inline constexpr const char* kCreateOptionsLabel = "net.azure-devices.edge.create-options";
inline constexpr const char* kEdgeOwnerLabel = "net.azure-devices.edge.owner";
inline constexpr const char* kEdgeOwner = "Microsoft.Azure.Devices.Edge.Agent";

struct ImageName {
  std::string repository;  // "localhost:5000/team/sensor"
  std::string tag;         // "1.0", or empty
  std::string digest;      // "sha256:...", or empty
};
ImageName split_image(std::string_view reference);

// The engine's container-create JSON: the user's createOptions with ours merged in. `image` is what to run,
// when a digest is demanded the content-addressed id. Ours win in Env and Labels; mounts and hosts are added;
// the restart policy is "no" and AutoRemove false, because restarts are the agent's decision and an exit has
// to be seen; logs are bounded when the user does not say how.
Result<std::string> create_body(const ModuleSpec& spec, const std::string& owner, const std::string& image);
std::string network_body(const std::string& name, const std::string& owner);
std::string exec_body(const std::vector<std::string>& command);

std::string registry_auth(const RegistryCredential& credential);  // base64url of its JSON
std::string encode_query(std::string_view text);                  // percent-encoding
std::string label_filter(const std::map<std::string, std::string>& labels, std::string_view more = {});

struct ContainerFacts {
  std::string id;
  Observation seen;
  bool terminal = false;
  int pid = 0;
  std::string network_mode;
  std::string address;  // first of its networks that has one
};
Result<ContainerFacts> parse_container(std::string_view body);

struct ContainerEntry {
  std::string id;
  ModuleName module;
  std::string state;  // "running", "exited" ... with the health in brackets when there is one
};
Result<std::vector<ContainerEntry>> parse_containers(std::string_view body);

struct ImageFacts {
  std::string id;
  std::vector<std::string> repository_digests;  // "repository@sha256:..."
  std::uint64_t bytes = 0;
};
Result<ImageFacts> parse_image(std::string_view body);
bool has_digest(const ImageFacts& image, const std::string& digest);

struct EngineEvent {
  std::string action;  // "die", "start", "destroy", "health_status: healthy" ...
  std::string container;
  ModuleName module;
  std::int64_t time_ns = 0;
};
std::optional<EngineEvent> parse_event(std::string_view line);

// {"message": ...} or what there is, bounded and on one line.
std::string engine_message(std::string_view body);
// What a pull said went wrong.
Error classify_pull_error(const std::string& message, const std::string& image);
// Any of the secrets that the engine quoted back becomes "***".
std::string redact(std::string text, const ModuleSpec& spec);

// Turns the lines of a pull into progress.
class PullMeter final {
 public:
  // False when the line is not JSON.
  bool feed(std::string_view line);
  const PullProgress& progress() const { return progress_; }
  const std::string& error() const { return error_; }

 private:
  struct Layer {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
  };
  std::map<std::string, Layer> layers_;
  PullProgress progress_;
  std::string error_;
};

// Lines of a stream of JSON documents. False from feed() when a line is longer than the limit.
class LineBuffer final {
 public:
  explicit LineBuffer(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}
  bool feed(std::string_view bytes, std::vector<std::string>& lines);

 private:
  std::size_t limit_bytes_;
  std::string partial_;
};

}  // namespace decklog::runtime
