// The directory of the local uplink as documents and logs. Used by LocalUplink's worker and by the fleet's
// tools.
//
// Blocking; one thread at a time for each object, any number of processes (every change is made under
// `<dir>/.lock`). Documents carry a revision that only grows, kept in `<dir>/revisions/`, so that it survives
// restarts, and so that an edit by hand or a removal counts as a change. A log is a folder of JSON-lines
// files, synced once a batch.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "services/uplink/local_files.hpp"
#include "services/uplink/local_uplink.hpp"

namespace decklog::uplink {

enum class DocumentKind : std::uint8_t { kDesired = 1, kReported = 2, kIdentity = 3 };

class LocalStore final {
 public:
  // Ids seen lately; a repeat within them is acknowledged and not written again.
  static constexpr std::size_t kDedupeIds = 8192;

  explicit LocalStore(LocalOptions options) : options_(std::move(options)) {}

  // Makes the root and its folders.
  Status create();
  // kUnavailable when the OFFLINE marker is there, or the root is missing or cannot be written.
  Status check_link() const;

  std::string folder(DocumentKind kind, std::string_view device) const;
  std::string path(DocumentKind kind, const TwinKey& key) const;
  std::string methods(std::string_view part) const {
    return options_.directory + "/methods/" + std::string(part);
  }
  std::string cloud(std::string_view device, std::string_view part) const;
  std::string telemetry(std::string_view device) const;
  std::string events(std::string_view device, std::string_view service) const;
  const std::string& root() const { return options_.directory; }

  // Revision 0 = never was; empty json with a revision = removed. kUnavailable = being written right now.
  Result<TwinValue> read(DocumentKind kind, const TwinKey& key);
  // The same, or nothing when the revision is still `known`; looks at the file's stamp before it reads.
  Result<std::optional<TwinValue>> read_if_newer(DocumentKind kind, const TwinKey& key, std::uint64_t known);
  Result<std::uint64_t> write(DocumentKind kind, const TwinKey& key, const std::string& json,
                              std::optional<std::uint64_t> expected);
  // Every key of the device that has or had a document.
  std::vector<TwinKey> keys(DocumentKind kind, const std::string& device) const;

  struct Line {
    std::string id;
    std::string text;  // one JSON object, no line feed; begins with {"id":"<id>"
  };
  // All or error; lines already there are left out.
  Status append(const std::string& log, const std::vector<Line>& lines);
  // Identity of the telemetry store: made at first use, gone with its folder.
  Result<std::string> stream_identity();

  static Line telemetry_line(const std::string& sender, const Telemetry& message);

 private:
  struct Known {
    FileStamp stamp;
    bool present = false;
    std::uint64_t revision = 0;
  };
  std::string revision_path(DocumentKind kind, const TwinKey& key) const;
  Result<TwinValue> read_locked(DocumentKind kind, const TwinKey& key);
  Status remember_ids(const std::string& log);
  bool seen(const std::string& id) const { return recent_.contains(id); }
  void note(std::string id);
  Status append_text(const std::string& log, const std::string& text);
  void drop_oldest(const std::string& log) const;

  LocalOptions options_;
  std::map<std::pair<DocumentKind, TwinKey>, Known> known_;
  std::unordered_set<std::string> recent_;
  std::deque<std::string> recent_order_;
  std::unordered_set<std::string> loaded_logs_;
};

}  // namespace decklog::uplink
