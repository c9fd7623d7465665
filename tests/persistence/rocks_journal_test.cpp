// What only a journal on a disk can get wrong: reopening, its mark, its lock, other processes, a full disk.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "persistence/journal_files.hpp"
#include "persistence/rocks_journal.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {
namespace fs = std::filesystem;

std::unique_ptr<RocksJournal> open_at(const fs::path& directory, RocksJournalOptions options = {}) {
  options.directory = directory;
  auto journal = RocksJournal::open(std::move(options));
  EXPECT_TRUE(journal.has_value()) << (journal ? "" : describe(journal.error()));
  return journal ? std::move(*journal) : nullptr;
}

void append_many(Journal& journal, std::uint64_t count, std::size_t step = 10, std::size_t detail_bytes = 0) {
  DoneLog done;
  const std::uint64_t first = journal.next_sequence().value;
  for (std::uint64_t at = 0; at < count; at += step) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(step, count - at));
    journal.append(events_from(first + at, size, detail_bytes), done.expect());
  }
  ASSERT_TRUE(done.wait());
  for (const Status& status : done.results()) ASSERT_TRUE(status.has_value()) << describe(status.error());
}

TEST(RocksJournal, ReopensWithEverythingAndGoesOn) {
  const TempDir dir;
  std::uint64_t epoch = 0;
  std::string salt;
  {
    const auto journal = open_at(dir.path() / "j");
    ASSERT_TRUE(journal);
    EXPECT_TRUE(journal->report().created);
    EXPECT_FALSE(journal->report().damaged);
    append_many(*journal, 100);
    ASSERT_TRUE(snapshot_now(*journal, {{60}, std::string(kStateSnapshot), "sixty"}));
    epoch = journal->epoch();
    salt = journal->leaf_salt();
  }
  const auto journal = open_at(dir.path() / "j");
  ASSERT_TRUE(journal);
  const JournalReport& report = journal->report();
  EXPECT_FALSE(report.created);
  EXPECT_TRUE(report.clean);
  EXPECT_FALSE(report.damaged) << report.damage;
  EXPECT_TRUE(report.gaps.empty());
  EXPECT_EQ(report.first.value, 1u);
  EXPECT_EQ(report.last.value, 100u);
  EXPECT_EQ(report.epoch, epoch);
  EXPECT_EQ(journal->leaf_salt(), salt);
  EXPECT_EQ(journal->next_sequence().value, 101u);
  append_many(*journal, 20);
  EXPECT_EQ(read_all(*journal), events_from(1, 120));
  EXPECT_EQ(journal->latest_snapshot(kStateSnapshot, {120})->bytes, "sixty");
}

TEST(RocksJournal, KeepsItsFilesToItsOwner) {
  const TempDir dir;
  const auto journal = open_at(dir.path() / "j");
  ASSERT_TRUE(journal);
  append_many(*journal, 10);
  struct stat status {};
  ASSERT_EQ(::stat((dir.path() / "j").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const char* name : {"LOCK", "IDENTITY", "HIGH_WATER", "RESERVE"}) {
    ASSERT_EQ(::stat((dir.path() / "j" / name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << name;
  }
}

TEST(RocksJournal, RefusesASecondWriter) {
  const TempDir dir;
  auto journal = open_at(dir.path() / "j");
  ASSERT_TRUE(journal);
  const auto second = RocksJournal::open({.directory = dir.path() / "j"});
  ASSERT_TRUE(second.has_error());
  EXPECT_EQ(second.error().code, Errc::kConflict);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = lock_directory(dir.path() / "j");
    ::_exit(lock.has_error() && lock.error().code == Errc::kConflict ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "another process could lock it";
  append_many(*journal, 5);
  journal.reset();
  EXPECT_TRUE(open_at(dir.path() / "j"));
}

TEST(RocksJournal, ShortenedTailIsAGapAndItsSequencesAreNotUsedAgain) {
  const TempDir dir;
  const fs::path path = dir.path() / "j";
  {
    const auto journal = open_at(path);
    append_many(*journal, 50);
  }
  // What a lost tail leaves: a mark beyond the last event.
  {
    const auto identity = read_identity(path);
    ASSERT_TRUE(identity);
    auto mark = HighWaterFile::open(path);
    ASSERT_TRUE(mark);
    ASSERT_TRUE(mark->write({identity->epoch, 57, false}));
  }
  GapRecorded gap;
  for (int round = 0; round < 2; ++round) {  // reported until it is in the log
    const auto journal = open_at(path);
    ASSERT_TRUE(journal);
    EXPECT_EQ(journal->report().damaged, round == 0);
    ASSERT_EQ(journal->report().gaps.size(), 1u);
    gap = journal->report().gaps[0];
    EXPECT_EQ(gap.gap, GapKind::kLost);
    EXPECT_EQ(gap.first, 51u);
    EXPECT_EQ(gap.last, 57u);
    EXPECT_EQ(gap.count, 7u);
    EXPECT_EQ(journal->next_sequence().value, 58u);
    std::vector<MissingRange> missing;
    EXPECT_EQ(read_all(*journal, &missing), events_from(1, 50));
    ASSERT_EQ(missing.size(), 1u);
    EXPECT_EQ(missing[0].first.value, 51u);
    EXPECT_EQ(missing[0].last.value, 57u);
    const Status strict = journal->read({1}, {57}, {[](const Envelope&) { return true; }});
    ASSERT_TRUE(strict.has_error());
    EXPECT_EQ(strict.error().code, Errc::kCorrupt);
    EXPECT_EQ(strict.error().where, "sequence 51");
  }
  {
    const auto journal = open_at(path);
    ASSERT_TRUE(append_now(*journal, {envelope(58, StreamId::service(), gap)}));
  }
  const auto journal = open_at(path);
  EXPECT_TRUE(journal->report().gaps.empty());
  EXPECT_FALSE(journal->report().damaged);
  EXPECT_EQ(journal->next_sequence().value, 59u);
}

TEST(RocksJournal, AVanishedStoreIsALossAndAnotherEpoch) {
  const TempDir dir;
  const fs::path path = dir.path() / "j";
  std::uint64_t epoch = 0;
  {
    const auto journal = open_at(path);
    append_many(*journal, 50);
    epoch = journal->epoch();
  }
  fs::remove_all(path / "db");
  const auto journal = open_at(path);
  ASSERT_TRUE(journal);
  EXPECT_FALSE(journal->report().created);
  EXPECT_TRUE(journal->report().damaged);
  EXPECT_NE(journal->epoch(), epoch);
  ASSERT_EQ(journal->report().gaps.size(), 1u);
  EXPECT_EQ(journal->report().gaps[0].first, 1u);
  EXPECT_EQ(journal->report().gaps[0].last, 50u);
  EXPECT_EQ(journal->next_sequence().value, 51u);
  append_many(*journal, 5);
}

TEST(RocksJournal, PendingCompactionGapIsOfferedUntilAppended) {
  const TempDir dir;
  const fs::path path = dir.path() / "j";
  std::mutex mutex;
  std::vector<GapRecorded> gaps;
  RocksJournalOptions options;
  options.budget_bytes = kLeastBudgetBytes;
  options.hooks.gap = [&](const GapRecorded& gap) {
    const std::lock_guard lock(mutex);
    gaps.push_back(gap);
  };
  {
    const auto journal = open_at(path, options);
    while (journal->stats().compactions == 0 && journal->next_sequence().value < 60'000) {
      append_many(*journal, 400, 50, 600);
      ASSERT_TRUE(
          snapshot_now(*journal, {{journal->next_sequence().value - 1}, std::string(kStateSnapshot), "s"}));
    }
  }
  ASSERT_FALSE(gaps.empty());
  const auto journal = open_at(path, options);
  ASSERT_EQ(journal->report().gaps, gaps);
  EXPECT_FALSE(journal->report().damaged);
  EXPECT_NE(gaps[0].reason.find("seal "), std::string::npos);
  for (const GapRecorded& gap : gaps) {
    ASSERT_TRUE(append_now(*journal, {envelope(journal->next_sequence().value, StreamId::service(), gap)}));
  }
  auto reader = RocksJournalReader::open(path);
  ASSERT_TRUE(reader);
  EXPECT_TRUE((*reader)->gaps_not_in_log().empty());
}

TEST(RocksJournal, SpendsAtMostFortyBytesOnAnEvent) {
  const TempDir dir;
  constexpr std::uint64_t kEvents = 60'000;
  {
    RocksJournalOptions options;
    options.sync = SyncPolicy::kNever;
    const auto journal = open_at(dir.path() / "j", options);
    append_many(*journal, kEvents, 3);
  }
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(dir.path() / "j" / "db")) {
    if (entry.path().extension() == ".sst") bytes += entry.file_size();
  }
  RecordProperty("bytes_per_event", std::to_string(static_cast<double>(bytes) / kEvents));
  EXPECT_LE(bytes, kEvents * 40);
  EXPECT_GT(bytes, kEvents);
}

TEST(RocksJournalReader, ReadsALiveJournalFromOutsideUpToWhatIsDurable) {
  const TempDir dir;
  const fs::path path = dir.path() / "j";
  EXPECT_EQ(RocksJournalReader::open(path).error().code, Errc::kNotFound);
  const auto journal = open_at(path);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) {
      append_many(*journal, 30, 3);
      // What is read back each time must not grow faster than a slow machine reads.
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  std::uint64_t seen = 0;
  std::uint64_t opened = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (opened < 15 && std::chrono::steady_clock::now() < deadline) {
    const std::uint64_t before = journal->durable_sequence().value;
    const auto reader = RocksJournalReader::open(path);
    ASSERT_TRUE(reader) << describe(reader.error());
    EXPECT_TRUE((*reader)->live());
    EXPECT_EQ((*reader)->damage(), "");
    EXPECT_GE((*reader)->durable_sequence().value, before);
    EXPECT_LE((*reader)->durable_sequence(), journal->durable_sequence());
    const auto events = read_all(**reader);
    EXPECT_EQ(events.size(), (*reader)->durable_sequence().value);
    seen = events.size();
    ++opened;
  }
  stop = true;
  writer.join();
  EXPECT_EQ(opened, 15u);
  EXPECT_GT(seen, 0u);
}

TEST(RocksJournalReader, ReadsACopyWithoutWritingIntoIt) {
  const TempDir dir;
  const fs::path copy = dir.path() / "copy";
  {
    const auto journal = open_at(dir.path() / "j");
    append_many(*journal, 100);
    fs::copy(dir.path() / "j", copy,
             fs::copy_options::recursive);  // as taken from a device that is still running
    append_many(*journal, 10);
  }
  const auto listing = [&] {
    std::map<std::string, std::uintmax_t> files;
    for (const auto& entry : fs::recursive_directory_iterator(copy)) {
      if (entry.is_regular_file()) files[entry.path()] = entry.file_size();
    }
    return files;
  };
  const auto before = listing();
  {
    const auto reader = RocksJournalReader::open(copy);
    ASSERT_TRUE(reader);
    EXPECT_FALSE((*reader)->live());
    EXPECT_EQ(read_all(**reader), events_from(1, 100));
    EXPECT_EQ((*reader)->high_water().value, 100u);
    std::size_t of_stream = 0;
    ASSERT_TRUE(
        (*reader)->read_stream({"module/module-2"}, {1}, {[&](const Envelope&) { return ++of_stream > 0; }}));
    EXPECT_EQ(of_stream, 20u);
  }
  EXPECT_EQ(listing(), before);
  // A part of a copy: still readable, and it says so.
  fs::remove(copy / "db" / "CURRENT");
  const auto reader = RocksJournalReader::open(copy);
  ASSERT_TRUE(reader) << describe(reader.error());
  EXPECT_NE((*reader)->damage(), "");
  EXPECT_EQ(read_all(**reader), events_from(1, 100));
}

// A file system of its own, small enough to fill.
class SmallDisk final {
 public:
  explicit SmallDisk(const fs::path& at) : at_(at) {
    fs::create_directory(at_);
    mounted_ = ::mount("tmpfs", at_.c_str(), "tmpfs", 0, "size=12m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  void fill() {
    std::ofstream ballast(at_ / "ballast", std::ios::binary);
    const std::string block(4096, 'b');
    while (ballast.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void empty() { fs::remove(at_ / "ballast"); }

 private:
  fs::path at_;
  bool mounted_ = false;
};

TEST(RocksJournal, ADiskThatFillsUpRefusesCountsAndHealsByItself) {
  const TempDir dir;
  SmallDisk disk(dir.path() / "disk");
  ASSERT_TRUE(disk.mounted()) << "this test mounts a tmpfs and runs as root";
  std::unique_ptr<RocksJournal> journal = open_at(dir.path() / "disk" / "j");
  ASSERT_TRUE(journal);
  append_many(*journal, 300, 10, 500);
  disk.fill();
  std::uint64_t refused = 0;
  std::uint64_t next = journal->next_sequence().value;
  for (int i = 0; i < 20'000 && refused < 40; ++i) {
    const Status status = append_now(*journal, events_from(next, 10, 500));
    if (status) {
      next += 10;
    } else {
      EXPECT_EQ(status.error().code, Errc::kNoSpace) << describe(status.error());
      refused += 10;
    }
  }
  ASSERT_EQ(refused, 40u) << "the disk did not fill";
  EXPECT_TRUE(journal->stats().degraded);
  EXPECT_EQ(journal->stats().events_refused, refused);
  EXPECT_EQ(journal->next_sequence().value, next);
  // The log's own note fits into the reserve while the disk is still full.
  StoreObserved note;
  note.store = "journal";
  note.code = static_cast<std::uint16_t>(Errc::kNoSpace);
  const Status noted = append_now(*journal, {envelope(next, StreamId::service(), note)});
  EXPECT_TRUE(noted.has_value()) << describe(noted.error());
  if (noted) ++next;
  const std::uint64_t stored = next - 1;
  EXPECT_EQ(read_all(*journal).size(), stored);
  disk.empty();
  GapRecorded gap;
  gap.gap = GapKind::kNotWritten;
  gap.count = refused;
  ASSERT_TRUE(append_now(*journal, {envelope(next, StreamId::service(), gap)}));
  ++next;
  EXPECT_TRUE(append_now(*journal, events_from(next, 10)));
  next += 10;
  EXPECT_FALSE(journal->stats().degraded);
  journal.reset();
  journal = open_at(dir.path() / "disk" / "j");
  ASSERT_TRUE(journal);
  EXPECT_FALSE(journal->report().damaged) << journal->report().damage;
  EXPECT_EQ(journal->next_sequence().value, next);
  EXPECT_EQ(read_all(*journal).size(), next - 1);
  journal.reset();
}

// The disk fills while RocksDB itself writes: a flush of a full write buffer, a new log.
TEST(RocksJournal, SurvivesADiskThatFillsUnderRocksDb) {
  const TempDir dir;
  SmallDisk disk(dir.path() / "disk");
  ASSERT_TRUE(disk.mounted()) << "this test mounts a tmpfs and runs as root";
  auto journal = open_at(dir.path() / "disk" / "j");
  ASSERT_TRUE(journal);
  std::uint64_t next = 1;
  std::vector<Envelope> expected;
  for (int round = 0; round < 6; ++round) {
    std::atomic<bool> stop = false;
    std::thread filler([&] {
      while (!stop) disk.fill();
    });
    int refused = 0;
    for (int i = 0; i < 3000 && refused < 20; ++i) {
      const auto step = events_from(next, 20, 2000);
      if (append_now(*journal, step)) {
        next += 20;
      } else {
        ++refused;
      }
    }
    stop = true;
    filler.join();
    EXPECT_EQ(refused, 20);
    disk.empty();
    // Everything is full with what was appended in the second round at the latest: the budget is larger than
    // the disk.
    if (!append_now(*journal, events_from(next, 1))) break;
    ++next;
  }
  const std::uint64_t last = next - 1;
  std::uint64_t count = 0;
  ASSERT_TRUE(
      journal->read({1}, {last}, {[&](const Envelope& event) { return event.sequence.value == ++count; }}));
  EXPECT_EQ(count, last);
  journal.reset();
  journal = open_at(dir.path() / "disk" / "j");
  ASSERT_TRUE(journal);
  EXPECT_FALSE(journal->report().damaged) << journal->report().damage;
  EXPECT_GE(journal->durable_sequence().value, last);
  journal.reset();
}

}  // namespace
}  // namespace decklog::persistence
