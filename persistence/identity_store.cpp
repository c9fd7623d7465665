#include "persistence/identity_store.hpp"

#include <map>

#include "persistence/message_store_bytes.hpp"

namespace decklog::persistence {
namespace {

constexpr char kVersion = 1;

std::string key_of(std::string_view identity) {
  return "i" + std::string(identity);
}

std::string encode(const IdentityRecord& record) {
  std::string out(1, kVersion);
  put_text(out, record.json);
  put_varint(out, record.revision);
  put_fixed64(out, static_cast<std::uint64_t>(record.fetched.ns));
  return out;
}

Result<IdentityRecord> decode(std::string_view bytes) {
  ByteReader in(bytes);
  const std::uint8_t version = in.byte();
  IdentityRecord record;
  record.json = std::string(in.text());
  record.revision = in.varint();
  record.fetched.ns = static_cast<std::int64_t>(in.fixed64());
  if (!in.ok() || !in.at_end() || version != kVersion)
    return error(Errc::kCorrupt, "stored identity does not parse");
  return record;
}

}  // namespace

class IdentityStore::Impl {
 public:
  RecordStore& records;
  Sealer sealer;
  std::map<std::string, IdentityRecord, std::less<>> identities = {};
  std::vector<std::string> unreadable = {};
};

IdentityStore::IdentityStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
IdentityStore::~IdentityStore() = default;

Result<std::unique_ptr<IdentityStore>> IdentityStore::open(RecordStore& records, Sealer sealer) {
  if (!sealer.seal || !sealer.open)
    return error(Errc::kInvalidArgument, "identities are not stored without a sealer");
  auto impl = std::unique_ptr<Impl>(new Impl{records, std::move(sealer)});
  const Status scanned = records.scan("i", [&](std::string_view key, std::string_view value) {
    std::string identity(key.substr(1));
    const Result<std::string> plain = impl->sealer.open(key, value);
    Result<IdentityRecord> record = plain ? decode(*plain) : Result<IdentityRecord>(plain.error());
    if (record) {
      impl->identities[std::move(identity)] = std::move(*record);
    } else {
      impl->unreadable.push_back(std::move(identity));
    }
  });
  if (!scanned) return scanned.error();
  return std::unique_ptr<IdentityStore>(new IdentityStore(std::move(impl)));
}

const IdentityRecord* IdentityStore::find(std::string_view identity) const {
  const auto found = impl_->identities.find(identity);
  return found == impl_->identities.end() ? nullptr : &found->second;
}

std::vector<std::string> IdentityStore::all() const {
  std::vector<std::string> out;
  for (const auto& [identity, record] : impl_->identities) out.push_back(identity);
  return out;
}

const std::vector<std::string>& IdentityStore::unreadable() const {
  return impl_->unreadable;
}

Result<GroupId> IdentityStore::put(std::string_view identity, const IdentityRecord& record) {
  if (identity.size() > 2 * kMaxNameBytes) return error(Errc::kTooLarge, "identity name too long");
  if (record.json.size() > kMaxIdentityBytes) {
    return error(Errc::kTooLarge, "identity record larger than 16 KiB", std::string(identity));
  }
  const auto found = impl_->identities.find(identity);
  if (found == impl_->identities.end() && impl_->identities.size() >= kMaxIdentities) {
    return error(Errc::kNoSpace, "too many identities", std::string(identity));
  }
  if (found != impl_->identities.end() && found->second.revision > record.revision) {
    return error(Errc::kConflict, "a newer revision is stored", std::string(identity));
  }
  impl_->identities[std::string(identity)] = record;
  const std::string key = key_of(identity);
  return impl_->records.write(key, impl_->sealer.seal(key, encode(record)), RecordStore::OnFailure::kRetry);
}

GroupId IdentityStore::remove(std::string_view identity) {
  const auto found = impl_->identities.find(identity);
  if (found == impl_->identities.end()) return impl_->records.durable_group();
  impl_->identities.erase(found);
  return impl_->records.erase(key_of(identity));
}

}  // namespace decklog::persistence
