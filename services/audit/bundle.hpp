// An exported log in one file. Layout: "DLB1", epoch (8 bytes, little endian), then records of
// {kind (1), size (4), crc32 (4), bytes}: 'S' state snapshot (8 bytes through, then its bytes), 'E' encoded
// event, 'M' missing range as text. Read whole into memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "persistence/journal.hpp"

namespace decklog::audit {

inline constexpr std::string_view kBundleMagic = "DLB1";
inline constexpr std::uint64_t kMaxBundleBytes = 1ull << 30;

class BundleReader final : public persistence::JournalReader {
 public:
  static Result<std::unique_ptr<BundleReader>> open(const std::string& path);

  Sequence first_sequence() const override { return events_.empty() ? Sequence{} : events_.front().sequence; }
  Sequence complete_from() const override { return first_sequence(); }
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

 private:
  std::uint64_t epoch_ = 0;
  std::vector<Envelope> events_;
  std::vector<persistence::Snapshot> snapshots_;
};

}  // namespace decklog::audit
