#include "services/hub/twins.hpp"

#include "services/iothub/topics.hpp"
#include "services/iothub/twin_rules.hpp"

namespace decklog::hub {

namespace json = boost::json;
using persistence::TwinName;
using persistence::TwinRecord;

namespace {

// Where an answer is from, where a patch has got to: Azure's label values.
constexpr const char *kFromCache = "edge_hub", *kFromFleet = "upstream";
constexpr const char *kTakenHere = "edge_hub", *kTakenUpstream = "upstream";

const std::string kDesiredTopic = iothub::desired_topic(1);

json::object parse_object(const std::string& text) {
  json::parse_options options;
  options.max_depth = 64;
  boost::system::error_code failed;
  auto value = json::parse(text, failed, {}, options);
  return !failed && value.is_object() ? std::move(value.get_object()) : json::object();
}

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::string id_of(const TwinName& name) {
  return Identity{name.device, name.module}.client_id();
}

TwinRecord record_of(persistence::TwinStore& store, const TwinName& name) {
  const auto* found = store.find(name);
  return found ? *found : TwinRecord();
}

// Something to answer with: the fleet's word, or at least what the client itself said.
bool known(const TwinRecord* record) {
  return record && !record->desired.empty();
}

}  // namespace

// ---- GET
// ------------------------------------------------------------------------------------------------------------

void Twins::get(const Identity& client, const std::string& rid) {
  const TwinName name{client.device, client.module};
  Live& now = live(name);
  const MonoTime asked = parts_.surroundings.now().mono;
  if (!link_up_ || now.fresh) return answer(name, rid, kFromCache, asked);
  if (now.waiting.size() >= kMaxTwinGetsPerClient)
    return fail(name, rid, 429, "too many twin requests at once");
  if (now.waiting.empty()) {
    now.waiting_since = asked;
    now.waiting_until = asked + kTwinFetchDeadline;
  }
  now.waiting.push_back(rid);
  watch(name);
  if (now.fetching == 0) fetch(name);
}

void Twins::fetch(const Name& name) {
  live(name).fetching = 2;
  const uplink::TwinKey key{name.device, name.module};
  parts_.uplink.get_desired(key, [this, name, alive = parts_.alive](const Result<uplink::TwinValue>& value) {
    if (alive.expired()) return;
    if (value)
      take_desired(name, *value);
    else
      live(name).fresh = false;
    fetch_over(name);
  });
  parts_.uplink.get_reported(key, [this, name, alive = parts_.alive](const Result<uplink::TwinValue>& value) {
    if (alive.expired()) return;
    if (value) fetched_reported(name, *value);
    fetch_over(name);
  });
}

void Twins::fetched_reported(const Name& name, const uplink::TwinValue& value) {
  TwinRecord record = record_of(parts_.store, name);
  const json::object theirs = iothub::without_metadata(parse_object(value.json));
  json::object ours = theirs;
  if (!record.pending_patch.empty()) {
    const json::object pending = parse_object(record.pending_patch);
    const auto* base = pending.if_contains("base");
    const auto* patch = pending.if_contains("patch");
    if (base && base->is_object())
      iothub::merge_patch(ours, iothub::difference(base->get_object(), parse_object(record.reported)));
    else if (patch && patch->is_object())
      iothub::apply_pending(ours, patch->get_object());
  }
  const bool same = ours == theirs;
  record.reported = json::serialize(ours);
  record.pending_patch = same ? "" : json::serialize(json::object{{"base", theirs}});
  record.pending_base = value.revision;
  record.reported_version = std::max(record.reported_version, value.revision);
  record.last_sync = parts_.surroundings.now().wall;
  if (!put(name, record)) return;
  same ? pending_.erase(name) : pending_.insert(name).second;
}

void Twins::fetch_over(const Name& name) {
  Live& now = live(name);
  if (now.fetching > 0) --now.fetching;
  if (now.fetching > 0) return;
  const auto* record = parts_.store.find(name);
  now.fresh = link_up_ && known(record);
  answer_waiting(name, now.fresh ? kFromFleet : kFromCache);
  send_reported(name);
}

void Twins::answer_waiting(const Name& name, const char* source) {
  const auto rids = std::exchange(live(name).waiting, {});
  for (const auto& rid : rids) answer(name, rid, source, live(name).waiting_since);
  catch_up(name);
}

void Twins::answer(const Name& name, const std::string& rid, const char* source, MonoTime asked) {
  const auto* record = parts_.store.find(name);
  if (!known(record)) return fail(name, rid, 503, "the twin is not known yet and the fleet is out of reach");
  const std::string body = iothub::twin_answer(parse_object(record->desired), record->desired_version,
                                               parse_object(record->reported), record->reported_version);
  live(name).seen.reset();
  const Duration took = parts_.surroundings.now().mono - asked;
  parts_.stats.get_twin.at({source, id_of(name)}).add(seconds(took));
  parts_.clients.send(id_of(name), iothub::twin_response_topic(200, rid), body, mqtt::Qos::kAtMostOnce);
}

void Twins::fail(const Name& name, const std::string& rid, int status, std::string_view why) {
  parts_.clients.send(id_of(name), iothub::twin_response_topic(status, rid), iothub::twin_error(status, why),
                      mqtt::Qos::kAtMostOnce);
}

// ---- reported
// -------------------------------------------------------------------------------------------------------

bool Twins::patch(const Identity& client, const std::string& rid, std::string_view body) {
  const MonoTime begun = parts_.surroundings.now().mono;
  const TwinName name{client.device, client.module};
  const auto patch = iothub::parse_reported_patch(body);
  if (!patch) return fail(name, rid, 400, describe(patch.error())), false;
  TwinRecord record = record_of(parts_.store, name);
  const bool synced = record.last_sync.ns != 0;
  json::object before = parse_object(record.reported);
  json::object after = before;
  iothub::merge_patch(after, *patch);
  if (const auto good = iothub::check_twin_part(after); !good) {
    return fail(name, rid, 400, describe(good.error())), false;
  }
  if (synced) {
    if (record.pending_patch.empty()) record.pending_patch = json::serialize(json::object{{"base", before}});
  } else {  // no base to compare with: the patches themselves
    json::object pending = parse_object(record.pending_patch);
    json::value& all = pending["patch"];
    if (!all.is_object()) all = json::object();
    iothub::merge_pending(all.get_object(), *patch);
    record.pending_patch = json::serialize(pending);
  }
  record.reported = json::serialize(after);
  ++record.reported_version;
  if (!put(name, record)) return fail(name, rid, 503, "the twin cannot be stored now"), false;
  pending_.insert(name);
  const MonoTime kept = parts_.surroundings.now().mono;
  parts_.stats.reported.at({kTakenHere, client.client_id()}).add(seconds(kept - begun));
  if (live(name).unsent_since.ns == 0) live(name).unsent_since = begun;
  parts_.clients.send(id_of(name), iothub::twin_response_topic(204, rid, record.reported_version), "",
                      mqtt::Qos::kAtMostOnce);
  parts_.changed(client, json::serialize(*patch));
  send_reported(name);
  return true;
}

bool Twins::put(const Name& name, const TwinRecord& record) {
  const auto written = parts_.store.put(name, record);
  if (!written) parts_.remarks.say("twin", id_of(name), "not stored: " + describe(written.error()));
  return written.has_value();
}

void Twins::send_reported(const Name& name) {
  Live& now = live(name);
  if (!link_up_ || now.sending || now.fetching > 0 || !pending_.contains(name) || sending_ >= kMaxTwinPuts)
    return;
  if (parts_.surroundings.now().mono < now.retry_at) return;
  const auto* record = parts_.store.find(name);
  if (!record || record->pending_patch.empty()) {
    pending_.erase(name);
    return;
  }
  // Without knowing what is there, merging comes first.
  if (record->last_sync.ns == 0) return fetch(name);
  now.sending = true;
  ++sending_;
  const std::string document = record->reported;
  parts_.uplink.put_reported(
      {name.device, name.module}, document, record->pending_base,
      [this, name, document, alive = parts_.alive](const Result<std::uint64_t>& revision) {
        if (!alive.expired()) sent(name, document, revision);
      });
}

void Twins::sent(const Name& name, const std::string& document, const Result<std::uint64_t>& revision) {
  Live& now = live(name);
  now.sending = false;
  --sending_;
  if (!revision) {
    if (revision.error().code == Errc::kConflict) return fetch(name);  // merge with what is there, then again
    return retry_later(name, revision.error());
  }
  now.pause = {};
  const MonoTime time = parts_.surroundings.now().mono;
  // How long a patch of an earlier run took is not known.
  if (now.unsent_since.ns == 0) now.unsent_since = time;
  parts_.stats.reported.at({kTakenUpstream, id_of(name)}).add(seconds(time - now.unsent_since));
  TwinRecord record = record_of(parts_.store, name);
  const bool whole = record.reported == document;  // nothing came meanwhile
  now.unsent_since = whole ? MonoTime{} : time;
  record.pending_patch = whole ? "" : json::serialize(json::object{{"base", parse_object(document)}});
  record.pending_base = *revision;
  record.reported_version = std::max(record.reported_version, *revision);
  record.last_sync = parts_.surroundings.now().wall;
  if (!put(name, record)) return retry_later(name, error(Errc::kNoSpace, "not stored"));
  if (whole) {
    pending_.erase(name);
  } else {
    send_reported(name);
  }
}

void Twins::retry_later(const Name& name, const Error& why) {
  Live& now = live(name);
  ++parts_.stats.retries.at({"reported", id_of(name)});
  now.pause = now.pause.count() == 0 ? kTwinRetryFirst : std::min(2 * now.pause, kTwinRetryCap);
  now.retry_at = parts_.surroundings.now().mono + now.pause;
  if (link_up_) parts_.remarks.say("twin", id_of(name), "reported properties wait: " + describe(why));
}

// ---- desired
// --------------------------------------------------------------------------------------------------------

void Twins::on_desired(const Identity& client, const uplink::TwinValue& value) {
  const TwinName name{client.device, client.module};
  take_desired(name, value);
  catch_up(name);
}

void Twins::take_desired(const Name& name, const uplink::TwinValue& value) {
  TwinRecord record = record_of(parts_.store, name);
  const json::object before = parse_object(record.desired);
  const bool known_before = !record.desired.empty();
  const json::object after = iothub::without_metadata(parse_object(value.json));
  if (known_before && record.desired_version == value.revision && before == after) return;
  record.desired = json::serialize(after);
  record.desired_version = value.revision;
  if (!put(name, record)) return;
  Live& now = live(name);
  // Only who asked for changes has anything to miss.
  if (known_before || now.watched) {
    if (!now.seen && parts_.clients.subscribed(id_of(name), kDesiredTopic)) now.seen = before;
  }
}

// The change goes out when the client is there and no GET waits; until then it grows.
void Twins::catch_up(const Name& name) {
  Live& now = live(name);
  if (!now.seen || !now.waiting.empty()) return;
  const std::string id = id_of(name);
  if (!parts_.clients.subscribed(id, kDesiredTopic)) return now.seen.reset();
  const auto* record = parts_.store.find(name);
  if (!record) return now.seen.reset();
  json::object patch = iothub::difference(*now.seen, parse_object(record->desired));
  patch["$version"] = record->desired_version;
  if (parts_.clients.send(id, iothub::desired_topic(record->desired_version), json::serialize(patch),
                          mqtt::Qos::kAtLeastOnce)) {
    now.seen.reset();
  }
}

void Twins::watch(const Name& name) {
  Live& now = live(name);
  if (std::exchange(now.watched, true)) return;
  parts_.uplink.watch_desired({name.device, name.module});
}

void Twins::on_ready(const Identity& client) {
  const TwinName name{client.device, client.module};
  if (!parts_.clients.subscribed(client.client_id(), kDesiredTopic)) return;
  watch(name);
  catch_up(name);
}

// ---- the link, and time
// ---------------------------------------------------------------------------------------------

void Twins::on_link(bool up) {
  if (up == link_up_) return;
  link_up_ = up;
  for (auto& [name, now] : live_) {
    now.fresh = false;
    now.retry_at = {};
    now.pause = {};
    if (!up && !now.waiting.empty()) {
      now.fetching = 0;
      answer_waiting(name, kFromCache);
    }
  }
  if (!up) return;
  // Clients of earlier runs whose sessions are kept: what changes before they come back must not be missed.
  for (const auto& name : parts_.store.all()) {
    if (parts_.clients.subscribed(id_of(name), kDesiredTopic)) watch(name);
  }
  for (const auto& name : parts_.store.with_pending_patch()) pending_.insert(name);
  tick();
}

void Twins::tick() {
  const MonoTime time = parts_.surroundings.now().mono;
  for (auto& [name, now] : live_) {
    if (!now.waiting.empty() && now.waiting_until < time) {
      now.fetching = 0;
      answer_waiting(name, kFromCache);
    } else if (now.seen) {
      catch_up(name);
    }
  }
  if (!link_up_) return;
  const auto pending = pending_;
  for (const auto& name : pending) send_reported(name);
}

}  // namespace decklog::hub
