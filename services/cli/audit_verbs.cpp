// Verbs that read a log: of a live device, of a copied journal, on any machine.
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>

#include "services/agent/recovery.hpp"
#include "services/agent/report.hpp"
#include "services/audit/log_source.hpp"
#include "services/audit/replay.hpp"
#include "services/audit/sentences.hpp"
#include "services/audit/why.hpp"
#include "services/cli/cli.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

struct LogArguments {
  std::string service = "agent", module, type, kind, since, until, at, output;
  std::uint64_t from = 0, to = 0, last = 0, most = 1;
};

Result<std::shared_ptr<persistence::JournalReader>> open(const Session& session,
                                                         const LogArguments& arguments) {
  return audit::open_log(session.journal_directory(arguments.service.c_str()));
}

void add_log_options(CLI::App& verb, Session& session, LogArguments& arguments) {
  verb.add_option("--journal", session.journal,
                  "journal directory (live or copied) or exported bundle; default: this device's");
  verb.add_option("--service", arguments.service, "whose journal of this device: agent or hub")
      ->check(CLI::IsMember({"agent", "hub"}));
}

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
              ? to_cloud_event(*entry.event, "/devices/" + entry.device + "/" + arguments.service).c_str()
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
    std::puts(json::serialize(json::object{{"headline", answer->headline},
                                           {"chain", std::move(chain)},
                                           {"reported", answer->reported}})
                  .c_str());
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
  const auto result = audit::verify_log(session.journal_directory(arguments.service.c_str()));
  if (!result) return complain(result.error());
  if (session.json) {
    json::array problems;
    for (const auto& problem : result->problems) problems.emplace_back(problem);
    json::array notes;
    for (const auto& note : result->notes) notes.emplace_back(note);
    std::puts(json::serialize(json::object{{"events", result->events},
                                           {"heads", result->heads},
                                           {"ok", result->ok},
                                           {"first", result->first.value},
                                           {"last", result->last.value},
                                           {"provenThrough", result->proven_through.value},
                                           {"firstBad", result->first_bad.value},
                                           {"problems", problems},
                                           {"notes", notes}})
                  .c_str());
    return result->ok ? kDone : kNotVerified;
  }
  std::printf("%llu events, %llu signed heads\n", static_cast<unsigned long long>(result->events),
              static_cast<unsigned long long>(result->heads));
  for (const auto& problem : result->problems) std::printf("  %s\n", problem.c_str());
  for (const auto& note : result->notes) std::printf("  note: %s\n", note.c_str());
  std::puts(result->ok ? "verified: nothing is missing, nothing was changed" : "NOT verified");
  return result->ok ? kDone : kNotVerified;
}

void print_divergence(const audit::Divergence& divergence) {
  std::printf("divergence at input %llu: %s\n", static_cast<unsigned long long>(divergence.input.value),
              divergence.input_text.c_str());
  if (divergence.expected) {
    std::printf("  expected (recorded as event %llu by build %s): %s %s\n",
                static_cast<unsigned long long>(divergence.expected->sequence.value),
                divergence.recorded_by.c_str(), divergence.expected->stream.value.c_str(),
                audit::sentence(*divergence.expected).c_str());
  } else {
    std::puts("  expected: no (further) decision");
  }
  if (divergence.got)
    std::printf("  got      (this build): %s %s\n", divergence.got->stream.value.c_str(),
                audit::sentence(*divergence.got).c_str());
  else
    std::puts("  got:      no (further) decision");
  for (const auto& field : divergence.fields)
    std::printf("    %-28s expected %s, got %s\n", field.path.c_str(), field.expected.c_str(),
                field.got.c_str());
  std::printf("  cause:");
  for (const auto& sequence : divergence.chain)
    std::printf(" <- %llu", static_cast<unsigned long long>(sequence.value));
  std::puts("");
}

int replay(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  const auto begun = std::chrono::steady_clock::now();
  auto report = audit::replay_agent(**journal, {Sequence{arguments.from}, Sequence{arguments.to},
                                                static_cast<std::size_t>(arguments.most)});
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (session.json) {
    json::array divergences;
    for (const auto& d : report.divergences) {
      json::array fields;
      for (const auto& f : d.fields)
        fields.push_back(json::object{{"path", f.path}, {"expected", f.expected}, {"got", f.got}});
      divergences.push_back(json::object{{"input", d.input.value},
                                         {"text", d.input_text},
                                         {"expected", d.expected ? audit::sentence(*d.expected) : ""},
                                         {"got", d.got ? audit::sentence(*d.got) : ""},
                                         {"fields", fields}});
    }
    json::array unproven;
    for (const auto& text : report.not_proven) unproven.emplace_back(text);
    std::puts(json::serialize(json::object{{"inputs", report.inputs},
                                           {"decisions", report.decisions},
                                           {"divergences", divergences},
                                           {"notProven", unproven}})
                  .c_str());
  } else {
    std::printf("replayed %llu inputs and compared %llu decisions in %.3f s (events %llu to %llu)\n",
                static_cast<unsigned long long>(report.inputs),
                static_cast<unsigned long long>(report.decisions), report.seconds,
                static_cast<unsigned long long>(report.first.value),
                static_cast<unsigned long long>(report.last.value));
    for (const auto& text : report.not_proven) std::printf("  not proven: %s\n", text.c_str());
    for (const auto& divergence : report.divergences) print_divergence(divergence);
    if (report.divergences.empty()) std::puts("no divergence: this build decides as the device did");
  }
  return report.divergences.empty() ? kDone : kNotVerified;
}

int export_log(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  const auto written =
      audit::write_bundle(**journal, arguments.output, Sequence{arguments.from}, Sequence{arguments.to});
  if (!written) return complain(written.error());
  std::printf("%llu events written to %s\n", static_cast<unsigned long long>(*written),
              arguments.output.c_str());
  return kDone;
}

using Run = int (*)(const Session&, const LogArguments&);

CLI::App* add(CLI::App& app, Session& session, const std::shared_ptr<LogArguments>& arguments,
              const char* verb, const char* about, Run run) {
  auto* sub = app.add_subcommand(verb, about);
  add_log_options(*sub, session, *arguments);
  sub->callback([&session, arguments, run] {
    session.action = [&session, arguments, run] { return run(session, *arguments); };
  });
  return sub;
}

}  // namespace

void add_audit_verbs(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<LogArguments>();
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
      "Examples:\n  decklog history sensor --kind decision\n  decklog history --since 2026-11-24T03:00:00Z "
      "--json");

  verb =
      add(app, session, arguments, "why", "Why a module is as it is: the causal chain in plain words", why);
  verb->add_option("MODULE", arguments->module, "name of the module")->required();

  verb = add(app, session, arguments, "state", "The device's state at any point of its log", state);
  verb->add_option("--at", arguments->at, "sequence or RFC 3339 time; default: now");
  verb->footer("Example:\n  decklog state --at 2026-11-24T03:00:00Z");

  add(app, session, arguments, "verify",
      "Check the log: nothing missing, nothing changed, heads and signatures", verify);

  verb = add(app, session, arguments, "replay",
             "Decide every recorded input again and compare with what the device decided", replay);
  verb->add_option("--from", arguments->from, "first sequence");
  verb->add_option("--to", arguments->to, "last sequence");
  verb->add_option("--most", arguments->most, "look for this many divergences")->check(CLI::Range(1, 10000));

  verb = add(app, session, arguments, "export",
             "Write (part of) the log to one file that history, why, verify and replay read anywhere",
             export_log);
  verb->add_option("FILE", arguments->output, "bundle to write")->required();
  verb->add_option("--from", arguments->from, "first sequence");
  verb->add_option("--to", arguments->to, "last sequence");
}

}  // namespace decklog::cli
