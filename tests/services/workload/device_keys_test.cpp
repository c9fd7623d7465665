#include "services/workload/device_keys.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "services/workload/private_file.hpp"
#include "tests/services/http/http_fixture.hpp"

namespace decklog::workload {
namespace {

using http::TemporaryDirectory;

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 0777;
}

TEST(DeviceKeys, AreMadeOnceAndPrivate) {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/device.key";
  const auto first = DeviceKeys::open(path);
  ASSERT_TRUE(first) << describe(first.error());
  EXPECT_EQ(mode_of(path), 0600u);
  ::chmod(path.c_str(), 0644);
  const auto again = DeviceKeys::open(path);
  ASSERT_TRUE(again);
  EXPECT_EQ(mode_of(path), 0600u);
  EXPECT_EQ(first->digests().digest("x"), again->digests().digest("x"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(DeviceKeys, TwoStartingAtTheSameTimeAgree) {
  for (int round = 0; round < 20; ++round) {
    TemporaryDirectory directory;
    const std::string path = directory.path() + "/device.key";
    std::atomic<bool> go = false;
    std::string digest[2];
    std::vector<std::thread> threads;
    for (auto& mine : digest) {
      threads.emplace_back([&] {
        while (!go) std::this_thread::yield();
        const auto keys = DeviceKeys::open(path);
        mine = keys ? keys->digests().digest("x") : describe(keys.error());
      });
    }
    go = true;
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(digest[0], digest[1]);
    EXPECT_TRUE(digest[0].starts_with("hmac:"));
  }
}

TEST(DeviceKeys, ADamagedFileIsRefusedAndLeftAlone) {
  TemporaryDirectory directory;
  const std::string path = directory.path() + "/device.key";
  ASSERT_TRUE(DeviceKeys::open(path));
  const std::string good = read_private_file(path, 1000).value();
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    ASSERT_TRUE(write_private_file(path, bad, IfExists::kReplace));
    const auto opened = DeviceKeys::open(path);
    ASSERT_FALSE(opened) << i;
    EXPECT_EQ(opened.error().code, Errc::kCorrupt);
  }
  for (const std::string& bad : {std::string(), good.substr(0, 40), good + "x"}) {
    ASSERT_TRUE(write_private_file(path, bad, IfExists::kReplace));
    EXPECT_EQ(DeviceKeys::open(path).error().code, Errc::kCorrupt);
    EXPECT_EQ(read_private_file(path, 1000).value(), bad);
  }
}

TEST(DeviceKeys, DerivedKeysAreStableAndApart) {
  const DeviceKeys keys(std::string(32, 'k'));
  // Golden: a later build must come to the same keys, or all that is sealed and every module key is lost.
  EXPECT_EQ(keys.digests().digest("password"), "hmac:51ac552d27119934");
  const auto one = keys.module_keys("sensor", "1");
  EXPECT_EQ(one.primary, "MXS8Qhkzy36VUZIeF1TpT+RhADXphVG0k0Uz3ms/c0k=");
  EXPECT_EQ(one, keys.module_keys("sensor", "1"));
  EXPECT_NE(one.primary, one.secondary);
  EXPECT_NE(one.primary, keys.module_keys("sensor", "2").primary);
  EXPECT_NE(keys.module_keys("a/b", "c").primary, keys.module_keys("a", "b/c").primary);
  EXPECT_NE(one.primary, DeviceKeys(std::string(32, 'l')).module_keys("sensor", "1").primary);
}

TEST(Sealer, OpensOnlyWhatItSealedForThisUse) {
  const DeviceKeys keys(std::string(32, 'k'));
  const auto sealer = keys.sealer("deployment");
  const std::string sealed = sealer.seal("secret text", "deployment");
  EXPECT_EQ(sealed.find("secret"), std::string::npos);
  EXPECT_EQ(sealer.open(sealed, "deployment").value(), "secret text");
  EXPECT_NE(sealed, sealer.seal("secret text", "deployment"));
  EXPECT_EQ(sealer.open(sealed, "twin").error().code, Errc::kCorrupt);
  EXPECT_EQ(keys.sealer("twins").open(sealed, "deployment").error().code, Errc::kCorrupt);
  EXPECT_EQ(DeviceKeys(std::string(32, 'l')).sealer("deployment").open(sealed, "deployment").error().code,
            Errc::kCorrupt);
  EXPECT_EQ(sealer.open(sealer.seal("", ""), "").value(), "");
}

TEST(Sealer, EveryFlippedByteAndEveryCutIsNoticed) {
  const auto sealer = DeviceKeys(std::string(32, 'k')).sealer("deployment");
  const std::string sealed = sealer.seal("text", "aad");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string bad = sealed;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    EXPECT_FALSE(sealer.open(bad, "aad")) << i;
    EXPECT_FALSE(sealer.open(std::string_view(sealed).substr(0, i), "aad")) << i;
  }
  std::string later = sealed;
  later[3] = 2;
  EXPECT_EQ(sealer.open(later, "aad").error().code, Errc::kUnsupported);
}

TEST(Crypto, KnownAnswers) {
  // RFC 4231 test case 2; RFC 5869 test case 3 with a 32 byte result; FIPS 180 "abc".
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const Key key = hkdf_sha256(std::string(22, '\x0b'), "");
  EXPECT_EQ(to_hex({reinterpret_cast<const char*>(key.data()), key.size()}),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Crypto, Base64IsStrict) {
  for (const std::string& bytes :
       {std::string(), std::string("a"), std::string("ab"), std::string("abc"), std::string("\0\xff", 2)}) {
    EXPECT_EQ(from_base64(to_base64(bytes)).value(), bytes);
  }
  for (const char* bad :
       {"a", "ab", "abc", "a===", "====", "ab=c", "ab c", "abc\n", "abcd=", "ab-_", "=abc"}) {
    EXPECT_FALSE(from_base64(bad)) << bad;
  }
}

}  // namespace
}  // namespace decklog::workload
