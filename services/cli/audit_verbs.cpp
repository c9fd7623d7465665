// Verbs that read a log: of a live device, of a copied journal, on any machine.
#include <boost/json.hpp>
#include <cstdio>

#include "services/agent/recovery.hpp"
#include "services/agent/report.hpp"
#include "services/audit/log_source.hpp"
#include "services/audit/sentences.hpp"
#include "services/audit/why.hpp"
#include "services/cli/json_parts.hpp"
#include "services/cli/log_arguments.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

Result<audit::Filter> filter_of(const LogArguments& arguments) {
  audit::Filter filter;
  filter.from = Sequence{arguments.from};
  filter.to = Sequence{arguments.to};
  filter.type = arguments.type;
  filter.kind = arguments.kind;
  filter.last = arguments.last;
  // "sensor" is a module; "client/edge-1/sensor", "uplink", "deployment", "service" are streams themselves.
  const bool stream = arguments.module.find('/') != std::string::npos || arguments.module == "uplink" ||
                      arguments.module == "deployment" || arguments.module == "service";
  if (!arguments.module.empty())
    filter.stream = stream ? arguments.module : StreamId::module(ModuleName(arguments.module)).value;
  for (const auto& [text, into] :
       {std::pair{&arguments.since, &filter.since}, std::pair{&arguments.until, &filter.until}}) {
    if (text->empty()) continue;
    auto time = parse_rfc3339(*text);
    if (!time) return time.error();
    *into = *time;
  }
  return filter;
}

int history(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  const auto filter = filter_of(arguments);
  if (!filter) return complain(filter.error());
  Table table({"SEQ", "TIME (UTC)", "STREAM", "KIND", "BY", "WHAT"});
  std::size_t shown = 0;
  const auto status = audit::select(**journal, *filter, [&](const audit::Entry& entry) {
    ++shown;
    if (session.json) {
      std::puts(
          entry.event
              ? to_cloud_event(*entry.event, "/devices/" + entry.device + "/" + service_of(arguments)).c_str()
              : json::serialize(json::object{{"missing", entry.missing}}).c_str());
      return;
    }
    if (!entry.event) return table.add({"", "", "", "note", "", entry.missing});
    const auto& event = *entry.event;
    table.add({std::to_string(event.sequence.value), to_rfc3339(event.time.wall).substr(0, 23),
               event.stream.value, name_of(info(event.fact).kind),
               event.cause ? std::to_string(event.cause.value) : event.actor.value, audit::sentence(event)});
  });
  if (!session.json) table.print(session);
  if (!status) return complain(status.error());
  if (shown == 0 && !session.json) std::puts("no event matches");
  return kDone;
}

int why(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  const auto answer = audit::why(**journal, ModuleName(arguments.module));
  if (!answer) return complain(answer.error());
  if (session.json) {
    json::array chain;
    for (const auto& link : answer->chain) {
      chain.push_back(json::object{{"sequence", link.event.sequence.value},
                                   {"time", to_rfc3339(link.event.time.wall)},
                                   {"type", std::string(info(link.event.fact).name)},
                                   {"text", link.text}});
    }
    print(json::object{
        {"headline", answer->headline}, {"chain", std::move(chain)}, {"reported", answer->reported}});
    return kDone;
  }
  std::printf("%s\n\nbecause (oldest first; the number is the event's sequence):\n",
              answer->headline.c_str());
  std::size_t n = 0;
  for (const auto& link : answer->chain) {
    if (n++ == 2 && answer->left_out != 0)
      std::printf("  ... %zu more of the same chain; see: decklog history %s\n", answer->left_out,
                  arguments.module.c_str());
    std::printf("  %8llu  %s  %-10s %s\n", static_cast<unsigned long long>(link.event.sequence.value),
                to_rfc3339(link.event.time.wall).substr(11, 12).c_str(),
                name_of(info(link.event.fact).kind).c_str(), link.text.c_str());
  }
  std::printf("\n%s\n", answer->reported.c_str());
  return kDone;
}

int state(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  Sequence at = (*journal)->durable_sequence();
  if (!arguments.at.empty()) {
    const auto found = audit::sequence_at(**journal, arguments.at);
    if (!found) return complain(found.error());
    at = *found;
  }
  const auto recovery = agent::recover(**journal, at);
  const auto& now = recovery.state;
  if (session.json) {
    const auto report = agent::make_report(now, {});
    std::puts(report.json.c_str());
    return kDone;
  }
  std::printf("state after event %llu (%s)\n", static_cast<unsigned long long>(at.value),
              recovery.snapshot ? ("snapshot " + std::to_string(recovery.snapshot.value) + " and " +
                                   std::to_string(recovery.events) + " events")
                                      .c_str()
                                : (std::to_string(recovery.events) + " events").c_str());
  std::printf("deployment version %llu %s, uplink %s\n",
              static_cast<unsigned long long>(now.deployment.version), name_of(now.deployment.state).c_str(),
              name_of(now.uplink.state).c_str());
  Table table({"NAME", "STATE", "RESTARTS", "DESCRIPTION"});
  for (const auto& [name, module] : now.modules) {
    table.add({name.value, state_text(session, name_of(module.life.state)),
               std::to_string(module.life.restart_count),
               agent::module_description(module, now.desired(name))});
  }
  table.print(session);
  for (const auto& problem : recovery.problems) std::printf("note: %s\n", problem.c_str());
  return kDone;
}

int verify(const Session& session, const LogArguments& arguments) {
  const auto path = session.journal_directory(service_of(arguments));
  if (!path) return complain(path.error());
  const auto result = audit::verify_log(*path);
  if (!result) return complain(result.error());
  if (session.json) {
    json::array problems;
    for (const auto& problem : result->problems) problems.emplace_back(problem);
    json::array notes;
    for (const auto& note : result->notes) notes.emplace_back(note);
    print(json::object{{"events", result->events},
                       {"heads", result->heads},
                       {"ok", result->ok},
                       {"first", result->first.value},
                       {"last", result->last.value},
                       {"provenThrough", result->proven_through.value},
                       {"firstBad", result->first_bad.value},
                       {"problems", problems},
                       {"notes", notes}});
    return result->ok ? kDone : kNotVerified;
  }
  std::printf("%llu events, %llu signed heads\n", static_cast<unsigned long long>(result->events),
              static_cast<unsigned long long>(result->heads));
  for (const auto& problem : result->problems) std::printf("  %s\n", problem.c_str());
  for (const auto& note : result->notes) std::printf("  note: %s\n", note.c_str());
  std::puts(result->ok ? "verified: nothing is missing, nothing was changed" : "NOT verified");
  return result->ok ? kDone : kNotVerified;
}

int export_log(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  const auto written =
      audit::write_bundle(**journal, arguments.output, Sequence{arguments.from}, Sequence{arguments.to});
  if (!written) return complain(written.error());
  if (session.json)
    print(json::object{{"file", arguments.output}, {"events", *written}});
  else
    std::printf("%llu events written to %s\n", static_cast<unsigned long long>(*written),
                arguments.output.c_str());
  return kDone;
}

}  // namespace

void add_audit_verbs(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<LogArguments>();
  const auto add = add_log_verb;
  auto* verb = add(app, session, arguments, "history", "What happened, in order", history);
  verb->add_option("MODULE", arguments->module,
                   "a module, or a stream: uplink, deployment, service, client/<id>");
  verb->add_option("--since", arguments->since, "RFC 3339 time");
  verb->add_option("--until", arguments->until, "RFC 3339 time");
  verb->add_option("--type", arguments->type, "event type, or its beginning: module.transitioned");
  verb->add_option("--kind", arguments->kind, "input, decision or note")
      ->check(CLI::IsMember({"input", "decision", "note"}));
  verb->add_option("--from", arguments->from, "first sequence");
  verb->add_option("--to", arguments->to, "last sequence");
  verb->add_option("--last", arguments->last, "only the last N that match");
  verb->footer(
      "Examples:\n  decklog history sensor --kind decision\n  decklog history client/leaf-1\n"
      "  decklog history --since 2026-11-24T03:00:00Z --json");

  verb =
      add(app, session, arguments, "why", "Why a module is as it is: the causal chain in plain words", why);
  verb->add_option("MODULE", arguments->module, "name of the module")->required();
  verb->footer("Examples:\n  decklog why sensor\n  decklog why sensor --journal field-fault.dlb");

  verb = add(app, session, arguments, "state", "The device's state at any point of its log", state);
  verb->add_option("--at", arguments->at, "sequence or RFC 3339 time; default: now");
  verb->footer("Example:\n  decklog state --at 2026-11-24T03:00:00Z");

  verb = add(app, session, arguments, "verify",
             "Check the log: nothing missing, nothing changed, heads and signatures", verify);
  verb->footer("Examples:\n  decklog verify\n  decklog verify --journal copy-of/journal --json");

  verb = add(app, session, arguments, "export",
             "Write (part of) the log to one file that history, why, verify and replay read anywhere",
             export_log);
  verb->add_option("FILE", arguments->output, "bundle to write")->required();
  verb->add_option("--from", arguments->from, "first sequence");
  verb->add_option("--to", arguments->to, "last sequence");
  verb->footer(
      "Examples:\n  decklog export field-fault.dlb\n  decklog export --from 4000 --to 5000 part.dlb");
}

}  // namespace decklog::cli
