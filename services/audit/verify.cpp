#include "services/audit/log_source.hpp"

namespace decklog::audit {

Result<Verification> verify_log(const std::string& path) {
  const auto journal = open_log(path);
  if (!journal) return journal.error();
  Verification result;
  persistence::Visitor visitor;
  visitor.event = [&](const Envelope& event) {
    ++result.events;
    if (std::holds_alternative<HeadSigned>(event.fact)) ++result.heads;
    return true;
  };
  visitor.missing = [&](const persistence::MissingRange& range) {
    result.problems.push_back("events " + std::to_string(range.first.value) + " to " +
                              std::to_string(range.last.value) + " are " + name_of(range.kind));
    return true;
  };
  const auto status = (*journal)->read(Sequence{1}, (*journal)->durable_sequence(), visitor);
  if (!status) result.problems.push_back(describe(status.error()));
  result.ok = result.problems.empty();
  return result;
}

}  // namespace decklog::audit
