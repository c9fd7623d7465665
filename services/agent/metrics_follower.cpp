#include "services/agent/metrics_follower.hpp"

#include "events/codec.hpp"
#include "services/agent/telemetry.hpp"

namespace decklog::agent {
namespace {

observability::Tally restore_tally(const persistence::Journal& journal) {
  const auto saved = journal.latest_snapshot(observability::kTallySnapshot, journal.durable_sequence());
  if (!saved) return {};
  // Counters that do not read cost a longer start: they are counted again from the log.
  auto tally = observability::Tally::from_json(saved->bytes);
  return tally && tally->through == saved->through ? std::move(*tally) : observability::Tally{};
}

persistence::TreeHasher restore_tree(const persistence::Journal& journal) {
  auto tree = persistence::TreeHasher::restore(journal);
  return tree ? std::move(*tree) : persistence::TreeHasher(journal.leaf_salt(), journal.epoch());
}

// What people see of a device changes only by these.
bool shows(const Fact& fact) {
  if (const auto* module = std::get_if<ModuleTransitioned>(&fact)) return module->from != module->to;
  return std::holds_alternative<DeploymentTransitioned>(fact);
}

bool pass_over(const persistence::MissingRange&) {
  return true;
}

}  // namespace

JournalFollower::JournalFollower(persistence::Journal& journal, Sequence reported_through)
    : journal_(journal),
      tally_(restore_tally(journal)),
      tree_(restore_tree(journal)),
      read_(std::min({tally_.through, Sequence{tree_.size()}, reported_through})) {
  catch_up();
}

void JournalFollower::take(const Envelope& event) {
  if (event.sequence > tally_.through) tally_.take(event);
  if (shows(event.fact) && decisions_.size() < kMostLagEvents) decisions_.push_back(event.sequence.value);
}

void JournalFollower::catch_up() {
  const Sequence newest = journal_.durable_sequence();
  if (newest <= read_) return;
  const persistence::RawVisitor visitor{[this](const persistence::RawEvent& raw) {
                                          if (const auto event = decode(raw.bytes)) {
                                            tree_.add(*event, raw.bytes);
                                            take(*event);
                                          }
                                          return true;
                                        },
                                        pass_over};
  (void)journal_.read_raw(read_.next(), newest, visitor);
  read_ = newest;
}

std::uint64_t JournalFollower::behind() const {
  return journal_.durable_sequence().value - std::min(read_.value, journal_.durable_sequence().value);
}

std::uint64_t JournalFollower::unreported(Sequence reported) {
  while (!decisions_.empty() && decisions_.front() <= reported.value) decisions_.pop_front();
  return decisions_.size();
}

void JournalFollower::save_tally() {
  if (!tally_.through) return;
  journal_.put_snapshot({tally_.through, std::string(observability::kTallySnapshot), tally_.to_json()},
                        [](Status) {});
}

void JournalFollower::save_tree() {
  if (tree_.size() != 0) journal_.put_snapshot(tree_.save(), [](Status) {});
}

}  // namespace decklog::agent
