#include "services/workload/identities.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "services/workload/private_file.hpp"
#include "tests/services/http/http_fixture.hpp"

namespace decklog::workload {
namespace {

using http::Loop;
using http::TemporaryDirectory;

const DeviceKeys kKeys(std::string(32, 'k'));

TEST(Identities, AreMadeOnceKeptSealedAndNewAfterARemoval) {
  TemporaryDirectory directory;
  const std::string file = directory.path() + "/identities";
  ModuleIdentity first;
  {
    auto service = IdentityService::open(file, kKeys).value();
    EXPECT_TRUE(service.all().empty());
    first = service.ensure(ModuleName("sensor")).value();
    EXPECT_EQ(service.ensure(ModuleName("sensor")).value(), first);
    EXPECT_EQ(service.ensure(ModuleName("edgeHub")).value().module_id, "$edgeHub");
  }
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const std::string sealed = read_private_file(file, 100'000).value();
  EXPECT_EQ(sealed.find(first.keys.primary), std::string::npos);
  EXPECT_EQ(sealed.find("sensor"), std::string::npos);

  auto service = IdentityService::open(file, kKeys).value();
  ASSERT_NE(service.find("sensor"), nullptr);
  EXPECT_EQ(*service.find("sensor"), first);
  ASSERT_TRUE(service.remove(ModuleName("sensor")));
  ASSERT_TRUE(service.remove(ModuleName("sensor")));
  EXPECT_EQ(service.find("sensor"), nullptr);
  const auto second = service.ensure(ModuleName("sensor")).value();
  EXPECT_NE(second.generation_id, first.generation_id);
  EXPECT_NE(second.keys, first.keys);
}

TEST(Identities, ADamagedFileOrAnotherDevicesIsNotTakenForAnEmptyOne) {
  TemporaryDirectory directory;
  const std::string file = directory.path() + "/identities";
  ASSERT_TRUE(IdentityService::open(file, kKeys).value().ensure(ModuleName("a")));
  EXPECT_EQ(IdentityService::open(file, DeviceKeys(std::string(32, 'x'))).error().code, Errc::kCorrupt);
  std::string bytes = read_private_file(file, 100'000).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(write_private_file(file, bytes, IfExists::kReplace));
  const auto opened = IdentityService::open(file, kKeys);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kCorrupt);
  EXPECT_EQ(opened.error().where, file);
}

TEST(Identities, AWriteThatFailsChangesNothing) {
  TemporaryDirectory directory;
  auto service = IdentityService::open(directory.path() + "/gone/identities", kKeys).value();
  EXPECT_FALSE(service.ensure(ModuleName("a")));
  EXPECT_TRUE(service.all().empty());
}

TEST(IdentityRecord, IsAdopted) {
  TemporaryDirectory directory;
  const char* record = R"({"deviceId":"d","moduleId":"sensor","generationId":"77","status":"enabled",
    "authentication":{"type":"sas","symmetricKey":{"primaryKey":"cHJpbWFyeQ==","secondaryKey":"c2Vjb25kYXJ5"}}})";
  const auto parsed = parse_identity_record(record);
  ASSERT_TRUE(parsed) << describe(parsed.error());
  EXPECT_EQ(parsed->generation_id, "77");
  auto service = IdentityService::open(directory.path() + "/i", kKeys).value();
  ASSERT_TRUE(service.ensure(ModuleName("sensor")));
  ASSERT_TRUE(service.adopt(*parsed));
  EXPECT_EQ(service.ensure(ModuleName("sensor")).value(), *parsed);
  const std::pair<const char*, const char*> bad[] = {
      {"[]", ""},
      {"{", ""},
      {R"({"generationId":"1"})", "$.moduleId"},
      {R"({"moduleId":"a"})", "$.generationId"},
      {R"({"moduleId":"a","generationId":"1"})", "$.authentication.symmetricKey"},
      {R"({"moduleId":"a","generationId":"1","authentication":{"symmetricKey":{"primaryKey":"no base64"}}})",
       "$.authentication.symmetricKey"},
      {R"({"moduleId":5,"generationId":"1","authentication":7})", "$.moduleId"},
  };
  for (const auto& [text, where] : bad) {
    const auto refused = parse_identity_record(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().where, where) << text;
  }
}

TEST(LocalIdentities, FollowTheAgentsFile) {
  TemporaryDirectory directory;
  const std::string file = directory.path() + "/identities";
  Loop loop;
  std::promise<void> added, damaged;
  bool told_added = false, told_damaged = false;
  std::unique_ptr<LocalIdentities> local;
  loop.call([&] {
    local = std::make_unique<LocalIdentities>(loop.executor(), file, kKeys);
    const auto started = local->start(
        // One writing may be told more than once.
        [&] {
          if (local->find("sensor") && !std::exchange(told_added, true)) added.set_value();
        },
        [&](const Error& failure) {
          EXPECT_EQ(failure.code, Errc::kCorrupt);
          if (!std::exchange(told_damaged, true)) damaged.set_value();
        });
    EXPECT_TRUE(started) << describe(started.error());
    EXPECT_TRUE(local->all().empty());
  });
  auto service = IdentityService::open(file, kKeys).value();
  const auto made = service.ensure(ModuleName("sensor")).value();
  ASSERT_EQ(added.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  loop.call([&] { EXPECT_EQ(*local->find("sensor"), made); });
  ASSERT_TRUE(write_private_file(file, "damage", IfExists::kReplace));
  ASSERT_EQ(damaged.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  loop.call([&] {
    EXPECT_NE(local->find("sensor"), nullptr) << "the last good set stays";
    local.reset();
  });
}

}  // namespace
}  // namespace decklog::workload
