// The way to the fleet, as agent and hub see it: one connection per service. Implementations: NATS JetStream
// (nats_uplink.hpp) and local directories (local_uplink.hpp); one contract test suite runs over both.
//
// The uplink decides nothing: whether and when to connect, back off or give up is the Uplink machine's
// business. It makes one attempt when asked and says what it saw.
//
// Threading: calls are made on, and callbacks run on, the executor given to the constructor; foreign threads
// (nats.c) only post to it. A callback is never run inside the call that takes it, and never after
// destruction. Errors: kUnavailable = no link; kTimeout; kUnauthenticated = credentials refused;
// kPermissionDenied = subject not ours; kConflict = revision moved (compare-and-set lost); kTooLarge.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "events/ids.hpp"
#include "events/instant.hpp"
#include "events/result.hpp"

namespace decklog::uplink {

template <class T>
using Callback = std::function<void(Result<T>)>;

// Whose twin: module "" = the device itself, "$edgeAgent", "$edgeHub" or a module name. `device` may be a
// leaf.
struct TwinKey {
  std::string device;
  std::string module;
  friend auto operator<=>(const TwinKey&, const TwinKey&) = default;
};

struct TwinValue {
  std::string json;            // the whole document, an object
  std::uint64_t revision = 0;  // for compare-and-set; 0 = does not exist
};

enum class LinkChange : std::uint8_t { kConnected = 1, kLost = 2, kRefused = 3, kFailed = 4 };

// Cause codes are stable and stored in the log.
enum class LinkCause : std::uint8_t {
  kNone = 0,
  kDns = 1,
  kRefusedByHost = 2,
  kTimeout = 3,
  kTls = 4,
  kAuth = 5,
  kClosed = 6,
  kPingMissed = 7,
  kProtocol = 8,
  kIo = 9,
  kPermission = 10,
  kRequested = 11
};
const char* to_string(LinkCause cause);

struct LinkEvent {
  LinkChange change = LinkChange::kFailed;
  LinkCause cause = LinkCause::kNone;
  std::string detail;  // for people; never holds credentials
};

// One telemetry message. (epoch, sequence) of the sending edge device identify it for ever: the fleet may
// drop a repeat of the pair. `device` may be a leaf behind it.
struct Telemetry {
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  std::string device;
  std::string module;                                           // empty = a leaf device or the device itself
  std::string output;                                           // empty = none
  std::vector<std::pair<std::string, std::string>> properties;  // application and system ("$.mid") properties
  std::string body;
  WallTime enqueued;
};

struct CloudMessage {
  std::string device;
  std::vector<std::pair<std::string, std::string>> properties;
  std::string body;
  std::uint64_t delivery_tag = 0;  // hand back in settle()
  std::string id;                  // of the fleet's copy: the same when it comes again
};
enum class Settle : std::uint8_t { kAccept = 1, kRetry = 2, kReject = 3 };

struct MethodCall {
  std::string device;
  std::string module;
  std::string name;
  std::string payload;  // JSON text
  Duration timeout;
  std::uint64_t call_tag = 0;  // hand back in answer_method()
};
struct MethodAnswer {
  int status = 0;
  std::string payload;  // JSON text, "null" when none
};

struct Listener {
  std::function<void(const LinkEvent&)> on_link;
  // A desired document as it stands upstream (also after each reconnect, even when unchanged). Empty json =
  // deleted.
  std::function<void(const TwinKey&, const TwinValue&)> on_desired;
  // An identity record changed; empty json = deleted. Key: device or device/module.
  std::function<void(const TwinKey&, const std::string& json)> on_identity;
  std::function<void(const MethodCall&)> on_method;
  std::function<void(const CloudMessage&)> on_cloud_message;
  // A watch or an acceptance the fleet refuses: bucket or stream missing (kNotFound, run `decklog fleet
  // init`), not permitted. Said once per connection and each time the error changes; the uplink tries it
  // again by itself.
  std::function<void(const std::string& what, const Error&)> on_watch_failed;
};

class Uplink {
 public:
  virtual ~Uplink() = default;
  virtual const char* kind() const = 0;  // "nats", "local"

  virtual void set_listener(Listener listener) = 0;

  // One attempt with its own deadline; ends in exactly one on_link: kConnected, kRefused or kFailed.
  virtual void connect() = 0;
  // Ends in on_link(kLost, kRequested) when connected, silently otherwise.
  virtual void disconnect() = 0;
  // Round trip to the server; an error means the link is suspect.
  virtual void ping(Duration timeout, Callback<void> done) = 0;

  // Watches. Kept over reconnects; asking twice is the same as once. Settling and answering are for the
  // connection that delivered: after a loss an unsettled message comes again, an unanswered method call ends
  // at its caller.
  virtual void watch_desired(const TwinKey& key) = 0;
  virtual void watch_identities(const std::string& device) = 0;
  virtual void accept_methods(const TwinKey& key) = 0;
  virtual void accept_cloud_messages(const std::string& device) = 0;

  virtual void get_desired(const TwinKey& key,
                           Callback<TwinValue> done) = 0;  // revision 0 when there is none
  virtual void get_reported(const TwinKey& key, Callback<TwinValue> done) = 0;
  // Replaces the reported document. expected: nullopt = whatever is there, 0 = must not exist. Gives the new
  // revision.
  virtual void put_reported(const TwinKey& key, const std::string& json,
                            std::optional<std::uint64_t> expected, Callback<std::uint64_t> done) = 0;
  virtual void get_identity(const TwinKey& key, Callback<std::string> done) = 0;  // kNotFound when unknown

  // Publishes a batch in order. done: how many, counted from the front, the fleet has acknowledged; an error
  // when none. Later messages of the batch may be there too; sent again, they are recognised by their id. The
  // caller keeps its copy until checkpoint() says the fleet holds it durably.
  virtual void publish(std::vector<Telemetry> batch, Callback<std::size_t> done) = 0;
  // Stream identity: changes when the stream upstream was re-created (then unacknowledged messages go again).
  virtual void checkpoint(Callback<std::string> done) = 0;
  // CloudEvents mirror of the journal, JSON texts with ids; idempotent by (epoch, sequence).
  struct MirroredEvent {
    std::uint64_t epoch = 0;
    std::uint64_t sequence = 0;
    std::string service;  // "agent", "hub"
    std::string json;
  };
  virtual void mirror(std::vector<MirroredEvent> events, Callback<std::size_t> done) = 0;

  virtual void answer_method(std::uint64_t call_tag, const MethodAnswer& answer) = 0;
  virtual void settle(std::uint64_t delivery_tag, Settle how) = 0;
};

}  // namespace decklog::uplink
