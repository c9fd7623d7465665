// Verbs that decide a log again, or hold two logs side by side.
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>

#include "events/build.hpp"
#include "services/audit/diff.hpp"
#include "services/audit/minimise.hpp"
#include "services/audit/regression.hpp"
#include "services/audit/sentences.hpp"
#include "services/cli/json_parts.hpp"
#include "services/cli/log_arguments.hpp"
#include "services/cli/what_if_verb.hpp"

namespace decklog::cli {
namespace {

namespace json = boost::json;

// "1234 of 5678" on a terminal, nothing elsewhere.
void show_progress(const std::string& text) {
  if (isatty(STDERR_FILENO)) std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

json::object divergence_object(const audit::Divergence& divergence) {
  json::array chain;
  for (const auto& link : divergence.chain)
    chain.push_back(json::object{{"sequence", link.event.sequence.value}, {"text", link.text}});
  return {{"input", divergence.input.value},
          {"text", divergence.input_text},
          {"class", divergence.consequence ? "consequence" : "independent"},
          {"expected", divergence.expected ? json::value(event_object(*divergence.expected)) : nullptr},
          {"got", divergence.got ? json::value(event_object(*divergence.got)) : nullptr},
          {"fields", field_array(divergence.fields)},
          {"state", divergence.state.empty() ? json::value(nullptr) : json::parse(divergence.state)},
          {"recordedBy", divergence.recorded_by},
          {"thisBuild", build_id()},
          {"chain", std::move(chain)}};
}

json::object report_object(const audit::ReplayReport& report) {
  json::array divergences, builds;
  for (const auto& divergence : report.divergences) divergences.push_back(divergence_object(divergence));
  for (const auto& build : report.recorded_by) builds.emplace_back(build);
  return {{"inputs", report.inputs},
          {"decisions", report.decisions},
          {"first", report.first.value},
          {"last", report.last.value},
          {"seconds", report.seconds},
          {"stateHash", report.state_hash},
          {"statesMatched", report.states_matched},
          {"stateProblems", text_array(report.state_problems)},
          {"recordedBy", std::move(builds)},
          {"thisBuild", build_id()},
          {"divergences", std::move(divergences)},
          {"notProven", text_array(report.not_proven)}};
}

void print_divergence(const audit::Divergence& divergence, bool first) {
  const auto number = [](Sequence sequence) { return static_cast<unsigned long long>(sequence.value); };
  std::printf("%s at input %llu: %s\n",
              first                    ? "first divergence"
              : divergence.consequence ? "then, as a consequence,"
                                       : "then, independent of it,",
              number(divergence.input), divergence.input_text.c_str());
  if (divergence.expected)
    std::printf("  expected (event %llu by build %s): %s %s\n", number(divergence.expected->sequence),
                divergence.recorded_by.c_str(), divergence.expected->stream.value.c_str(),
                audit::sentence(*divergence.expected).c_str());
  else
    std::puts("  expected: no (further) decision");
  if (divergence.got)
    std::printf("  got      (this build, %s): %s %s\n", build_id().c_str(),
                divergence.got->stream.value.c_str(), audit::sentence(*divergence.got).c_str());
  else
    std::printf("  got      (this build, %s): no (further) decision\n", build_id().c_str());
  for (const auto& field : divergence.fields)
    std::printf("    %-28s expected %s, got %s\n", field.path.c_str(), field.expected.c_str(),
                field.got.c_str());
  if (!first) return;
  if (!divergence.state.empty()) std::printf("  decided by: %s\n", divergence.state.c_str());
  std::puts("  how it came to that:");
  const std::size_t skip = divergence.chain.size() > 12 ? divergence.chain.size() - 12 : 0;
  if (skip != 0) std::printf("    ... %zu before\n", skip);
  for (std::size_t i = skip; i < divergence.chain.size(); ++i)
    std::printf("    %8llu  %s\n", number(divergence.chain[i].event.sequence),
                divergence.chain[i].text.c_str());
}

void print_report(const audit::ReplayReport& report) {
  std::printf("replayed %llu inputs and compared %llu decisions in %.3f s (events %llu to %llu)\n",
              static_cast<unsigned long long>(report.inputs),
              static_cast<unsigned long long>(report.decisions), report.seconds,
              static_cast<unsigned long long>(report.first.value),
              static_cast<unsigned long long>(report.last.value));
  std::printf("state at the end %s", report.state_hash.c_str());
  if (report.states_matched != 0)
    std::printf("; the device's own digest held %llu times",
                static_cast<unsigned long long>(report.states_matched));
  std::puts("");
  for (const auto& text : report.not_proven) std::printf("  not proven: %s\n", text.c_str());
  for (const auto& text : report.state_problems) std::printf("  %s\n", text.c_str());
  for (std::size_t i = 0; i < report.divergences.size(); ++i) print_divergence(report.divergences[i], i == 0);
  if (report.honest()) std::puts("no divergence: this build decides as the device did");
}

// "type=module.transitioned", "stream=module/sensor" (or "subject="), "to=failed", "diverged".
struct Breakpoint {
  std::string key, value;

  bool hit(const audit::ReplayedStep& step) const {
    if (key == "diverged") return !step.same;
    if (event_hit(step.input)) return true;
    for (const auto& decision : step.got) {
      if (event_hit(decision)) return true;
    }
    return false;
  }

 private:
  bool event_hit(const Envelope& event) const {
    if (key == "type") return info(event.fact).name.starts_with(value);
    if (key == "stream" || key == "subject") return event.stream.value == value;
    if (const auto* fact = std::get_if<ModuleTransitioned>(&event.fact)) return name_of(fact->to) == value;
    if (const auto* fact = std::get_if<DeploymentTransitioned>(&event.fact))
      return name_of(fact->to) == value;
    if (const auto* fact = std::get_if<UplinkTransitioned>(&event.fact)) return name_of(fact->to) == value;
    return false;
  }
};

Result<std::vector<Breakpoint>> breakpoints_of(const std::vector<std::string>& texts) {
  std::vector<Breakpoint> out;
  for (const auto& text : texts) {
    const auto equal = text.find('=');
    Breakpoint point{text.substr(0, equal), equal == std::string::npos ? "" : text.substr(equal + 1)};
    const bool known = point.key == "type" || point.key == "stream" || point.key == "subject" ||
                       point.key == "to" || point.key == "diverged";
    if (!known || (point.value.empty() && point.key != "diverged"))
      return error(Errc::kInvalidArgument, "a breakpoint is type=TYPE, stream=STREAM, to=STATE or diverged",
                   text);
    out.push_back(std::move(point));
  }
  return out;
}

void print_step(const audit::ReplayedStep& step) {
  json::array recorded, got;
  for (const auto& event : step.recorded) recorded.push_back(event_object(event));
  for (const auto& event : step.got) got.push_back(event_object(event));
  json::object out{{"input", event_object(step.input)},
                   {"time", to_rfc3339(step.input.time.wall)},
                   {"same", step.same},
                   {"got", std::move(got)}};
  if (!step.same) out["recorded"] = std::move(recorded);
  print(out);
}

Result<audit::ReplayOptions> options_of(const LogArguments& arguments) {
  audit::ReplayOptions options;
  options.from = Sequence{arguments.from};
  options.to = Sequence{arguments.to};
  options.most = static_cast<std::size_t>(arguments.most);
  auto points = breakpoints_of(arguments.breakpoints);
  if (!points) return points.error();
  if (arguments.steps || !points->empty()) {
    options.step = [points = std::move(*points)](const audit::ReplayedStep& step) {
      bool wanted = points.empty();
      for (const auto& point : points) wanted |= point.hit(step);
      if (wanted) print_step(step);
      return std::ferror(stdout) == 0;
    };
  }
  options.progress = [](Sequence at) { show_progress("event " + std::to_string(at.value)); };
  return options;
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

int replay_directory(const Session& session, const std::string& path, const audit::ReplayOptions& options) {
  const auto cases = audit::replay_corpus(path, options);
  show_progress("");
  if (!cases) return complain(cases.error());
  std::size_t failed = 0;
  json::array results;
  for (const auto& one : *cases) {
    const bool same = one.report.honest() && one.report.inputs != 0;
    failed += !same;
    if (session.json) {
      auto object = report_object(one.report);
      object["file"] = one.file;
      results.push_back(std::move(object));
      continue;
    }
    std::printf("%s  %s (%llu decisions)\n",
                same                     ? "same    "
                : one.report.inputs == 0 ? "EMPTY   "
                                         : "DIVERGED",
                one.file.c_str(), static_cast<unsigned long long>(one.report.decisions));
    for (std::size_t i = 0; i < one.report.divergences.size(); ++i)
      print_divergence(one.report.divergences[i], i == 0);
  }
  if (session.json)
    print(results);
  else
    std::printf("%zu of %zu logs replay without a divergence\n", cases->size() - failed, cases->size());
  return failed == 0 ? kDone : kNotVerified;
}

int replay(const Session& session, const LogArguments& arguments) {
  if (!arguments.changes.empty()) return what_if(session, arguments);
  const auto options = options_of(arguments);
  if (!options) return complain(options.error());
  if (!arguments.path.empty() && audit::is_corpus(arguments.path))
    return replay_directory(session, arguments.path, *options);
  auto journal = arguments.path.empty() ? open(session, arguments) : audit::open_log(arguments.path);
  if (!journal) return complain(journal.error());
  const auto begun = std::chrono::steady_clock::now();
  auto report = audit::replay_log(**journal, *options);
  report.seconds = seconds_since(begun);
  show_progress("");
  if (report.inputs == 0)
    return complain(error(Errc::kNotFound, "nothing to replay: no input in this range of the log"));
  if (session.json || options->step)
    print(report_object(report));
  else
    print_report(report);
  return report.honest() ? kDone : kNotVerified;
}

int minimise(const Session& session, const LogArguments& arguments) {
  auto journal = open(session, arguments);
  if (!journal) return complain(journal.error());
  if (const Status fits = audit::check_replayable(**journal); !fits) return complain(fits.error());
  const auto done = audit::minimise(**journal, arguments.output, [](std::uint64_t inputs) {
    show_progress(std::to_string(inputs) + " inputs left");
  });
  show_progress("");
  if (!done) return complain(done.error());
  if (session.json) {
    print(json::object{{"input", done->input.value},
                       {"inputsBefore", done->inputs_before},
                       {"inputs", done->inputs},
                       {"tries", done->tries}});
    return kDone;
  }
  std::printf(
      "%llu of %llu inputs show the divergence at input %llu; written to %s\nreplay it with: decklog "
      "replay %s\n",
      static_cast<unsigned long long>(done->inputs), static_cast<unsigned long long>(done->inputs_before),
      static_cast<unsigned long long>(done->input.value), arguments.output.c_str(), arguments.output.c_str());
  return kDone;
}

void print_difference(const audit::LogDifference& difference) {
  std::printf("%llu decisions in A, %llu in B, %llu the same\n",
              static_cast<unsigned long long>(difference.decisions_a),
              static_cast<unsigned long long>(difference.decisions_b),
              static_cast<unsigned long long>(difference.same));
  for (const auto& stream : difference.streams) {
    std::printf("%s differs after %llu decisions\n", stream.stream.c_str(),
                static_cast<unsigned long long>(stream.same));
    for (const auto& [name, event] : {std::pair{"A", &stream.a}, std::pair{"B", &stream.b}}) {
      if (*event)
        std::printf("  %s  %llu  %s\n", name, static_cast<unsigned long long>((*event)->sequence.value),
                    audit::sentence(**event).c_str());
      else
        std::printf("  %s  no further decision\n", name);
    }
    for (const auto& field : stream.fields)
      std::printf("    %-28s A %s, B %s\n", field.path.c_str(), field.expected.c_str(), field.got.c_str());
  }
  for (const auto& part : difference.state)
    std::printf("at the end: %s: A %s; B %s\n", part.path.c_str(), part.expected.c_str(), part.got.c_str());
  if (difference.apart_max_ns > 0)
    std::printf("same decisions at most %s apart (%s)\n", to_text(Duration(difference.apart_max_ns)).c_str(),
                difference.apart_where.c_str());
  if (difference.equal()) std::puts("no difference in what was decided");
}

int diff(const Session& session, const LogArguments& arguments) {
  auto a = audit::open_log(arguments.path);
  if (!a) return complain(a.error());
  auto b = arguments.other.empty() ? open(session, arguments) : audit::open_log(arguments.other);
  if (!b) return complain(b.error());
  const auto difference = audit::diff_logs(**a, **b);
  if (!session.json) {
    print_difference(difference);
    return difference.equal() ? kDone : kNotVerified;
  }
  json::array streams;
  for (const auto& stream : difference.streams)
    streams.push_back(json::object{{"stream", stream.stream},
                                   {"same", stream.same},
                                   {"a", stream.a ? json::value(event_object(*stream.a)) : nullptr},
                                   {"b", stream.b ? json::value(event_object(*stream.b)) : nullptr},
                                   {"fields", field_array(stream.fields)}});
  print(json::object{{"decisionsA", difference.decisions_a},
                     {"decisionsB", difference.decisions_b},
                     {"same", difference.same},
                     {"streams", std::move(streams)},
                     {"state", field_array(difference.state)},
                     {"apartMaxNs", difference.apart_max_ns}});
  return difference.equal() ? kDone : kNotVerified;
}

}  // namespace

void add_replay_verbs(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<LogArguments>();
  auto* verb =
      add_log_verb(app, session, arguments, "replay",
                   "Decide every recorded input again and compare with what the device decided", replay);
  verb->add_option("LOG", arguments->path, "journal, bundle, or a directory of bundles (*.dlb)");
  add_range_options(*verb, *arguments);
  verb->add_option("--most", arguments->most, "look for this many divergences")->check(CLI::Range(1, 10000));
  verb->add_flag("--steps", arguments->steps, "print every step as a line of JSON");
  verb->add_option("--break", arguments->breakpoints,
                   "print the steps with type=TYPE, stream=STREAM, to=STATE, or diverged");
  add_what_if_option(*verb, *arguments);
  verb->footer(
      "Examples:\n  decklog replay\n  decklog replay field-fault.dlb --break to=failed\n  decklog replay "
      "field-logs/        every bundle of a directory; exit code 6 when one diverges\n"
      "  decklog replay --what-if drop=120 --what-if set=modules.sensor.restart.backoffFirstSecs=1");

  verb = add_log_verb(app, session, arguments, "minimise",
                      "Write the smallest part of a log that still shows its first divergence", minimise);
  verb->add_option("FILE", arguments->output, "bundle to write")->required();
  verb->footer("Example:\n  decklog minimise --journal field-fault.dlb small.dlb");

  verb = add_log_verb(app, session, arguments, "diff",
                      "Hold two logs side by side: decisions, states at the end, timing", diff);
  verb->add_option("A", arguments->path, "journal or bundle")->required();
  verb->add_option("B", arguments->other, "journal or bundle; default: this device's");
  verb->footer("Example:\n  decklog diff good-device.dlb bad-device.dlb");
}

}  // namespace decklog::cli
