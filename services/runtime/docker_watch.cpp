// Is the engine there, and what do its containers do: events with resume, and a list now and then because an
// event stream may lose some.
#include <algorithm>
#include <chrono>

#include "services/runtime/docker_core.hpp"

namespace decklog::runtime {
namespace {

constexpr auto kQuiet = std::chrono::seconds(1);

auto steady(Duration duration) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration);
}

// Actions that say nothing about a module's state.
bool is_noise(const std::string& action) {
  return action.starts_with("exec_") || action == "attach" || action == "top" || action == "resize" ||
         action == "export" || action == "archive-path" || action == "extract-to-dir";
}

}  // namespace

void DockerCore::begin(ModuleRuntime::Listener listener) {
  listener_ = std::move(listener);
  started_ = true;
  known_.clear();
  engine_up_.reset();
  retry_pause_ = options_.retry_min;
  later([this] { check_engine(); });
  relist_later();
}

// There means: it tells its version and lists our containers. Then everything is looked at again.
void DockerCore::check_engine() {
  if (!started_ || checking_) return;
  checking_ = true;
  check_armed_ = false;
  retry_timer_.cancel();
  version_.clear();
  relist([this](Status listed) {
    checking_ = false;
    last_check_ = std::chrono::steady_clock::now();
    set_engine(listed);
    if (!listed) return retry_later();
    open_events();
  });
}

void DockerCore::set_engine(Status status) {
  const bool up = status.has_value();
  if (!up && events_) std::exchange(events_, nullptr)->cancel();
  if (engine_up_ == up) return;
  engine_up_ = up;
  if (listener_.on_engine) listener_.on_engine(status);
}

// Some exchange failed, or the events ended: ask whether the engine is there at all. At once when all was
// quiet, else less and less often, so that an engine that answers half of our questions is not asked in a
// tight circle.
void DockerCore::suspect() {
  if (!started_ || checking_ || check_armed_ || engine_up_ == false) return;
  if (std::chrono::steady_clock::now() - last_check_ < kQuiet) return retry_later();
  retry_pause_ = options_.retry_min;
  check_armed_ = true;
  later([this] { check_engine(); });
}

void DockerCore::retry_later() {
  check_armed_ = true;
  retry_timer_.expires_after(steady(retry_pause_));
  retry_pause_ = std::min(retry_pause_ * 2, options_.retry_max);
  retry_timer_.async_wait(
      [this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& cancelled) {
        if (!cancelled && alive.lock()) check_engine();
      });
}

void DockerCore::open_events() {
  if (events_) std::exchange(events_, nullptr)->cancel();
  events_ = std::make_shared<DockerOperation>();
  event_lines_ = LineBuffer(1 << 20);
  std::string target = "/events?filters=" + label_filter({{kOwnerLabel, options_.owner}}, "container");
  if (last_event_ns_ > 0) {
    char since[48];
    std::snprintf(since, sizeof since, "&since=%lld.%09lld",
                  static_cast<long long>(last_event_ns_ / 1'000'000'000),
                  static_cast<long long>(last_event_ns_ % 1'000'000'000));
    target += since;
  }
  EngineRequest asked = request("GET", version_ + target);
  asked.deadline = {};
  events_->current = client_.stream(
      std::move(asked), [this](std::string_view bytes) { return on_event_bytes(bytes); },
      [this](Reply) {
        events_.reset();
        suspect();
      });
}

bool DockerCore::on_event_bytes(std::string_view bytes) {
  std::vector<std::string> lines;
  if (!event_lines_.feed(bytes, lines)) return false;
  for (const auto& line : lines) {
    const auto event = parse_event(line);
    if (!event) return false;
    last_event_ns_ = std::max(last_event_ns_, event->time_ns);
    if (!event->module.empty() && !is_noise(event->action)) look(event->module);
  }
  return true;
}

// At most one look at a module is under way; what happens meanwhile asks for one more.
void DockerCore::look(const ModuleName& name) {
  const auto [entry, first] = looks_.try_emplace(name);
  if (!first) {
    entry->second.again = true;
    return;
  }
  inspect(name, [this, name](Result<Observation> seen) {
    const bool again = looks_[name].again;
    looks_.erase(name);
    if (seen) {
      publish(*seen);
    } else if (seen.error().code == Errc::kNotFound) {
      publish_absent(name);
    }
    if (again) look(name);
  });
}

void DockerCore::publish(const Observation& seen) {
  const auto found = known_.find(seen.name);
  if (found != known_.end() && found->second.last == seen) return;
  known_[seen.name].last = seen;
  if (listener_.on_module) listener_.on_module(seen);
}

void DockerCore::publish_absent(const ModuleName& name) {
  if (known_.erase(name) == 0) return;
  Observation seen;
  seen.name = name;
  seen.presence = Presence::kAbsent;
  if (listener_.on_module) listener_.on_module(seen);
}

void DockerCore::relist(Callback<void> then) {
  const std::string filter = label_filter({{kOwnerLabel, options_.owner}});
  EngineRequest asked = request("GET", "/containers/json?all=1&filters=" + filter);
  asked.deadline = options_.check_deadline;
  call(nullptr, std::move(asked), [this, then = std::move(then)](Reply reply) {
    if (!reply) return then(reply.error());
    if (!reply->ok()) return then(engine_refusal(*reply, "list containers"));
    const auto entries = parse_containers(reply->body);
    if (!entries) return then(entries.error());
    std::set<ModuleName> gone;
    for (const auto& [name, known] : known_) gone.insert(name);
    for (const auto& entry : *entries) {
      gone.erase(entry.module);
      const std::string state = entry.id + " " + entry.state;
      const auto known = known_.find(entry.module);
      if (known != known_.end() && known->second.entry_state == state) continue;
      if (known != known_.end()) known->second.entry_state = state;
      look(entry.module);
    }
    for (const auto& name : gone) look(name);
    then({});
  });
}

void DockerCore::relist_later() {
  relist_timer_.expires_after(steady(options_.relist_period));
  relist_timer_.async_wait(
      [this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& cancelled) {
        if (cancelled || !alive.lock()) return;
        if (engine_up_ == true && !checking_) {
          relist([this](Status listed) {
            if (!listed) suspect();
          });
        }
        relist_later();
      });
}

}  // namespace decklog::runtime
