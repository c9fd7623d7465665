// What verification tells apart. The journals here are honest ones, then changed the way a forger or a fault
// would.
#include "persistence/log_verify.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "persistence/journal_files.hpp"
#include "persistence/log_key.hpp"
#include "persistence/memory_journal.hpp"
#include "persistence/rocks_journal.hpp"
#include "persistence/tree_hasher.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {
namespace fs = std::filesystem;

// Appends as a service does: events, and a signed head with its frontier now and then.
class Signer {
 public:
  Signer(Journal& journal, const LogKey& key)
      : journal_(journal), key_(key), tree_(*TreeHasher::restore(journal)) {}

  void append(const Envelope& event) {
    ASSERT_TRUE(append_now(journal_, {event}));
    tree_.add(event);
  }
  void append_many(std::uint64_t count, std::size_t detail_bytes = 0) {
    for (std::uint64_t i = 0; i < count; ++i) append(event_at(journal_.next_sequence().value, detail_bytes));
  }
  HeadSigned sign() {
    const HeadSigned head = tree_.head(key_);
    EXPECT_TRUE(snapshot_now(journal_, tree_.save()));
    append(envelope(journal_.next_sequence().value, StreamId::service(), head));
    return head;
  }

 private:
  Journal& journal_;
  const LogKey& key_;
  TreeHasher tree_;
};

class LogVerify : public testing::Test {
 protected:
  LogKey key(const std::string& name = "log.key") {
    return LogKey::load_or_create(dir_.path() / name).value();
  }
  VerifyOptions trusting(const LogKey& key) {
    VerifyOptions options;
    options.public_keys = {key.public_key()};
    return options;
  }
  TempDir dir_;
};

std::string text_of(const VerifyReport& report) {
  std::string text;
  for (const Finding& finding : report.findings) text += name_of(finding.kind) + ": " + finding.text + "\n";
  return text;
}

TEST_F(LogVerify, AnHonestLogIsProvenUpToItsLastHead) {
  const LogKey log_key = key();
  MemoryJournal journal;
  Signer signer(journal, log_key);
  for (int i = 0; i < 10; ++i) {
    signer.append_many(37);
    signer.sign();
  }
  signer.append_many(5);
  const VerifyReport report = verify(journal, trusting(log_key));
  EXPECT_TRUE(report.ok()) << text_of(report);
  EXPECT_EQ(report.heads, 10u);
  EXPECT_EQ(report.events, 385u);
  EXPECT_EQ(report.proven_through.value, 379u);
  EXPECT_TRUE(report.not_proven.empty());
}

TEST_F(LogVerify, NamesTheRangeOfAnEditThatKeptItsChecksums) {
  const LogKey log_key = key();
  MemoryJournal honest;
  Signer signer(honest, log_key);
  for (int i = 0; i < 4; ++i) {
    signer.append_many(20);
    signer.sign();
  }
  // The forger rewrites one event and stores everything anew, with good checksums.
  MemoryJournal forged;
  for (Envelope event : read_all(honest)) {
    if (event.sequence.value == 30) event.time.wall.ns += 1;
    ASSERT_TRUE(append_now(forged, {event}));
  }
  const VerifyReport report = verify(forged, trusting(log_key));
  ASSERT_EQ(report.findings.size(), 1u) << text_of(report);
  EXPECT_EQ(report.findings[0].kind, FindingKind::kEdited);
  EXPECT_EQ(report.findings[0].first.value, 21u);
  EXPECT_EQ(report.findings[0].last.value, 41u);
  EXPECT_EQ(report.proven_through.value, 20u);
}

TEST_F(LogVerify, RefusesHeadsOfAnotherKeyAndHeadsThatWereChanged) {
  const LogKey log_key = key();
  const LogKey other = key("other.key");
  EXPECT_NE(log_key.key_id(), other.key_id());
  MemoryJournal journal;
  Signer signer(journal, log_key);
  signer.append_many(20);
  HeadSigned head = signer.sign();
  const VerifyReport unknown = verify(journal, trusting(other));
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.findings.back().kind, FindingKind::kBadSignature);
  EXPECT_EQ(unknown.findings.front().kind, FindingKind::kUnsigned);
  head.tree_size = 19;
  signer.append(envelope(22, StreamId::service(), head));
  const VerifyReport changed = verify(journal, trusting(log_key));
  ASSERT_EQ(changed.findings.size(), 1u) << text_of(changed);
  EXPECT_EQ(changed.findings[0].kind, FindingKind::kBadSignature);
  EXPECT_EQ(changed.findings[0].first.value, 22u);
}

TEST_F(LogVerify, AnUnsignedLogDoesNotPass) {
  MemoryJournal journal;
  ASSERT_TRUE(append_now(journal, events_from(1, 10)));
  const VerifyReport report = verify(journal, trusting(key()));
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].kind, FindingKind::kUnsigned);
}

TEST_F(LogVerify, TellsACutTailByTheMarkAndByTheWitness) {
  const LogKey log_key = key();
  MemoryJournal whole;
  Signer signer(whole, log_key);
  signer.append_many(30);
  signer.sign();
  signer.append_many(30);
  const HeadSigned witnessed = signer.sign();
  MemoryJournal cut;
  for (const Envelope& event : read_all(whole)) {
    if (event.sequence.value > 40) break;
    ASSERT_TRUE(append_now(cut, {event}));
  }
  EXPECT_TRUE(verify(cut, trusting(log_key)).ok()) << "without a witness a cut at the end does not show";
  VerifyOptions with_mark = trusting(log_key);
  with_mark.high_water = {62};
  const VerifyReport marked = verify(cut, with_mark);
  ASSERT_EQ(marked.findings.size(), 1u) << text_of(marked);
  EXPECT_EQ(marked.findings[0].kind, FindingKind::kTruncated);
  EXPECT_EQ(marked.findings[0].first.value, 41u);
  VerifyOptions with_witness = trusting(log_key);
  with_witness.witnessed = {witnessed};
  const VerifyReport told = verify(cut, with_witness);
  ASSERT_EQ(told.findings.size(), 1u) << text_of(told);
  EXPECT_EQ(told.findings[0].kind, FindingKind::kTruncated);
  EXPECT_TRUE(verify(whole, with_witness).ok());
}

TEST_F(LogVerify, AnotherHistoryThanTheWitnessSawIsAnEdit) {
  const LogKey log_key = key();
  MemoryJournal seen;
  Signer first(seen, log_key);
  first.append_many(30);
  VerifyOptions options = trusting(log_key);
  options.witnessed = {first.sign()};
  // The device's own key signs another history of the same length.
  MemoryJournal shown;
  Signer second(shown, log_key);
  for (int i = 0; i < 30; ++i) second.append(probe(shown.next_sequence().value, "elsewhere"));
  second.sign();
  EXPECT_TRUE(verify(shown, trusting(log_key)).ok());
  const VerifyReport report = verify(shown, options);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.findings[0].kind, FindingKind::kEdited);
}

TEST_F(LogVerify, ALostTailThatTheLogRecordsIsHonest) {
  const LogKey log_key = key();
  const fs::path path = dir_.path() / "j";
  {
    auto journal = RocksJournal::open({.directory = path}).value();
    Signer signer(*journal, log_key);
    signer.append_many(40);
    signer.sign();
  }
  {
    auto mark = HighWaterFile::open(path);
    ASSERT_TRUE(mark);
    ASSERT_TRUE(mark->write({read_identity(path)->epoch, 45, false}));
  }
  {
    const auto reader = RocksJournalReader::open(path).value();
    VerifyOptions options = trusting(log_key);
    options.high_water = reader->high_water();
    const VerifyReport report = verify(*reader, options);
    ASSERT_EQ(report.findings.size(), 1u);
    EXPECT_EQ(report.findings[0].kind, FindingKind::kTruncated);
  }
  {
    auto journal = RocksJournal::open({.directory = path}).value();
    ASSERT_EQ(journal->report().gaps.size(), 1u);
    Signer signer(*journal, log_key);
    signer.append(envelope(46, StreamId::service(), journal->report().gaps[0]));
    signer.append_many(20);
    signer.sign();
  }
  ASSERT_TRUE(log_key.publish(path));
  const auto reader = RocksJournalReader::open(path).value();
  VerifyOptions options;
  options.public_keys = published_keys(path);
  options.high_water = reader->high_water();
  options.gaps_not_in_log = reader->gaps_not_in_log();
  const VerifyReport report = verify(*reader, options);
  EXPECT_TRUE(report.ok()) << text_of(report);
  ASSERT_EQ(report.recorded.size(), 1u);
  EXPECT_EQ(report.recorded[0].first.value, 42u);
  EXPECT_EQ(report.heads, 2u);
  EXPECT_TRUE(report.not_proven.empty()) << "a gap has leaves of its own";
}

TEST_F(LogVerify, ACompactedLogStaysProvable) {
  const LogKey log_key = key();
  const fs::path path = dir_.path() / "j";
  std::mutex mutex;
  std::vector<GapRecorded> gaps;
  JournalHooks hooks;
  hooks.gap = [&](const GapRecorded& gap) {
    const std::lock_guard lock(mutex);
    gaps.push_back(gap);
  };
  {
    auto journal = RocksJournal::open({.directory = path,
                                       .budget_bytes = kLeastBudgetBytes,
                                       .sync = SyncPolicy::kNever,
                                       .hooks = hooks})
                       .value();
    Signer signer(*journal, log_key);
    for (int round = 0; round < 200 && journal->stats().compactions < 2; ++round) {
      signer.append_many(100, 900);
      signer.sign();
      ASSERT_TRUE(snapshot_now(*journal,
                               {{journal->next_sequence().value - 1}, std::string(kStateSnapshot), "state"}));
      std::vector<GapRecorded> found;
      {
        const std::lock_guard lock(mutex);
        found.swap(gaps);
      }
      for (const GapRecorded& gap : found) {
        signer.append(envelope(journal->next_sequence().value, StreamId::service(), gap));
      }
    }
    EXPECT_GE(journal->stats().compactions, 2u);
    signer.sign();
  }
  const auto reader = RocksJournalReader::open(path).value();
  VerifyOptions options = trusting(log_key);
  options.high_water = reader->high_water();
  options.gaps_not_in_log = reader->gaps_not_in_log();
  const VerifyReport report = verify(*reader, options);
  EXPECT_TRUE(report.ok()) << text_of(report);
  EXPECT_GT(report.heads, 3u);
  EXPECT_EQ(report.proven_through.value + 1, report.last.value);
  EXPECT_FALSE(report.recorded.empty());
}

TEST(LogKey, IsPrivateAndTheSameAtTheNextStart) {
  const TempDir dir;
  const fs::path file = dir.path() / "log.key";
  const auto key = LogKey::load_or_create(file);
  ASSERT_TRUE(key);
  struct stat status {};
  ASSERT_EQ(::stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(LogKey::load_or_create(file)->key_id(), key->key_id());
  const Hash root = Sha256()({"root"});
  const HeadSigned head = key->sign(7, 12, root);
  EXPECT_TRUE(check_head(head, 7, key->public_key()));
  EXPECT_TRUE(check_head(head, 8, key->public_key()).has_error()) << "of another journal";
  HeadSigned changed = head;
  changed.root[0] = changed.root[0] == 'a' ? 'b' : 'a';
  EXPECT_TRUE(check_head(changed, 7, key->public_key()).has_error());
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  EXPECT_EQ(LogKey::load_or_create(file).error().code, Errc::kPermissionDenied);
  std::ofstream(file) << "not a key";
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  EXPECT_EQ(LogKey::load_or_create(file).error().code, Errc::kMalformed);
  ASSERT_TRUE(key->publish(dir.path()));
  std::ofstream(dir.path() / "LOG_KEY.0000000000000000") << std::string(64, '0') << "\n";
  EXPECT_EQ(published_keys(dir.path()), std::vector<std::string>{key->public_key()});
}

TEST(TreeHasher, RestoresFromTheSavedFrontierToTheSameTree) {
  const TempDir dir;
  MemoryJournal journal;
  TreeHasher live(journal.leaf_salt(), journal.epoch());
  for (std::uint64_t at = 1; at <= 100; ++at) {
    ASSERT_TRUE(append_now(journal, {event_at(at)}));
    live.add(event_at(at));
    if (at == 63) {
      ASSERT_TRUE(snapshot_now(journal, live.save()));
    }
  }
  const auto restored = TreeHasher::restore(journal);
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->size(), 100u);
  EXPECT_EQ(restored->root(), live.root());
}

}  // namespace
}  // namespace decklog::persistence
