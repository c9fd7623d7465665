#include "services/agent/direct_methods.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <regex>

#include "events/utf8.hpp"

namespace decklog::agent {
namespace {

namespace json = boost::json;
using Answer = std::function<void(uplink::MethodAnswer)>;

// The pattern is the caller's, and backtracking takes longer than the device lives: (a*)*b on a name of many
// a.
#ifdef __GLIBCXX__
constexpr auto kPatternKind = std::regex::ECMAScript | std::regex::icase | std::regex_constants::__polynomial;
#else
constexpr auto kPatternKind = std::regex::ECMAScript | std::regex::icase;
#endif

uplink::MethodAnswer refusal(int status, const std::string& message) {
  return {status, json::serialize(json::object{{"message", message}})};
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string member(const json::object& object, const char* name) {
  const auto* found = object.if_contains(name);
  return found && found->is_string() ? std::string(found->get_string()) : "";
}

void restart_module(Agent& agent, const json::object& payload, const Answer& answer) {
  const std::string id = member(payload, "id");
  if (id.empty()) return answer(refusal(400, "id: missing"));
  agent.command("restart", ModuleName(id), Actor("fleet"), "method/RestartModule", [answer](Status done) {
    answer(done ? uplink::MethodAnswer{200, "null"} : refusal(500, describe(done.error())));
  });
}

// One module's logs, gathered until the end of what is there.
struct Gathering {
  json::array items;
  std::size_t bytes = 0, open = 1;
  bool too_large = false;
  Answer answer;

  void closed() {
    if (--open > 0) return;
    if (too_large)
      return answer(refusal(400, "the logs are larger than 127000 bytes: ask for fewer with filter.tail"));
    answer({200, json::serialize(items)});
  }
};

void gather(Agent& agent, const ModuleName& name, const runtime::LogOptions& options,
            const std::shared_ptr<Gathering>& all) {
  auto* runtime = agent.modules().runtime_of(name);
  if (!runtime) return;
  ++all->open;
  auto text = std::make_shared<std::string>();
  auto handle = std::make_shared<runtime::Handle>();
  const auto sink = [all, text](const runtime::LogLine& line) {
    all->bytes += line.text.size() + 1;
    all->too_large = all->bytes > kMaxMethodLogBytes;
    *text += line.text + "\n";
    return !all->too_large;
  };
  *handle = runtime->logs(name, options, sink, [all, text, name, handle](Status) {
    all->items.push_back(json::object{{"id", name.value}, {"payload", well_formed(*text)}});
    all->closed();
    handle->reset();
  });
}

void module_logs(Agent& agent, const json::object& payload, const Answer& answer) {
  const auto* items = payload.if_contains("items");
  if (!items || !items->is_array()) return answer(refusal(400, "items: must be an array"));
  if (const auto encoding = member(payload, "encoding"); !encoding.empty() && encoding != "none")
    return answer(refusal(400, "encoding: only none is supported"));
  auto all = std::make_shared<Gathering>();
  all->answer = answer;
  for (const auto& item : items->get_array()) {
    if (!item.is_object()) return answer(refusal(400, "items: must hold objects"));
    const std::string id = member(item.get_object(), "id");
    runtime::LogOptions options;
    options.tail = 200;
    if (const auto* filter = item.get_object().if_contains("filter"); filter && filter->is_object()) {
      if (const auto* tail = filter->get_object().if_contains("tail"); tail && tail->is_int64())
        options.tail = static_cast<std::uint64_t>(std::clamp<std::int64_t>(tail->get_int64(), 1, 100000));
    }
    std::regex pattern;
    try {
      pattern = std::regex(id.size() > 128 ? "" : id, kPatternKind);
    } catch (const std::regex_error&) {
      return answer(refusal(400, "items.id: not a regular expression"));
    }
    for (const auto& [name, module] : agent.state().modules) {
      if (id == "all" || std::regex_match(name.value, pattern)) gather(agent, name, options, all);
    }
  }
  all->closed();
}

}  // namespace

void run_direct_method(Agent& agent, const uplink::MethodCall& call, Answer answer) {
  const std::string name = lower(call.name);
  if (name == "ping") return answer({200, "null"});
  json::error_code code;
  const auto payload = json::parse(call.payload, code);
  if (code || !payload.is_object()) return answer(refusal(400, "the payload must be a JSON object"));
  if (name == "restartmodule") return restart_module(agent, payload.get_object(), answer);
  if (name == "getmodulelogs") return module_logs(agent, payload.get_object(), answer);
  answer(refusal(400, "unknown method " + std::string(beginning_of(well_formed(call.name), 100))));
}

}  // namespace decklog::agent
