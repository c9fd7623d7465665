#include "services/cli/what_if_verb.hpp"

#include <boost/json.hpp>
#include <cstdio>

#include "services/audit/regression.hpp"
#include "services/audit/sentences.hpp"
#include "services/audit/what_if.hpp"
#include "services/cli/json_parts.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

unsigned long long number(std::uint64_t value) {
  return value;
}

json::value event_or_null(const std::optional<Envelope>& event) {
  return event ? json::value(event_object(*event)) : json::value(nullptr);
}

json::object what_if_object(const audit::WhatIfReport& report, const std::vector<std::string>& changes) {
  json::object counts{{"inputs", report.inputs},
                      {"fed", report.fed},
                      {"moved", report.moved},
                      {"noNews", report.no_news},
                      {"dropped", report.dropped},
                      {"passedOver", report.passed_over},
                      {"notReached", report.not_reached},
                      {"timersOfItsOwn", report.timers},
                      {"looksOfItsOwn", report.looks},
                      {"decisions", report.decisions}};
  json::object out{{"hypothetical", true},
                   {"changes", text_array(changes)},
                   {"first", report.first.value},
                   {"last", report.last.value},
                   {"counts", std::move(counts)},
                   {"departure", nullptr},
                   {"passedOver", text_array(report.passed)},
                   {"unanswered", text_array(report.unanswered)},
                   {"notes", text_array(report.notes)}};
  if (const auto& departure = report.departure) {
    out["departure"] =
        json::object{{"input", departure->input ? json::value(departure->input.value) : json::value(nullptr)},
                     {"text", departure->input_text},
                     {"recorded", event_or_null(departure->recorded)},
                     {"hypothetical", event_or_null(departure->told)},
                     {"fields", field_array(departure->fields)}};
  }
  json::array streams, end;
  for (const auto& stream : report.streams)
    streams.push_back(json::object{{"stream", stream.stream},
                                   {"same", stream.same},
                                   {"recorded", event_or_null(stream.a)},
                                   {"hypothetical", event_or_null(stream.b)}});
  for (const auto& part : report.end)
    end.push_back(json::object{{"part", part.part},
                               {"recorded", part.recorded},
                               {"hypothetical", part.told},
                               {"same", part.same()}});
  out["streams"] = std::move(streams);
  out["end"] = std::move(end);
  return out;
}

void print_decision(const char* whose, const std::optional<Envelope>& event) {
  if (event)
    std::printf("  %-13s %s  %s %s\n", whose, to_rfc3339(event->time.wall).substr(11, 12).c_str(),
                event->stream.value.c_str(), audit::sentence(*event).c_str());
  else
    std::printf("  %-13s no (further) decision\n", whose);
}

void print_departure(const audit::Departure& departure) {
  if (departure.input)
    std::printf("history departs at input %llu: %s\n", number(departure.input.value),
                departure.input_text.c_str());
  else
    std::printf("history departs at an input that only this telling has: %s\n", departure.input_text.c_str());
  print_decision("recorded", departure.recorded);
  print_decision("hypothetical", departure.told);
  for (const auto& field : departure.fields)
    std::printf("    %-28s recorded %s, hypothetical %s\n", field.path.c_str(), field.expected.c_str(),
                field.got.c_str());
}

void print_list(const char* title, const std::vector<std::string>& lines, std::uint64_t all) {
  if (lines.empty()) return;
  std::printf("%s\n", title);
  for (const auto& line : lines) std::printf("    %s\n", line.c_str());
  if (all > lines.size()) std::printf("    ... and %llu more\n", number(all - lines.size()));
}

void print_what_if(const Session& session, const audit::WhatIfReport& report,
                   const std::vector<std::string>& changes) {
  std::puts("HYPOTHETICAL: none of this happened, and nothing is written. Changed:");
  for (const auto& change : changes) std::printf("  %s\n", change.c_str());
  std::printf(
      "of %llu recorded inputs (%llu to %llu) %llu came here too, %llu of them at another time; "
      "%llu left out, %llu passed over, %llu not reached\n",
      number(report.inputs), number(report.first.value), number(report.last.value), number(report.fed),
      number(report.moved), number(report.dropped), number(report.passed_over), number(report.not_reached));
  std::printf("%llu decisions; only here: %llu timers fire, %llu looks at a module see what was seen last\n",
              number(report.decisions), number(report.timers), number(report.looks));
  for (const auto& note : report.notes) std::printf("  note: %s\n", note.c_str());
  if (!report.departure) {
    std::puts("the change changes nothing: the same decisions at the same times");
    return;
  }
  print_departure(*report.departure);
  for (const auto& stream : report.streams) {
    std::printf("%s is decided otherwise after %llu decisions\n", stream.stream.c_str(), number(stream.same));
    print_decision("recorded", stream.a);
    print_decision("hypothetical", stream.b);
  }
  print_list("passed over, because what it answers was not asked for here:", report.passed,
             report.passed_over);
  print_list("asked for here, and the log has no answer:", report.unanswered, report.unanswered.size());
  std::puts("");
  Table table({"AT THE END", "RECORDED", "HYPOTHETICAL"});
  for (const auto& part : report.end)
    table.add({part.part, part.recorded, part.same() ? "the same" : part.told});
  table.print(session);
}

}  // namespace

void add_what_if_option(CLI::App& replay, LogArguments& arguments) {
  replay
      .add_option("--what-if", arguments.changes,
                  "live it again otherwise (hypothetical; nothing is written): drop=SEQ, delay=SEQ:DURATION, "
                  "set=PATH=VALUE in every desired document")
      ->expected(1)
      ->take_all();
}

int what_if(const Session& session, const LogArguments& arguments) {
  if (arguments.steps || !arguments.breakpoints.empty())
    return complain(error(Errc::kInvalidArgument, "cannot be combined with --steps or --break", "--what-if"));
  std::vector<audit::Change> changes;
  for (const auto& text : arguments.changes) {
    auto change = audit::parse_change(text);
    if (!change) {
      Error refused = change.error();
      refused.where = "--what-if " + refused.where;
      return complain(refused);
    }
    changes.push_back(std::move(*change));
  }
  if (!arguments.path.empty() && audit::is_corpus(arguments.path))
    return complain(
        error(Errc::kInvalidArgument, "is about one log, not a directory of bundles", "--what-if"));
  auto journal = arguments.path.empty() ? open(session, arguments) : audit::open_log(arguments.path);
  if (!journal) return complain(journal.error());
  const auto report = audit::what_if(**journal, changes, {Sequence{arguments.from}, Sequence{arguments.to}});
  if (!report) {
    Error refused = report.error();
    if (refused.code == Errc::kInvalidArgument) refused.where = "--what-if " + refused.where;
    return complain(refused);
  }
  if (session.json)
    print(what_if_object(*report, arguments.changes));
  else
    print_what_if(session, *report, arguments.changes);
  return kDone;
}

}  // namespace decklog::cli
