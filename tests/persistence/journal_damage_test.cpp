// Damage of every kind to a closed or killed journal: harmless, or detected and said. Never an event that was
// not written, never a silent loss, and the device always gets a journal to go on with.
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "persistence/journal_files.hpp"
#include "persistence/rocks_journal.hpp"
#include "tests/persistence/journal_fixture.hpp"

namespace decklog::persistence {
namespace {
namespace fs = std::filesystem;

constexpr std::uint64_t kEvents = 260;
// Thousands of stores are opened here; what a sync costs is not what this tests.
constexpr const char* kFastDisk = "/dev/shm";

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void spill(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void write_original(const fs::path& path) {
  auto journal = RocksJournal::open({.directory = path});
  ASSERT_TRUE(journal);
  for (std::uint64_t at = 1; at <= kEvents; at += 20) {
    ASSERT_TRUE(append_now(**journal, events_from(at, 20)));
  }
  ASSERT_TRUE(snapshot_now(**journal, {{200}, std::string(kTreeSnapshot), "frontier"}));
}

std::vector<fs::path> files_of(const fs::path& path) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    const std::string name = entry.path().filename();
    // Locks, logs for people and space have no content that matters.
    if (!entry.is_regular_file() || name == "LOCK" || name == "RESERVE" || name.starts_with("LOG")) continue;
    if (entry.file_size() > 0) files.push_back(fs::relative(entry.path(), path));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Opens what is left and holds it to the promises. Returns whether damage was said.
bool check(const fs::path& path, const std::string& what) {
  SCOPED_TRACE(what);
  auto opened = RocksJournal::open({.directory = path});
  EXPECT_TRUE(opened.has_value()) << describe(opened.error());
  if (!opened) return false;
  RocksJournal& journal = **opened;
  std::vector<MissingRange> missing;
  const auto events = read_all(journal, &missing);
  std::vector<bool> present(kEvents + 1, false);
  for (const Envelope& event : events) {
    if (event.sequence.value > kEvents && std::holds_alternative<Remarked>(event.fact))
      continue;  // ours, see below
    const bool original = event.sequence.value <= kEvents && event == event_at(event.sequence.value);
    EXPECT_TRUE(original) << "invented event " << event.sequence.value;
    if (original) present[event.sequence.value] = true;
  }
  bool said = journal.report().damaged;
  for (std::uint64_t sequence = 1; sequence <= kEvents; ++sequence) {
    if (present[sequence]) continue;
    const auto in_range = [&](const auto& range, std::uint64_t first, std::uint64_t last) {
      (void)range;
      return first <= sequence && sequence <= last;
    };
    bool explained = false;
    for (const MissingRange& range : missing) {
      explained = explained || in_range(range, range.first.value, range.last.value);
    }
    for (const GapRecorded& gap : journal.report().gaps)
      explained = explained || in_range(gap, gap.first, gap.last);
    // A lost high-water mark and a lost tail together leave only the report.
    explained = explained || (journal.report().damaged && sequence > journal.durable_sequence().value);
    EXPECT_TRUE(explained) << "event " << sequence << " is gone and nothing says so";
    if (!explained) break;
    said = true;
  }
  // The device goes on.
  const std::uint64_t next = journal.next_sequence().value;
  const Status status = append_now(journal, {envelope(next, StreamId::service(), Remarked{})});
  EXPECT_TRUE(status.has_value()) << describe(status.error());
  return said;
}

class Sweep {
 public:
  explicit Sweep(const fs::path& original) : original_(original) {}

  // Damages a fresh copy of the original and checks it.
  bool with(const fs::path& file, const std::string& what, const std::function<void(std::string&)>& damage) {
    const TempDir dir(kFastDisk);
    const fs::path copy = dir.path() / "j";
    fs::copy(original_, copy, fs::copy_options::recursive);
    std::string bytes = slurp(copy / file);
    damage(bytes);
    spill(copy / file, bytes);
    return check(copy, file.string() + ": " + what);
  }

 private:
  fs::path original_;
};

// An ordinary test run takes some places of all files; DECKLOG_SWEEP_FULL=1 takes every byte.
constexpr std::size_t kPlaces = 100;
bool full_sweep() {
  return std::getenv("DECKLOG_SWEEP_FULL") != nullptr;
}

void sweep(const fs::path& original, bool flip) {
  Sweep sweep(original);
  struct Place {
    fs::path file;
    std::size_t at;
  };
  std::vector<Place> places;
  for (const fs::path& file : files_of(original)) {
    // RocksDB writes its options down and never reads them back for us: a third of the bytes, all harmless.
    if (!full_sweep() && file.filename().string().starts_with("OPTIONS-")) continue;
    for (std::size_t at = 0; at < fs::file_size(original / file); ++at) places.push_back({file, at});
  }
  ASSERT_GT(places.size(), 1000u);
  // The same places in every run of one build, spread over all files.
  const char* seed = std::getenv("DECKLOG_SWEEP_SEED");
  std::mt19937_64 order(seed != nullptr ? std::strtoull(seed, nullptr, 10) : 20261124);
  std::shuffle(places.begin(), places.end(), order);
  const std::size_t wanted = full_sweep() ? places.size() : kPlaces;
  std::size_t done = 0;
  std::size_t said = 0;
  for (const Place& place : places) {
    if (done == wanted || testing::Test::HasFailure()) break;
    const std::string where = (flip ? "bits flipped at " : "cut off at ") + std::to_string(place.at);
    said += sweep.with(place.file, where, [&](std::string& bytes) {
      if (flip) {
        bytes[place.at] = static_cast<char>(bytes[place.at] ^ 0x5a);
      } else {
        bytes.resize(place.at);
      }
    });
    ++done;
  }
  std::cout << done << " of " << places.size() << " places, damage said at " << said << "\n";
  EXPECT_GT(said, 0u) << "a sweep that damages nothing proves nothing";
}

TEST(JournalDamage, FlippedBytesOfAClosedJournal) {
  const TempDir dir(kFastDisk);
  write_original(dir.path() / "j");
  sweep(dir.path() / "j", true);
}

TEST(JournalDamage, TruncatedFilesOfAClosedJournal) {
  const TempDir dir(kFastDisk);
  write_original(dir.path() / "j");
  sweep(dir.path() / "j", false);
}

// As a killed writer leaves it: everything in the log, nothing in tables.
void write_killed(const fs::path& scratch, const fs::path& path) {
  auto journal = RocksJournal::open({.directory = scratch});
  ASSERT_TRUE(journal);
  for (std::uint64_t at = 1; at <= kEvents; at += 20) {
    ASSERT_TRUE(append_now(**journal, events_from(at, 20)));
  }
  fs::copy(scratch, path, fs::copy_options::recursive);
}

TEST(JournalDamage, FlippedBytesOfAKilledJournal) {
  const TempDir dir(kFastDisk);
  write_killed(dir.path() / "scratch", dir.path() / "j");
  sweep(dir.path() / "j", true);
}

TEST(JournalDamage, TruncatedFilesOfAKilledJournal) {
  const TempDir dir(kFastDisk);
  write_killed(dir.path() / "scratch", dir.path() / "j");
  sweep(dir.path() / "j", false);
}

TEST(JournalDamage, AnyFileRemoved) {
  const TempDir dir(kFastDisk);
  write_original(dir.path() / "closed");
  write_killed(dir.path() / "scratch", dir.path() / "killed");
  for (const fs::path& original : std::vector<fs::path>{dir.path() / "closed", dir.path() / "killed"}) {
    for (const fs::path& file : files_of(original)) {
      const fs::path copy = dir.path() / "copy";
      fs::remove_all(copy);
      fs::copy(original, copy, fs::copy_options::recursive);
      fs::remove(copy / file);
      check(copy, "without " + file.string());
    }
  }
}

TEST(JournalDamage, KeepsTheLastTwoDamagedStoresAside) {
  const TempDir dir(kFastDisk);
  const fs::path path = dir.path() / "j";
  write_original(path);
  for (int round = 0; round < 5; ++round) {
    spill(path / "db" / "CURRENT", "MANIFEST-999999\n");
    check(path, "round " + std::to_string(round));
    std::vector<std::string> asides;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().filename().string().starts_with("aside.")) asides.push_back(entry.path().filename());
    }
    EXPECT_EQ(asides.size(), std::min<std::size_t>(2, static_cast<std::size_t>(round) + 1));
    EXPECT_TRUE(fs::exists(path / ("aside." + std::to_string(round + 1)) / "db"));
  }
  auto journal = RocksJournal::open({.directory = path});
  ASSERT_TRUE(journal);
  auto events = read_all(**journal);
  events.resize(kEvents);
  EXPECT_EQ(events, events_from(1, kEvents));
}

TEST(JournalDamage, ACutLogIsKeptAside) {
  const TempDir dir(kFastDisk);
  const fs::path path = dir.path() / "j";
  write_killed(dir.path() / "scratch", path);
  std::size_t cut = 0;
  for (const auto& entry : fs::directory_iterator(path / "db")) {
    if (entry.path().extension() != ".log" || entry.file_size() < 10'000) continue;
    std::string bytes = slurp(entry.path());
    bytes[bytes.size() / 4] = static_cast<char>(bytes[bytes.size() / 4] ^ 1);
    spill(entry.path(), bytes);
    ++cut;
  }
  ASSERT_EQ(cut, 1u);
  const auto journal = RocksJournal::open({.directory = path});
  ASSERT_TRUE(journal);
  ASSERT_EQ((*journal)->report().gaps.size(), 1u);
  const GapRecorded& gap = (*journal)->report().gaps[0];
  EXPECT_EQ(gap.gap, GapKind::kLost);
  EXPECT_EQ(gap.last, kEvents);
  EXPECT_GT(gap.first, 1u);
  ASSERT_FALSE(gap.kept_aside.empty());
  EXPECT_FALSE(fs::is_empty(gap.kept_aside));
}

}  // namespace
}  // namespace decklog::persistence
