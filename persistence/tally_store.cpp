#include "persistence/tally_store.hpp"

#include <algorithm>

#include "persistence/message_store_bytes.hpp"

namespace decklog::persistence {
namespace {

constexpr char kVersion = 1;

}  // namespace

std::string TallyStore::key_of(std::string_view name) const {
  return static_cast<char>(kind_) + std::string(name);
}

Result<std::unique_ptr<TallyStore>> TallyStore::open(RecordStore& records, TallyKind kind) {
  auto store = std::unique_ptr<TallyStore>(new TallyStore(records, kind));
  const Status scanned = records.scan(store->key_of(""), [&](std::string_view key, std::string_view value) {
    ByteReader in(value);
    const std::uint8_t version = in.byte();
    Tally tally;
    tally.count = in.varint();
    tally.order = in.varint();
    if (!in.ok() || !in.at_end() || version != kVersion) return;
    std::string name(key.substr(1));
    store->last_order_ = std::max(store->last_order_, tally.order);
    store->oldest_[tally.order] = name;
    store->tallies_[std::move(name)] = tally;
  });
  if (!scanned) return scanned.error();
  return store;
}

std::uint64_t TallyStore::count(std::string_view name) const {
  const auto found = tallies_.find(name);
  return found == tallies_.end() ? 0 : found->second.count;
}

GroupId TallyStore::add(std::string_view name, std::uint64_t by) {
  if (name.size() > kMaxNameBytes) return records_.durable_group();
  if (tallies_.size() >= kMaxTallies && !tallies_.contains(name)) {
    const std::string forgotten = oldest_.begin()->second;
    forget(forgotten);
  }
  Tally& tally = tallies_[std::string(name)];
  oldest_.erase(tally.order);
  tally = {tally.count + by, ++last_order_};
  oldest_[tally.order] = std::string(name);
  std::string value(1, kVersion);
  put_varint(value, tally.count);
  put_varint(value, tally.order);
  return records_.write(key_of(name), value, RecordStore::OnFailure::kRetry);
}

GroupId TallyStore::forget(std::string_view name) {
  const auto found = tallies_.find(name);
  if (found == tallies_.end()) return records_.durable_group();
  const std::string key = key_of(name);
  oldest_.erase(found->second.order);
  tallies_.erase(found);
  return records_.erase(key);
}

}  // namespace decklog::persistence
