#include "persistence/twin_store.hpp"

#include <map>

#include "persistence/message_store_bytes.hpp"

namespace decklog::persistence {
namespace {

constexpr char kVersion = 1;

std::string key_of(const TwinName& name) {
  std::string key("t");
  put_text(key, name.device);
  key.append(name.module);
  return key;
}

Result<TwinName> name_of(std::string_view key) {
  ByteReader in(key.substr(1));
  TwinName name;
  name.device = std::string(in.text());
  name.module = std::string(in.take(in.left()));
  if (!in.ok()) return error(Errc::kCorrupt, "twin key does not parse");
  return name;
}

std::string encode(const TwinRecord& twin) {
  std::string out(1, kVersion);
  put_text(out, twin.desired);
  put_varint(out, twin.desired_version);
  put_text(out, twin.reported);
  put_varint(out, twin.reported_version);
  put_text(out, twin.pending_patch);
  put_varint(out, twin.pending_base);
  put_fixed64(out, static_cast<std::uint64_t>(twin.last_sync.ns));
  return out;
}

Result<TwinRecord> decode(std::string_view bytes) {
  ByteReader in(bytes);
  const std::uint8_t version = in.byte();
  TwinRecord twin;
  twin.desired = std::string(in.text());
  twin.desired_version = in.varint();
  twin.reported = std::string(in.text());
  twin.reported_version = in.varint();
  twin.pending_patch = std::string(in.text());
  twin.pending_base = in.varint();
  twin.last_sync.ns = static_cast<std::int64_t>(in.fixed64());
  if (!in.ok() || !in.at_end() || version != kVersion)
    return error(Errc::kCorrupt, "stored twin does not parse");
  return twin;
}

}  // namespace

class TwinStore::Impl {
 public:
  RecordStore& records;
  Sealer sealer;
  std::map<TwinName, TwinRecord> twins = {};
  std::vector<std::string> unreadable = {};
};

TwinStore::TwinStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TwinStore::~TwinStore() = default;

Result<std::unique_ptr<TwinStore>> TwinStore::open(RecordStore& records, Sealer sealer) {
  if (!sealer.seal || !sealer.open)
    return error(Errc::kInvalidArgument, "twins are not stored without a sealer");
  auto impl = std::unique_ptr<Impl>(new Impl{records, std::move(sealer)});
  const Status scanned = records.scan("t", [&](std::string_view key, std::string_view value) {
    const Result<TwinName> name = name_of(key);
    if (!name) return impl->unreadable.emplace_back("?"), void();
    const Result<std::string> plain = impl->sealer.open(key, value);
    Result<TwinRecord> twin = plain ? decode(*plain) : Result<TwinRecord>(plain.error());
    if (twin) {
      impl->twins[*name] = std::move(*twin);
    } else {
      impl->unreadable.push_back(name->module.empty() ? name->device : name->device + "/" + name->module);
    }
  });
  if (!scanned) return scanned.error();
  return std::unique_ptr<TwinStore>(new TwinStore(std::move(impl)));
}

const TwinRecord* TwinStore::find(const TwinName& name) const {
  const auto found = impl_->twins.find(name);
  return found == impl_->twins.end() ? nullptr : &found->second;
}

std::vector<TwinName> TwinStore::all() const {
  std::vector<TwinName> out;
  for (const auto& [name, twin] : impl_->twins) out.push_back(name);
  return out;
}

std::vector<TwinName> TwinStore::with_pending_patch() const {
  std::vector<TwinName> out;
  for (const auto& [name, twin] : impl_->twins) {
    if (!twin.pending_patch.empty()) out.push_back(name);
  }
  return out;
}

const std::vector<std::string>& TwinStore::unreadable() const {
  return impl_->unreadable;
}

Result<GroupId> TwinStore::put(const TwinName& name, const TwinRecord& twin) {
  if (name.device.size() > kMaxNameBytes || name.module.size() > kMaxNameBytes) {
    return error(Errc::kTooLarge, "device or module name longer than 1024 bytes");
  }
  if (twin.desired.size() + twin.reported.size() + twin.pending_patch.size() > kMaxTwinBytes) {
    return error(Errc::kTooLarge, "twin larger than 256 KiB", name.device);
  }
  if (!impl_->twins.contains(name) && impl_->twins.size() >= kMaxTwins) {
    return error(Errc::kNoSpace, "too many twins", name.device);
  }
  impl_->twins[name] = twin;
  const std::string key = key_of(name);
  return impl_->records.write(key, impl_->sealer.seal(key, encode(twin)), RecordStore::OnFailure::kRetry);
}

GroupId TwinStore::remove(const TwinName& name) {
  if (impl_->twins.erase(name) == 0) return impl_->records.durable_group();
  return impl_->records.erase(key_of(name));
}

}  // namespace decklog::persistence
