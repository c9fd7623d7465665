#include "persistence/rocks_journal.hpp"

#include <pthread.h>
#include <sys/stat.h>

#include "events/codec.hpp"
#include "persistence/journal_frame.hpp"
#include "persistence/rocks_journal_impl.hpp"
#include "persistence/step_check.hpp"

namespace decklog::persistence {
namespace {

// While a store that failed is opened again.
Error closed() {
  return error(Errc::kUnavailable, "the store is not open at the moment");
}

}  // namespace

RocksJournal::Impl::Impl(RocksJournalOptions options, FileHandle lock, OpenedJournal opened)
    : options_(std::move(options)),
      report_(std::move(opened.report)),
      durable_(opened.next - 1),
      first_(report_.first.value),
      next_(opened.next),
      db_(std::move(opened.db)),
      identity_(std::move(opened.identity)),
      lock_(std::move(lock)),
      mark_(std::move(opened.mark)) {
  const auto states = db_->snapshots(kStateSnapshot);
  newest_state_ = states.empty() ? 0 : states.back();
  reserve_made_ = make_reserve(options_.directory).has_value();
  unaccounted_bytes_ = options_.budget_bytes;  // measure with the first group
  stats_.bytes_budget = options_.budget_bytes;
  stats_.bytes_used = bytes_on_disk(options_.directory / "db");
  committer_ = std::thread([this] { run(); });
  pthread_setname_np(committer_.native_handle(), "journal");
}

RocksJournal::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  committer_.join();
  // A closed journal needs no log, and its mark says that it ended in order. What fails here is found at the
  // next open.
  if (!degraded_ && db_ && db_->flush_all().has_value()) {
    if (mark_.write({identity_.epoch, durable_, true}).has_value()) (void)mark_.sync();
  }
}

void RocksJournal::Impl::append(std::span<const Envelope> step, Done done) {
  Item item;
  item.done = std::move(done);
  item.events = step.size();
  item.control = is_control_step(step);
  for (const Envelope& event : step) {
    const std::string bytes = encode(event);
    if (bytes.size() > kMaxEventBytes) {
      item.status = error(Errc::kTooLarge, "event larger than 2 MiB",
                          "sequence " + std::to_string(event.sequence.value));
      break;
    }
    append_frame(info(event.fact).lifecycle ? item.lifecycle : item.detail, event.sequence.value, bytes);
    const std::uint64_t bucket = event.sequence.value / kIndexBucketEvents;
    const auto same = [&](const auto& seen) {
      return seen.first == bucket && seen.second == event.stream.value;
    };
    if (std::none_of(item.streams.rbegin(), item.streams.rend(), same)) {
      item.streams.emplace_back(bucket, event.stream.value);
    }
    if (const auto* gap = std::get_if<GapRecorded>(&event.fact)) item.gaps.push_back(*gap);
  }
  const std::lock_guard lock(mutex_);
  if (item.status) item.status = check_step(step, {next_});
  if (item.status && queued_bytes_ > options_.waiting_bytes_max) {
    item.status = error(Errc::kUnavailable, "too much waits to become durable");
  }
  if (item.status) {
    item.first = next_;
    next_ += step.size();
  } else {
    stats_.events_refused += step.size();
  }
  enqueue(std::move(item));
}

void RocksJournal::Impl::put_snapshot(Snapshot snapshot, Done done) {
  Item item;
  item.done = std::move(done);
  const std::lock_guard lock(mutex_);
  item.status = check_snapshot(snapshot, {next_ - 1});
  if (item.status) item.snapshot = std::move(snapshot);
  enqueue(std::move(item));
}

void RocksJournal::Impl::enqueue(Item item) {
  queued_bytes_ += item.bytes();
  queue_.push_back(std::move(item));
  if (!busy_) work_.notify_one();
}

void RocksJournal::Impl::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    busy_ = true;
    Items group = take_group();
    lock.unlock();
    const Status status = commit(group);
    finish(group, status);
    lock.lock();
    busy_ = false;
    if (queue_.empty()) idle_.notify_all();
  }
}

RocksJournal::Impl::Items RocksJournal::Impl::take_group() {
  Items group;
  std::size_t events = 0;
  std::size_t bytes = 0;
  while (!queue_.empty()) {
    const Item& item = queue_.front();
    const bool fits =
        events + item.events <= options_.group_events_max && bytes + item.bytes() <= options_.group_bytes_max;
    // Notes of the log itself go alone when the disk is full: only they may use the reserve.
    if (!group.empty() && (!fits || (degraded_ && group.back().control != item.control))) break;
    events += item.events;
    bytes += item.bytes();
    queued_bytes_ -= item.bytes();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return group;
}

void RocksJournal::Impl::finish(Items& group, const Status& status) {
  if (status.has_error()) {
    // What waits behind it was decided on top of it and carries later sequences: it fails with the same
    // error.
    const std::lock_guard lock(mutex_);
    while (!queue_.empty()) {
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    queued_bytes_ = 0;
    next_ = durable_ + 1;
    for (const Item& item : group) stats_.events_refused += item.status ? item.events : 0;
    stats_.degraded = degraded_;
  }
  for (Item& item : group) {
    if (item.status) item.status = status;
    if (item.status.has_error()) {
      const std::lock_guard lock(mutex_);
      if (first_failure_) first_failure_ = item.status;
    }
    if (item.done) item.done(std::move(item.status));
  }
}

Status RocksJournal::Impl::flush() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return queue_.empty() && !busy_; });
  return std::exchange(first_failure_, Status{});
}

JournalStats RocksJournal::Impl::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::uint64_t RocksJournal::Impl::next() const {
  const std::lock_guard lock(mutex_);
  return next_;
}

JournalIdentity RocksJournal::Impl::identity() const {
  const std::lock_guard lock(mutex_);
  return identity_;
}

std::shared_ptr<JournalDb> RocksJournal::Impl::db() const {
  const std::lock_guard lock(mutex_);
  return db_;
}

Result<std::unique_ptr<RocksJournal>> RocksJournal::open(RocksJournalOptions options) {
  std::error_code failure;
  std::filesystem::create_directories(options.directory.parent_path(), failure);
  if (::mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return errno_error("cannot create", options.directory);
  }
  if (options.budget_bytes < kLeastBudgetBytes) {
    return error(Errc::kInvalidArgument, "the byte budget is at least 4 MiB", "journal.budget");
  }
  auto lock = lock_directory(options.directory);
  if (!lock) return lock.error();
  auto opened = open_journal(options.directory, options.budget_bytes);
  if (!opened) return opened.error();
  return std::unique_ptr<RocksJournal>(
      new RocksJournal(std::make_unique<Impl>(std::move(options), std::move(*lock), std::move(*opened))));
}

RocksJournal::RocksJournal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksJournal::~RocksJournal() = default;
const JournalReport& RocksJournal::report() const {
  return impl_->report_;
}
Sequence RocksJournal::first_sequence() const {
  return {impl_->first_};
}
Sequence RocksJournal::complete_from() const {
  const auto db = impl_->db();
  return {db ? db->cuts().highest() + 1 : 1};
}
Sequence RocksJournal::durable_sequence() const {
  return {impl_->durable_};
}
std::uint64_t RocksJournal::epoch() const {
  return impl_->identity().epoch;
}
std::string RocksJournal::leaf_salt() const {
  return impl_->identity().salt;
}
Sequence RocksJournal::next_sequence() const {
  return {impl_->next()};
}
void RocksJournal::append(std::span<const Envelope> step, Done done) {
  impl_->append(step, std::move(done));
}
void RocksJournal::put_snapshot(Snapshot snapshot, Done done) {
  impl_->put_snapshot(std::move(snapshot), std::move(done));
}
Status RocksJournal::flush() {
  return impl_->flush();
}
JournalStats RocksJournal::stats() const {
  return impl_->stats();
}

Status RocksJournal::read(Sequence from, Sequence to, const Visitor& visitor) const {
  return read_decoded(visitor, [&](const RawVisitor& raw) { return read_raw(from, to, raw); });
}

Status RocksJournal::read_raw(Sequence from, Sequence to, const RawVisitor& visitor) const {
  const std::uint64_t durable = impl_->durable_;
  const auto db = impl_->db();
  return db ? db->read_raw(from.value, to.value, durable, visitor) : closed();
}

Status RocksJournal::read_stream(const StreamId& stream, Sequence from, const Visitor& visitor) const {
  const std::uint64_t durable = impl_->durable_;
  const auto db = impl_->db();
  return db ? db->read_stream(stream, from.value, durable, visitor) : closed();
}

Result<Snapshot> RocksJournal::latest_snapshot(std::string_view name, Sequence at) const {
  const auto db = impl_->db();
  if (!db) return closed();
  return db->latest_snapshot(name, at.value);
}

}  // namespace decklog::persistence
