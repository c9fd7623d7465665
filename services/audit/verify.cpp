// A log from a path, checked with all there is beside it. The checking itself is persistence/log_verify.
#include "persistence/log_verify.hpp"

#include <algorithm>
#include <filesystem>

#include "persistence/log_key.hpp"
#include "persistence/rocks_journal.hpp"
#include "services/audit/bundle.hpp"
#include "services/audit/log_source.hpp"

namespace decklog::audit {
namespace {

using persistence::MissingRange;

std::string range_text(Sequence first, Sequence last) {
  if (first == last) return "event " + std::to_string(first.value);
  return "events " + std::to_string(first.value) + " to " + std::to_string(last.value);
}

std::string missing_text(const MissingRange& range) {
  return range_text(range.first, range.last) + ": " + name_of(range.kind) +
         (range.detail.empty() ? "" : ", " + range.detail);
}

// "edited at 4711: events 4500 to 4900 do not match the head signed over them"
std::string finding_text(const persistence::Finding& finding) {
  return name_of(finding.kind) + " at " + std::to_string(finding.first.value) + ": " + finding.text;
}

// What the journal's own tables say of it, beside the events.
Result<persistence::VerifyReport> verify_directory(const std::string& path, Verification& result) {
  const auto reader = persistence::RocksJournalReader::open(path);
  if (!reader) return reader.error();
  persistence::VerifyOptions options;
  options.public_keys = persistence::published_keys(path);
  options.high_water = (*reader)->high_water();
  options.gaps_not_in_log = (*reader)->gaps_not_in_log();
  if (!(*reader)->damage().empty()) result.notes.push_back("the store is damaged: " + (*reader)->damage());
  if ((*reader)->live()) result.notes.push_back("a service is writing this log: checked as it was just now");
  return persistence::verify(**reader, options);
}

void keep(const persistence::VerifyReport& report, Verification& result) {
  result.events = report.events;
  result.heads = report.heads;
  result.first = report.first;
  result.last = report.last;
  result.proven_through = report.proven_through;
  for (const auto& finding : report.findings) result.problems.push_back(finding_text(finding));
  if (!report.findings.empty()) result.first_bad = report.findings.front().first;
  for (const auto& range : report.recorded)
    result.notes.push_back("missing, and the log says so: " + missing_text(range));
  for (const auto& range : report.not_proven)
    result.notes.push_back("present, but no head proves them any more: " + missing_text(range));
  if (report.proven_through < report.last)
    result.notes.push_back(range_text(report.proven_through.next(), report.last) +
                           " came after the newest signed head and are not proven yet");
}

// A bundle is an excerpt: the salt of the tree stays on the device, so heads cannot be recomputed from it.
Verification verify_bundle(const BundleReader& bundle) {
  Verification result;
  result.first = bundle.first_sequence();
  result.last = bundle.durable_sequence();
  std::vector<MissingRange> holes;
  std::vector<GapRecorded> recorded;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    ++result.events;
    if (const auto* gap = std::get_if<GapRecorded>(&event.fact)) recorded.push_back(*gap);
    return true;
  };
  visitor.missing = [&](const MissingRange& range) {
    holes.push_back(range);
    return true;
  };
  const auto read = bundle.read(Sequence{1}, bundle.durable_sequence(), visitor);
  if (!read) result.problems.push_back("unreadable: " + describe(read.error()));
  for (const auto& hole : holes) {
    const bool said = std::any_of(recorded.begin(), recorded.end(), [&](const GapRecorded& gap) {
      return gap.first <= hole.first.value && hole.last.value <= gap.last;
    });
    if (said) {
      result.notes.push_back("missing, and the log says so: " + range_text(hole.first, hole.last));
      continue;
    }
    if (!result.first_bad) result.first_bad = hole.first;
    result.problems.push_back("gap at " + std::to_string(hole.first.value) + ": " +
                              range_text(hole.first, hole.last) + " not there and nothing says why");
  }
  result.notes.push_back(
      "an exported bundle: checked for gaps and checksums; signed heads, and a tail cut off, show only in "
      "the "
      "journal");
  if (!bundle.whole()) result.notes.push_back("no end mark: of an older version, or cut at its end");
  result.ok = result.problems.empty();
  return result;
}

}  // namespace

Result<Verification> verify_log(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    const auto bundle = BundleReader::open(path);
    if (!bundle) return bundle.error();
    return verify_bundle(**bundle);
  }
  Verification result;
  const auto report = verify_directory(path, result);
  if (!report) return report.error();
  keep(*report, result);
  result.ok = report->ok();
  return result;
}

}  // namespace decklog::audit
