// The only file that includes FlatBuffers. Tables are written and read through the field lists of the facts;
// a test holds the lists to event.fbs (names, ids, types).
#include "events/codec.hpp"

#include <array>
#include <vector>

#include "event_generated.h"
#include "events/checked_table.hpp"
#include "events/field_visit.hpp"

namespace decklog {
namespace {

using detail::CheckedBytes;
using detail::CheckedTable;
using flatbuffers::FieldIndexToOffset;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using flatbuffers::uoffset_t;

constexpr std::size_t kMaxFields = 32;

template <class T>
auto stored(T value) {
  if constexpr (detail::kIsEnum<T>) {
    return static_cast<std::underlying_type_t<T>>(value);
  } else {
    return value;
  }
}

template <class Table>
uoffset_t write_table(FlatBufferBuilder& out, const Table& table);

// Children come before their table in a FlatBuffer: first strings, lists and nested tables ...
template <class T>
uoffset_t write_child(FlatBufferBuilder& out, const T& value) {
  if constexpr (detail::kIsText<T>) {
    return value.empty() ? 0 : out.CreateString(value).o;
  } else if constexpr (detail::kIsTextId<T>) {
    return value.value.empty() ? 0 : out.CreateString(value.value).o;
  } else if constexpr (detail::kIsTextList<T>) {
    return value.empty() ? 0 : out.CreateVectorOfStrings(value).o;
  } else if constexpr (detail::kIsTable<T>) {
    return write_table(out, value);
  } else {
    return 0;
  }
}

// ... then the table that points at them.
template <class Table>
uoffset_t write_table(FlatBufferBuilder& out, const Table& table) {
  std::array<uoffset_t, kMaxFields> children{};
  Table::fields(table,
                [&](int id, const char*, const auto& value) { children[id] = write_child(out, value); });
  const uoffset_t start = out.StartTable();
  Table::fields(table, [&](int id, const char*, const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const auto field = FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(id));
    if constexpr (std::is_same_v<T, bool>) {
      out.AddElement<std::uint8_t>(field, value ? 1 : 0, 0);
    } else if constexpr (detail::kIsNumber<T> || detail::kIsEnum<T>) {
      out.AddElement(field, stored(value), static_cast<decltype(stored(value))>(0));
    } else if (children[id] != 0) {
      out.AddOffset(field, Offset<void>(children[id]));
    }
  });
  return out.EndTable(start);
}

// Reading goes into what may hold an earlier event: each field is set whether it is there or not, and texts
// keep their memory.
void read_text(const CheckedTable& from, std::size_t field, std::string& into) {
  if (const std::size_t at = from.child(field)) {
    into = from.bytes().text(at);
  } else {
    into.clear();
  }
}

void read_list(const CheckedTable& from, std::size_t field, std::vector<std::string>& into) {
  CheckedBytes& bytes = from.bytes();
  const std::size_t at = from.child(field);
  const std::size_t count = at == 0 ? 0 : bytes.number<uoffset_t>(at);
  if (at == 0 || !bytes.holds(at, (1 + count) * sizeof(uoffset_t))) return into.clear();
  into.resize(count);
  for (std::size_t i = 0; i < count && bytes.sound(); ++i) {
    if (const std::size_t text = bytes.follow(at + (1 + i) * sizeof(uoffset_t))) into[i] = bytes.text(text);
  }
}

template <class Table>
void read_table(const CheckedTable& from, Table& into) {
  Table::fields(into, [&](int id, const char*, auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const auto field = FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(id));
    if constexpr (std::is_same_v<T, bool>) {
      value = from.number<std::uint8_t>(field) != 0;
    } else if constexpr (detail::kIsNumber<T> || detail::kIsEnum<T>) {
      value = static_cast<T>(from.number<decltype(stored(value))>(field));
    } else if constexpr (detail::kIsText<T>) {
      read_text(from, field, value);
    } else if constexpr (detail::kIsTextId<T>) {
      read_text(from, field, value.value);
    } else if constexpr (detail::kIsTextList<T>) {
      read_list(from, field, value);
    } else if (const std::size_t nested = from.child(field)) {
      read_table(CheckedTable(from.bytes(), nested), value);
    } else {
      value = T{};
    }
  });
}

template <std::size_t Index>
void read_fact_as(const CheckedTable& from, Fact& into) {
  if (into.index() != Index) into.emplace<Index>();
  read_table(from, *std::get_if<Index>(&into));
}

using FactReader = void (*)(const CheckedTable&, Fact&);
template <std::size_t... Index>
constexpr std::array<FactReader, sizeof...(Index)> fact_readers(std::index_sequence<Index...>) {
  return {&read_fact_as<Index>...};
}
constexpr auto kReaders = fact_readers(std::make_index_sequence<kFactTypes>());

static_assert(static_cast<std::size_t>(wire::Payload::MAX) + 1 == kFactTypes,
              "event.fbs and the Fact variant list the same types");

std::string finish(FlatBufferBuilder& out, const Envelope& event) {
  const auto text = [&](const std::string& value) {
    return value.empty() ? Offset<flatbuffers::String>() : out.CreateString(value);
  };
  const auto payload = std::visit([&](const auto& fact) { return write_table(out, fact); }, event.fact);
  const auto stream = text(event.stream.value);
  const auto boot = text(event.boot.value);
  const auto correlation = text(event.correlation.value);
  const auto actor = text(event.actor.value);
  const auto build = text(event.build);
  wire::EnvelopeBuilder table(out);
  table.add_sequence(event.sequence.value);
  table.add_stream(stream);
  table.add_wall_ns(event.time.wall.ns);
  table.add_mono_ns(event.time.mono.ns);
  table.add_boot(boot);
  table.add_clock(static_cast<std::uint8_t>(event.clock));
  table.add_cause(event.cause.value);
  table.add_random(event.random);
  table.add_correlation(correlation);
  table.add_actor(actor);
  table.add_build(build);
  table.add_may_ignore(event.may_ignore);
  table.add_payload_type(static_cast<wire::Payload>(event.fact.index()));
  table.add_payload(Offset<void>(payload));
  wire::FinishEnvelopeBuffer(out, table.Finish());
  return std::string(reinterpret_cast<const char*>(out.GetBufferPointer()), out.GetSize());
}

Status read_envelope(const CheckedTable& from, Envelope& event) {
  using Wire = wire::Envelope;
  event.sequence.value = from.number<std::uint64_t>(Wire::VT_SEQUENCE);
  read_text(from, Wire::VT_STREAM, event.stream.value);
  event.time = {{from.number<std::int64_t>(Wire::VT_WALL_NS)}, {from.number<std::int64_t>(Wire::VT_MONO_NS)}};
  read_text(from, Wire::VT_BOOT, event.boot.value);
  event.clock = static_cast<ClockState>(from.number<std::uint8_t>(Wire::VT_CLOCK));
  event.cause.value = from.number<std::uint64_t>(Wire::VT_CAUSE);
  event.random = from.number<std::uint64_t>(Wire::VT_RANDOM);
  read_text(from, Wire::VT_CORRELATION, event.correlation.value);
  read_text(from, Wire::VT_ACTOR, event.actor.value);
  read_text(from, Wire::VT_BUILD, event.build);
  event.may_ignore = from.number<std::uint8_t>(Wire::VT_MAY_IGNORE) != 0;
  const auto type = from.number<std::uint8_t>(Wire::VT_PAYLOAD_TYPE);
  const std::size_t payload = from.child(Wire::VT_PAYLOAD);
  if (type >= kFactTypes) {
    event.fact = UnknownFact{type};
  } else if (type == 0 || payload == 0) {
    return error(Errc::kCorrupt, "event without a payload");
  } else {
    kReaders[type](CheckedTable(from.bytes(), payload), event.fact);
  }
  if (!from.bytes().sound()) return error(Errc::kCorrupt, "event bytes do not verify");
  return {};
}

}  // namespace

std::string encode(const Envelope& event) {
  DECKLOG_ASSERT(event.fact.index() != 0);
  thread_local FlatBufferBuilder out(1024);
  out.Clear();
  return finish(out, event);
}

Status decode(std::span<const std::uint8_t> bytes, Envelope& into) {
  if (bytes.size() > kMaxEventBytes) return error(Errc::kTooLarge, "event larger than 2 MiB");
  if (bytes.size() < 12) return error(Errc::kCorrupt, "event shorter than its header");
  if (!flatbuffers::BufferHasIdentifier(bytes.data(), wire::EnvelopeIdentifier()))
    return error(Errc::kCorrupt, "event bytes do not begin as an event does");
  CheckedBytes checked(bytes, kMaxEventBytes);
  const std::size_t root = checked.follow(0);
  return read_envelope(CheckedTable(checked, root), into);
}

Result<Envelope> decode(std::span<const std::uint8_t> bytes) {
  Envelope event;
  if (const Status read = decode(bytes, event); read.has_error()) return read.error();
  return event;
}

}  // namespace decklog
