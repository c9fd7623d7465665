#include "persistence/log_verify.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "events/codec.hpp"
#include "persistence/log_key.hpp"
#include "persistence/merkle.hpp"

namespace decklog::persistence {
namespace {

constexpr std::string_view kSealWord = "seal ";

std::string range_text(std::uint64_t first, std::uint64_t last) {
  if (first == last) return "event " + std::to_string(first);
  return "events " + std::to_string(first) + " to " + std::to_string(last);
}

struct Head {
  HeadSigned fact;
  std::uint64_t at = 0;  // its own sequence; 0 = witnessed
};

class Verification final {
 public:
  Verification(const JournalReader& journal, const VerifyOptions& options)
      : journal_(journal),
        options_(options),
        leaves_(journal.leaf_salt()),
        cut_(journal.complete_from().value - 1) {}

  VerifyReport run() {
    report_.first = journal_.first_sequence();
    report_.last = journal_.durable_sequence();
    collect();
    judge_missing();
    judge_tail();
    check_signatures();
    walk_tree();
    std::stable_sort(report_.findings.begin(), report_.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.first < b.first; });
    return std::move(report_);
  }

 private:
  void find(FindingKind kind, std::uint64_t first, std::uint64_t last, std::string text) {
    report_.findings.push_back({kind, {first}, {last}, std::move(text)});
  }

  // First pass: every event reads, every sequence is there or missed.
  void collect() {
    gaps_ = options_.gaps_not_in_log;
    std::uint64_t reached = 0;
    const Visitor visitor{[&](const Envelope& event) {
                            ++report_.events;
                            reached = event.sequence.value;
                            if (const auto* head = std::get_if<HeadSigned>(&event.fact)) {
                              heads_.push_back({*head, event.sequence.value});
                            } else if (const auto* gap = std::get_if<GapRecorded>(&event.fact)) {
                              gaps_.push_back(*gap);
                            }
                            return true;
                          },
                          [&](const MissingRange& range) {
                            missing_.push_back(range);
                            return true;
                          }};
    if (const Status read = journal_.read({1}, {~0ull}, visitor); read.has_error()) {
      find(FindingKind::kUnreadable, reached + 1, reached + 1, describe(read.error()));
    }
  }

  bool recorded(std::uint64_t first, std::uint64_t last, GapKind kind) const {
    // Several records together may cover a range: the tail of one loss and the head of the next.
    std::uint64_t uncovered = first;
    for (bool grown = true; grown && uncovered <= last;) {
      grown = false;
      for (const GapRecorded& gap : gaps_) {
        const bool compacted = gap.gap == GapKind::kCompacted;
        if (gap.gap == GapKind::kNotWritten || compacted != (kind == GapKind::kCompacted)) continue;
        if (gap.first <= uncovered && gap.last >= uncovered) {
          uncovered = gap.last + 1;
          grown = true;
        }
      }
    }
    return uncovered > last;
  }

  void judge_missing() {
    for (const MissingRange& range : missing_) {
      const std::uint64_t first = range.first.value;
      const std::uint64_t last = range.last.value;
      if (recorded(first, last, range.kind)) {
        report_.recorded.push_back(range);
      } else if (range.kind == GapKind::kDamaged) {
        find(FindingKind::kDamaged, first, last, range_text(first, last) + ": stored bytes fail their check");
      } else {
        find(FindingKind::kGap, first, last, range_text(first, last) + " missing, and no record says why");
      }
    }
  }

  void judge_tail() {
    const std::uint64_t last = report_.last.value;
    const std::uint64_t mark = options_.high_water.value;
    if (mark > last && !recorded(last + 1, mark, GapKind::kLost)) {
      find(FindingKind::kTruncated, last + 1, mark,
           range_text(last + 1, mark) + " were durable and are cut off");
    }
    for (const HeadSigned& head : options_.witnessed) {
      heads_.push_back({head, 0});
      if (head.tree_size > last && !recorded(last + 1, head.tree_size, GapKind::kLost)) {
        find(FindingKind::kTruncated, last + 1, head.tree_size,
             "the fleet holds a head over " + std::to_string(head.tree_size) + " events, the log ends at " +
                 std::to_string(last));
      }
    }
  }

  // Only heads that some given key signed count for the tree.
  void check_signatures() {
    std::vector<Head> good;
    for (Head& head : heads_) {
      Status status =
          error(Errc::kUnauthenticated, "signed with key " + head.fact.key_id + ", which is not given");
      for (const std::string& key : options_.public_keys) {
        if (key_id_of(key) == head.fact.key_id) status = check_head(head.fact, journal_.epoch(), key);
      }
      if (status.has_error()) {
        find(FindingKind::kBadSignature, head.at, head.at,
             "head over " + std::to_string(head.fact.tree_size) + " events: " + status.error().message);
      } else if (head.at != 0 && head.fact.tree_size >= head.at) {
        find(FindingKind::kBadSignature, head.at, head.at, "a head over events that come after it");
      } else {
        good.push_back(std::move(head));
      }
    }
    heads_ = std::move(good);
    if (heads_.empty() && report_.events > 0) {
      find(FindingKind::kUnsigned, report_.first.value, report_.last.value, "no signed head covers this log");
    }
  }

  // Second pass: the tree, compared with every head on the way.
  void walk_tree() {
    std::multimap<std::uint64_t, const Head*> by_size;
    for (const Head& head : heads_) by_size.emplace(head.fact.tree_size, &head);
    start_tree(by_size);
    proven_ = walks_.empty() ? 0 : walks_.front().size();
    blind_from_ = cut_ > proven_ ? proven_ + 1 : 0;
    report_.proven_through = {proven_};
    for (const GapRecorded& gap : gaps_) start_seal(gap);
    const RawVisitor visitor{[&](const RawEvent& raw) {
                               const auto event = decode(raw.bytes);
                               if (!event) return false;  // told by the first pass
                               add_to_seals(*event, raw.bytes);
                               advance(*event, raw.bytes, by_size);
                               return true;
                             },
                             [](const MissingRange&) { return true; }};
    (void)journal_.read_raw({1}, {~0ull}, visitor);
    const auto last = heads_.empty() ? 0 : report_.last.value;
    while (reached_ < last) miss_one(by_size);
    finish_seals();
  }

  // What compaction removed has no leaves any more: the tree begins with a saved frontier that a signed head
  // knows.
  void start_tree(const std::multimap<std::uint64_t, const Head*>& by_size) {
    if (cut_ == 0) {
      walks_.emplace_back();
      return;
    }
    reached_ = cut_;
    for (Sequence at{cut_}; at;) {
      const auto saved = journal_.latest_snapshot(kTreeSnapshot, at);
      if (!saved) break;
      const auto frontier = trusted(*saved, by_size);
      if (frontier) {
        walks_.push_back(*frontier);
        reached_ = frontier->size();
        break;
      }
      at = {saved->through.value - (saved->through.value > 0 ? 1 : 0)};
    }
  }

  static std::optional<Frontier> trusted(const Snapshot& saved,
                                         const std::multimap<std::uint64_t, const Head*>& by_size) {
    auto frontier = Frontier::load(saved.bytes);
    if (!frontier || frontier->size() != saved.through.value) return std::nullopt;
    const std::string root = to_hex(frontier->root());
    const auto [begin, end] = by_size.equal_range(frontier->size());
    const bool known =
        std::any_of(begin, end, [&](const auto& entry) { return entry.second->fact.root == root; });
    return known ? std::optional(std::move(*frontier)) : std::nullopt;
  }

  void advance(const Envelope& event, std::string_view stored,
               const std::multimap<std::uint64_t, const Head*>& by_size) {
    const std::uint64_t sequence = event.sequence.value;
    if (sequence <= reached_) return;
    // In the thinned part the leaves between are gone: nothing to recompute before the cut.
    if (sequence <= cut_) return;
    while (reached_ + 1 < sequence) miss_one(by_size);
    const Hash leaf = leaves_.leaf(event, stored);
    for (Frontier& walk : walks_) walk.add(leaf);
    reached_ = sequence;
    compare(by_size);
  }

  void miss_one(const std::multimap<std::uint64_t, const Head*>& by_size) {
    ++reached_;
    if (blind_from_ == 0) blind_from_ = proven_ + 1;
    const Hash leaf = leaves_.gap_leaf(reached_);
    for (Frontier& walk : walks_) walk.add(leaf);
    compare(by_size);
  }

  void compare(const std::multimap<std::uint64_t, const Head*>& by_size) {
    const auto [begin, end] = by_size.equal_range(reached_);
    for (auto it = begin; it != end; ++it) {
      const std::string& expected = it->second->fact.root;
      const auto match = std::find_if(walks_.begin(), walks_.end(),
                                      [&](const Frontier& walk) { return to_hex(walk.root()) == expected; });
      if (match != walks_.end()) {
        ++report_.heads;
        const Frontier right = *match;
        walks_ = {right};
        proven_ = reached_;
        report_.proven_through = {proven_};
        blind_from_ = 0;
      } else if (blind_from_ != 0) {
        follow_saved(by_size);
      } else {
        find(FindingKind::kEdited, proven_ + 1, reached_,
             range_text(proven_ + 1, reached_) + " do not match the head signed over them" +
                 (it->second->at == 0 ? " that the fleet holds" : ""));
        // Go on from what was signed, when it is known, so that a second edit shows as well.
        blind_from_ = proven_ + 1;
        follow_saved(by_size);
      }
    }
  }

  // After a hole the tree can only be taken up where a saved frontier matches the signed head.
  void follow_saved(const std::multimap<std::uint64_t, const Head*>& by_size) {
    const auto saved = journal_.latest_snapshot(kTreeSnapshot, {reached_});
    auto frontier = saved && saved->through.value == reached_ ? trusted(*saved, by_size) : std::nullopt;
    if (!frontier) return;
    ++report_.heads;
    report_.not_proven.push_back({GapKind::kDamaged,
                                  {blind_from_},
                                  {reached_},
                                  "a hole keeps the tree over these from being recomputed"});
    // The writer may since have gone on with gap leaves instead: both are followed until a head decides.
    if (walks_.size() > 1) walks_.erase(walks_.begin() + 1, walks_.end());
    walks_.push_back(std::move(*frontier));
    proven_ = reached_;
    report_.proven_through = {proven_};
    blind_from_ = 0;
  }

  struct Seal {
    std::uint64_t first, last;
    std::string expected, leaves;
  };

  void start_seal(const GapRecorded& gap) {
    const auto at = gap.reason.find(kSealWord);
    // Once lifecycle events of the range are gone as well the seal has nothing to speak of.
    const bool whole = std::none_of(gaps_.begin(), gaps_.end(), [&](const GapRecorded& other) {
      return other.gap == GapKind::kCompacted && other.reason.find(kSealWord) == std::string::npos &&
             other.first <= gap.last && other.last >= gap.first;
    });
    if (gap.gap != GapKind::kCompacted || at == std::string::npos || !whole) return;
    seals_.push_back({gap.first, gap.last, gap.reason.substr(at + kSealWord.size()), {}});
  }

  void add_to_seals(const Envelope& event, std::string_view stored) {
    for (Seal& seal : seals_) {
      if (event.sequence.value < seal.first || event.sequence.value > seal.last) continue;
      const Hash leaf = leaves_.leaf(event, stored);
      seal.leaves.append(reinterpret_cast<const char*>(leaf.data()), leaf.size());
    }
  }

  void finish_seals() {
    for (const Seal& seal : seals_) {
      if (to_hex(leaves_.digest()({seal.leaves})) == seal.expected) continue;
      find(FindingKind::kEdited, seal.first, seal.last,
           range_text(seal.first, seal.last) + " do not match the seal of the compacted range");
    }
  }

  const JournalReader& journal_;
  const VerifyOptions& options_;
  LeafHasher leaves_;
  const std::uint64_t cut_;
  VerifyReport report_;
  std::vector<Head> heads_;
  std::vector<GapRecorded> gaps_;
  std::vector<MissingRange> missing_;
  std::vector<Seal> seals_;
  std::vector<Frontier> walks_;  // possible trees; the first takes holes as gap leaves
  std::uint64_t reached_ = 0, proven_ = 0;
  std::uint64_t blind_from_ = 0;  // a leaf since then is not known; 0 = all are
};

}  // namespace

std::string name_of(FindingKind kind) {
  switch (kind) {
    case FindingKind::kEdited:
      return "edited";
    case FindingKind::kGap:
      return "gap";
    case FindingKind::kDamaged:
      return "damaged";
    case FindingKind::kTruncated:
      return "truncated";
    case FindingKind::kBadSignature:
      return "bad-signature";
    case FindingKind::kUnsigned:
      return "unsigned";
    case FindingKind::kUnreadable:
      return "unreadable";
  }
  return "#" + std::to_string(static_cast<int>(kind));
}

VerifyReport verify(const JournalReader& journal, const VerifyOptions& options) {
  return Verification(journal, options).run();
}

}  // namespace decklog::persistence
