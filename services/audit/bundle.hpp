// An exported log in one file. Layout: "DLB1", epoch (8 bytes, little endian), then records of
// {kind (1), size (4), crc32 (4), bytes}: 'S' state snapshot (8 bytes through, then its bytes), 'E' encoded
// event, 'M' missing range as text ("first-last kind"), 'Z' at the end of a whole one (8 bytes last sequence,
// 8 bytes number of events). Unknown kinds are passed over. Without 'Z' (older writers, a cut file) the last
// step may lack decisions.
//
// The reader keeps the file in memory and decodes an event when it is asked for; any thread. kNotFound,
// kTooLarge, kMalformed (no bundle), kCorrupt with `where` = file and byte.
#pragma once

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "persistence/journal.hpp"

namespace decklog::audit {

inline constexpr std::string_view kBundleMagic = "DLB1";
// Detail of a missing range that whoever wrote the log left out because nothing depends on it.
inline constexpr std::string_view kLeftOut = "left out: not needed";
inline constexpr std::uint64_t kMaxBundleBytes = 1ull << 30;

class BundleReader final : public persistence::JournalReader {
 public:
  static Result<std::unique_ptr<BundleReader>> open(const std::string& path);

  Sequence first_sequence() const override { return events_.empty() ? Sequence{} : events_.front().sequence; }
  Sequence complete_from() const override;
  Sequence durable_sequence() const override {
    return events_.empty() ? Sequence{} : events_.back().sequence;
  }
  std::uint64_t epoch() const override { return epoch_; }
  Status read(Sequence from, Sequence to, const persistence::Visitor& visitor) const override;
  Status read_raw(Sequence from, Sequence to, const persistence::RawVisitor& visitor) const override;
  Status read_stream(const StreamId& stream, Sequence from,
                     const persistence::Visitor& visitor) const override;
  Result<persistence::Snapshot> latest_snapshot(std::string_view name, Sequence at) const override;
  std::string leaf_salt() const override { return {}; }  // the salt never leaves the device
  bool whole() const { return whole_; }                  // ends as its writer meant it to

 private:
  struct Stored {
    Sequence sequence;
    std::size_t offset, size;
  };
  Status take_record(char kind, std::size_t offset, std::size_t size, const std::string& where);
  Status walk(Sequence from, Sequence to,
              const std::function<bool(const persistence::MissingRange&)>& missing,
              const std::function<Result<bool>(const Stored&)>& event) const;
  persistence::MissingRange hole(Sequence first, Sequence last) const;
  std::vector<Stored>::const_iterator at_or_after(Sequence from) const;
  std::string_view bytes_of(const Stored& event) const {
    return std::string_view(bytes_).substr(event.offset, event.size);
  }

  std::string bytes_;
  std::uint64_t epoch_ = 0;
  bool whole_ = false;
  std::vector<Stored> events_;
  std::vector<persistence::Snapshot> snapshots_;
  std::vector<persistence::MissingRange> missing_;
};

// Writes beside the target and puts it in place at the end: a bundle is whole or not there. Mode 0600.
class BundleWriter final {
 public:
  BundleWriter(std::string path, std::uint64_t epoch);
  ~BundleWriter();

  void snapshot(Sequence through, const std::string& bytes);
  void event(Sequence sequence, std::string_view encoded);
  void missing(const persistence::MissingRange& range);
  // `whole` = what was written ends between two steps.
  Status finish(bool whole = true);

 private:
  void record(char kind, std::string_view bytes);

  std::string path_, temporary_;
  std::ofstream out_;
  std::uint64_t events_ = 0;
  Sequence last_;
};

// False when the log's last step may lack decisions: a bundle without an end mark. Journals keep steps whole.
bool ends_whole(const persistence::JournalReader& log);

}  // namespace decklog::audit
