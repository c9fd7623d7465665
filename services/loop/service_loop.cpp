#include "services/loop/service_loop.hpp"

#include <boost/asio/post.hpp>

#include "persistence/merkle.hpp"

namespace decklog::loop {

namespace asio = boost::asio;

ServiceLoop::ServiceLoop(asio::any_io_executor executor, persistence::Journal& journal, Core& core,
                         Surroundings& surroundings, LoopOptions options)
    : executor_(std::move(executor)),
      journal_(journal),
      core_(core),
      surroundings_(surroundings),
      options_(std::move(options)),
      next_(journal.next_sequence()),
      released_through_(journal.durable_sequence()),
      retry_(executor_),
      alive_(std::make_shared<int>(0)) {}

ServiceLoop::~ServiceLoop() = default;

Envelope ServiceLoop::envelope(Fact fact) {
  Envelope event;
  event.sequence = next_;
  event.stream = stream_of(fact);
  event.time = surroundings_.now();
  event.boot = surroundings_.boot();
  event.clock = surroundings_.clock_state();
  event.build = options_.build;
  event.fact = std::move(fact);
  return event;
}

void ServiceLoop::submit(Fact input, Actor actor, Correlation correlation, Accepted accepted) {
  look_at_clock(surroundings_.now());
  submit_now(std::move(input), std::move(actor), std::move(correlation), std::move(accepted));
}

void ServiceLoop::submit_now(Fact input, Actor actor, Correlation correlation, Accepted accepted) {
  ++stats_.inputs;
  if (!core_.matters(input)) {
    ++stats_.inputs_dropped;
    if (accepted)
      asio::post(executor_, [accepted = std::move(accepted), at = released_through_] { accepted(at); });
    return;
  }
  Envelope event = envelope(std::move(input));
  event.random = surroundings_.random();
  event.actor = std::move(actor);
  event.correlation = std::move(correlation);
  auto step = std::make_shared<Step>();
  std::vector<Envelope> decisions = core_.take(event);
  step->events.reserve(1 + decisions.size());
  step->events.push_back(std::move(event));
  for (auto& decision : decisions) step->events.push_back(std::move(decision));
  step->accepted = std::move(accepted);
  append(std::move(step));
}

void ServiceLoop::note(Fact fact, Sequence cause) {
  auto step = std::make_shared<Step>();
  step->events.push_back(envelope(std::move(fact)));
  step->events.back().cause = cause;
  step->events.back().may_ignore = true;
  core_.fold(step->events.back());
  append(std::move(step));
}

// The wall clock stepping is an input of its own: readers restate earlier times with it.
void ServiceLoop::look_at_clock(const Instant& now) {
  const std::int64_t difference = now.wall.ns - now.mono.ns;
  const std::int64_t step = difference - wall_minus_mono_;
  wall_minus_mono_ = difference;
  if (!std::exchange(clock_known_, true)) return;
  if (step > options_.clock_step_least.count() || step < -options_.clock_step_least.count()) {
    submit_now(ClockStepped{step}, {}, {}, {});
  }
}

void ServiceLoop::append(std::shared_ptr<Step> step) {
  next_ = step->events.back().sequence.next();
  since_snapshot_ += step->events.size();
  if (stats_.degraded) {
    stats_.not_written += step->events.size();
    asio::post(executor_, [this, step, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) release(*step);
    });
    return;
  }
  ++in_flight_;
  journal_.append(step->events,
                  [this, step, executor = executor_, alive = std::weak_ptr(alive_)](Status status) {
                    asio::post(executor, [this, step, status = std::move(status), alive] {
                      if (!alive.expired()) finished(step, status);
                    });
                  });
  // At least two: a snapshot is an event itself.
  if (since_snapshot_ >= std::max<std::uint64_t>(options_.snapshot_every_events, 2)) take_snapshot();
}

void ServiceLoop::finished(const std::shared_ptr<Step>& step, const Status& status) {
  --in_flight_;
  if (status) {
    stats_.events += step->events.size();
    released_through_ = step->events.back().sequence;
  } else {
    stats_.not_written += step->events.size();
    degrade(status.error());
  }
  release(*step);
}

void ServiceLoop::release(const Step& step) {
  for (const auto& event : step.events) {
    if (released_) released_(event);
  }
  if (step.accepted) step.accepted(step.events.back().sequence);
  if (!notes_ || stats_.degraded) return;
  for (const auto& event : step.events) {
    for (auto& fact : notes_(event)) note(std::move(fact), event.sequence);
  }
}

void ServiceLoop::degrade(const Error&) {
  if (std::exchange(stats_.degraded, true)) return;
  try_store_again();
}

// Asks the store, at intervals, whether it takes an event again: the gap record itself is the question.
void ServiceLoop::try_store_again() {
  retry_.expires_after(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(options_.retry_store_every));
  retry_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code failed) {
    if (failed || alive.expired()) return;
    if (probing_ || in_flight_ > 0) return try_store_again();
    probing_ = true;
    const std::uint64_t lost = stats_.not_written;
    next_ = journal_.next_sequence();
    GapRecorded gap{.gap = GapKind::kNotWritten, .count = lost, .reason = "the store refused events"};
    const std::vector<Envelope> step{envelope(std::move(gap))};
    journal_.append(step, [this, lost, executor = executor_, alive](Status status) {
      boost::asio::post(executor, [this, lost, ok = status.has_value(), alive] {
        if (alive.expired()) return;
        probing_ = false;
        if (ok)
          recovered(lost);
        else
          try_store_again();
      });
    });
  });
}

void ServiceLoop::recovered(std::uint64_t lost) {
  stats_.degraded = false;
  // What was lost while the gap record was on its way gets a record of its own.
  const std::uint64_t since = stats_.not_written - lost;
  stats_.not_written = 0;
  next_ = journal_.next_sequence();
  released_through_ = journal_.durable_sequence();
  if (since > 0)
    note(GapRecorded{.gap = GapKind::kNotWritten, .count = since, .reason = "the store refused events"});
  submit_now(StoreObserved{.store = "journal", .message = "takes events again"}, {}, {}, {});
  take_snapshot();
}

void ServiceLoop::want_snapshot() {
  take_snapshot();
}

void ServiceLoop::take_snapshot() {
  since_snapshot_ = 0;
  if (stats_.degraded) return;
  persistence::Snapshot snapshot;
  snapshot.through = Sequence{next_.value - 1};
  if (!snapshot.through) return;
  snapshot.name = persistence::kStateSnapshot;
  snapshot.bytes = core_.snapshot();
  // The digest is in the log, so that a replay can show that it came to the same state.
  SnapshotTaken taken{.through = snapshot.through.value,
                      .digest = persistence::to_hex(persistence::Sha256()({snapshot.bytes})),
                      .size = snapshot.bytes.size()};
  journal_.put_snapshot(std::move(snapshot), [](Status) {});
  const Sequence through{taken.through};
  note(std::move(taken), through);
}

}  // namespace decklog::loop
