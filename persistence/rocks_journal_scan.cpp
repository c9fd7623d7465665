// Reading: the two classes of frames merged by sequence, damaged blocks passed over and named.
#include <algorithm>

#include "events/codec.hpp"
#include "persistence/journal_frame.hpp"
#include "persistence/rocks_journal_db.hpp"

namespace decklog::persistence {
namespace {

constexpr std::uint64_t kEnd = ~0ull;

// The frames of one class in sequence order.
class Lane final {
 public:
  Lane(const JournalDb& journal, FrameClass which) : lifecycle(which == FrameClass::kLifecycle) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    options.verify_checksums = true;
    it_.reset(journal.db().NewIterator(options, journal.frames(which)));
  }

  // Stands on the first frame with sequence >= from.
  void seek(std::uint64_t from, std::uint64_t end) {
    end_ = end;
    damage_first = damage_last = 0;
    last_ = from - 1;
    key_ = 0;
    sequence = kEnd;
    cursor_ = {};
    it_->SeekForPrev(big_endian(from));
    if (!it_->Valid()) it_->Seek(big_endian(from));
    if (!it_->Valid() && !it_->status().ok()) skip_damage();
    load();
    while (sequence < from) next();
  }

  void next() {
    last_ = std::max(last_, sequence);
    advance();
  }

  std::uint64_t sequence = kEnd;
  std::string_view bytes;
  const bool lifecycle;
  // Events between these may be missing because stored bytes failed their check.
  std::uint64_t damage_first = 0, damage_last = 0;

 private:
  void load() {
    if (it_->Valid() && it_->key().size() == 8) {
      key_ = from_big_endian(it_->key().ToStringView());
      if (key_ > end_) {
        sequence = kEnd;
        return;
      }
      cursor_ = FrameCursor(it_->value().ToStringView());
    }
    advance();
  }

  void advance() {
    Frame frame;
    for (;;) {
      if (cursor_.next(frame)) {
        if (frame.sequence < key_) continue;
        sequence = frame.sequence;
        bytes = frame.bytes;
        if (damage_last == kEnd) damage_last = sequence - 1;
        return;
      }
      if (cursor_.damaged()) mark_damage();
      cursor_ = {};
      if (it_->Valid()) it_->Next();
      if (!it_->Valid() && !it_->status().ok()) skip_damage();
      if (!it_->Valid() || it_->key().size() != 8) break;
      key_ = from_big_endian(it_->key().ToStringView());
      if (key_ > end_) break;
      cursor_ = FrameCursor(it_->value().ToStringView());
    }
    sequence = kEnd;
  }

  void mark_damage() {
    if (damage_last != kEnd) damage_first = last_ + 1;
    damage_last = kEnd;
  }

  // Finds the next key that can be read: gallops past the damage, then closes in on its end.
  void skip_damage() {
    const std::uint64_t from = std::max(last_, key_);
    mark_damage();
    const auto readable = [&](std::uint64_t at) {
      it_->Seek(big_endian(at));
      return it_->status().ok();
    };
    std::uint64_t bad = from;
    std::uint64_t step = 1;
    while (!readable(from + step)) {
      bad = from + step;
      if (bad > end_) return;
      step *= 2;
    }
    std::uint64_t good = from + step;
    while (good - bad > 1) {
      const std::uint64_t middle = bad + (good - bad) / 2;
      (readable(middle) ? good : bad) = middle;
    }
    (void)readable(good);
  }

  std::unique_ptr<rocksdb::Iterator> it_;
  FrameCursor cursor_;
  std::uint64_t key_ = 0, last_ = 0, end_ = kEnd;
};

class Scanner final {
 public:
  explicit Scanner(const JournalDb& journal)
      : cuts_(journal.cuts()),
        lifecycle_(journal, FrameClass::kLifecycle),
        detail_(journal, FrameClass::kDetail) {}

  // False when the visitor stopped.
  Result<bool> run(std::uint64_t from, std::uint64_t end, const RawVisitor& visitor) {
    std::uint64_t expected = std::max<std::uint64_t>(from, 1);
    if (expected > end) return true;
    lifecycle_.seek(std::max(expected, cuts_.lifecycle + 1), end);
    detail_.seek(std::max(expected, cuts_.detail + 1), end);
    for (;;) {
      Lane& lane = lifecycle_.sequence < detail_.sequence ? lifecycle_ : detail_;
      const std::uint64_t sequence = std::min(lane.sequence, end == kEnd ? kEnd : end + 1);
      if (sequence > expected) {
        const Result<bool> going = skip_to(expected, sequence, visitor);
        if (!going || !*going) return going;
      }
      if (lane.sequence > end) return true;
      if (lane.sequence >= expected && !visitor.event({{lane.sequence}, lane.lifecycle, lane.bytes})) {
        return false;
      }
      expected = std::max(expected, lane.sequence + 1);
      lane.next();
    }
  }

 private:
  Result<bool> skip_to(std::uint64_t expected, std::uint64_t sequence, const RawVisitor& visitor) {
    const std::uint64_t first = std::max(expected, cuts_.highest() + 1);
    if (first >= sequence) return true;
    const std::uint64_t last = sequence - 1;
    MissingRange range{GapKind::kLost, {first}, {last}, "not in the store"};
    for (const Lane* lane : {&lifecycle_, &detail_}) {
      if (lane->damage_first != 0 && lane->damage_first <= last && lane->damage_last >= first) {
        range.kind = GapKind::kDamaged;
        range.detail = "stored bytes fail their check";
      }
    }
    if (visitor.missing) return visitor.missing(range);
    return error(Errc::kCorrupt,
                 "events " + std::to_string(first) + " to " + std::to_string(last) + ": " + range.detail,
                 "sequence " + std::to_string(first));
  }

  const Cuts cuts_;
  Lane lifecycle_, detail_;
};

// The part of the range that compaction may have thinned, told once, before its events.
bool tell_compacted(const JournalDb& journal, std::uint64_t from, std::uint64_t end,
                    const std::function<bool(const MissingRange&)>& missing) {
  const std::uint64_t cut = std::min(journal.cuts().highest(), end);
  return !missing || from > cut || missing({GapKind::kCompacted, {from}, {cut}, "byte budget"});
}

}  // namespace

Status JournalDb::read_raw(std::uint64_t from, std::uint64_t to, std::uint64_t durable,
                           const RawVisitor& visitor) const {
  const std::uint64_t end = std::min(to, durable);
  from = std::max<std::uint64_t>(from, 1);
  if (from > end || !tell_compacted(*this, from, end, visitor.missing)) return {};
  const auto finished = Scanner(*this).run(from, end, visitor);
  return finished ? Status() : finished.error();
}

Status JournalDb::read_stream(const StreamId& stream, std::uint64_t from, std::uint64_t durable,
                              const Visitor& visitor) const {
  from = std::max<std::uint64_t>(from, 1);
  if (from > durable || !tell_compacted(*this, from, durable, visitor.missing)) return {};
  Scanner scanner(*this);
  const std::unique_ptr<rocksdb::Iterator> index(db_->NewIterator({}, records()));
  bool stopped = false;
  const Visitor filtered{[&](const Envelope& event) {
                           stopped = event.stream == stream && !visitor.event(event);
                           return !stopped;
                         },
                         visitor.missing};
  for (std::uint64_t bucket = from / kIndexBucketEvents; bucket <= durable / kIndexBucketEvents;) {
    const std::string key = keys::index(bucket, stream.value);
    index->Seek(key);
    // An unreadable index hides nothing: then every bucket is read.
    if (index->status().ok()) {
      if (!index->Valid() || !index->key().starts_with("i")) break;
      if (index->key().ToStringView() != key) {
        const std::string_view found = index->key().ToStringView().substr(1);
        bucket = std::max(bucket + 1, found.size() >= 8 ? from_big_endian(found) : 0);
        continue;
      }
    }
    const std::uint64_t first = std::max(from, bucket * kIndexBucketEvents);
    const std::uint64_t end = std::min(durable, bucket * kIndexBucketEvents + kIndexBucketEvents - 1);
    const Status status = read_decoded(filtered, [&](const RawVisitor& raw) -> Status {
      const auto finished = scanner.run(first, end, raw);
      if (!finished) return finished.error();
      stopped = stopped || !*finished;
      return {};
    });
    if (status.has_error() || stopped) return status;
    ++bucket;
  }
  return {};
}

Status read_decoded(const Visitor& visitor, const std::function<Status(const RawVisitor&)>& read_raw) {
  Status failure;
  Envelope decoded;  // one for all, so that its texts keep their memory
  const RawVisitor raw{[&](const RawEvent& event) {
                         if (const Status read = decode(event.bytes, decoded); read.has_error()) {
                           failure = error(read.error().code, read.error().message,
                                           "sequence " + std::to_string(event.sequence.value));
                           return false;
                         }
                         return visitor.event(decoded);
                       },
                       visitor.missing};
  const Status status = read_raw(raw);
  return failure.has_error() ? failure : status;
}

}  // namespace decklog::persistence
