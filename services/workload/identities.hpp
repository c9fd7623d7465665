// Who the device's modules are: ids, generation ids and keys. Kept in one sealed file; written by the agent
// (IdentityService), read by the hub (LocalIdentities) with the same device key.
//
// A module's identity is made when the module is first deployed and gone when it is removed; deployed again
// it is another one (new generation id, new keys), so that what was encrypted or signed for the old one is
// void. Thread: one each. Failure: kCorrupt (damaged, or of another device), kIo, kNoSpace, kNotFound.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "events/ids.hpp"
#include "events/result.hpp"
#include "services/workload/device_keys.hpp"

namespace decklog::workload {

inline constexpr std::size_t kMaxIdentities = 1000;

struct ModuleIdentity {
  std::string module_id;  // as clients say it: "sensor", "$edgeHub"
  std::string generation_id;
  ModuleKeys keys;
  bool enabled = true;
  bool from_upstream = false;  // adopted from an identity record, not made here
  friend bool operator==(const ModuleIdentity&, const ModuleIdentity&) = default;
};

using IdentityMap = std::map<std::string, ModuleIdentity, std::less<>>;  // by module_id

// edgeAgent -> $edgeAgent, edgeHub -> $edgeHub, others as they are.
std::string module_id_of(const ModuleName& name);

// An identity record from upstream (deviceId, moduleId, generationId, status, authentication.symmetricKey).
Result<ModuleIdentity> parse_identity_record(std::string_view json);

class IdentityService final {
 public:
  // A missing file is an empty set.
  static Result<IdentityService> open(std::string file, const DeviceKeys& keys);

  // The module's identity, made and on disk when it was not there.
  Result<ModuleIdentity> ensure(const ModuleName& name);
  // Takes the place of a made one. Success also when nothing changed (then nothing is written).
  Status adopt(const ModuleIdentity& identity);
  Status remove(const ModuleName& name);  // success also when there was none
  const ModuleIdentity* find(std::string_view module_id) const;
  const IdentityMap& all() const { return identities_; }

 private:
  IdentityService(std::string file, const DeviceKeys& keys) : file_(std::move(file)), keys_(keys) {}
  Status replace(IdentityMap next);

  std::string file_;
  DeviceKeys keys_;
  IdentityMap identities_;
};

// The read side: follows the file (inotify on its directory). After a change that cannot be read the last
// good set stays. Callbacks run on the executor.
class LocalIdentities final {
 public:
  LocalIdentities(boost::asio::any_io_executor executor, std::string file, const DeviceKeys& keys);
  ~LocalIdentities();
  LocalIdentities(const LocalIdentities&) = delete;
  LocalIdentities& operator=(const LocalIdentities&) = delete;

  // Reads once and begins to follow; the directory must exist, the file need not. Success with an empty set
  // then.
  Status start(std::function<void()> on_change, std::function<void(const Error&)> on_error = nullptr);
  const ModuleIdentity* find(std::string_view module_id) const;
  const IdentityMap& all() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace decklog::workload
