// One look at the directory for everything the local uplink watches: what is new since the last look.
//
// Runs on the worker; takes and gives values only. Method files are claimed by renaming them into
// methods/taken/, so that of agent and hub, who see the same folder, exactly one gets each.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "services/uplink/local_store.hpp"

namespace decklog::uplink {

struct ScanInterest {
  std::map<TwinKey, std::uint64_t> desired;                            // with the revision delivered last
  std::map<std::string, std::map<TwinKey, std::uint64_t>> identities;  // by device
  std::set<TwinKey> methods;
  std::set<std::string> calls;                          // claimed files that are being answered now
  std::map<std::string, std::set<std::string>> clouds;  // by device: files that are out
};

struct ScanFinds {
  std::vector<std::pair<TwinKey, TwinValue>> desired;
  std::vector<std::pair<TwinKey, TwinValue>> identities;
  std::vector<std::pair<std::string, MethodCall>> calls;     // file name, call
  std::vector<std::pair<std::string, CloudMessage>> clouds;  // file name, message
  std::vector<std::pair<std::string, Error>> failures;       // what, why
};

inline constexpr std::size_t kMaxCloudUnsettled = 16;  // files of one device out at once
inline constexpr std::size_t kMaxCallsOpen = 256;      // claimed and not yet answered

Result<ScanFinds> scan(LocalStore& store, const ScanInterest& interest);

// {"status":...,"payload":...} into methods/out/<file>, then the claimed file goes.
Status write_answer(LocalStore& store, const std::string& file, const MethodAnswer& answer);
// How a settled cloud message's file leaves c2d/<device>/in/.
Status settle_file(LocalStore& store, const std::string& device, const std::string& file, Settle how);

}  // namespace decklog::uplink
