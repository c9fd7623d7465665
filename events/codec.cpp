// The only file that includes FlatBuffers. Tables are written and read through the field lists of the facts;
// the generated header contributes the verifier, and a test holds the lists to event.fbs (names, ids, types).
#include "events/codec.hpp"

#include <array>
#include <cstring>
#include <vector>

#include "event_generated.h"
#include "events/field_visit.hpp"

namespace decklog {
namespace {

using flatbuffers::FieldIndexToOffset;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using flatbuffers::uoffset_t;

constexpr std::size_t kMaxFields = 32;
constexpr int kMaxDepth = 8;
constexpr int kMaxTables = 16;

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
void read_text(const flatbuffers::String* text, std::string& into) {
  if (text) {
    into.assign(text->data(), text->size());
  } else {
    into.clear();
  }
}

void read_list(const flatbuffers::Vector<Offset<flatbuffers::String>>* list, std::vector<std::string>& into) {
  into.resize(list ? list->size() : 0);
  for (std::size_t i = 0; i < into.size(); ++i) read_text(list->Get(static_cast<uoffset_t>(i)), into[i]);
}

template <class Table>
void read_table(const flatbuffers::Table& from, Table& into) {
  Table::fields(into, [&](int id, const char*, auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const auto field = FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(id));
    if constexpr (std::is_same_v<T, bool>) {
      value = from.GetField<std::uint8_t>(field, 0) != 0;
    } else if constexpr (detail::kIsNumber<T> || detail::kIsEnum<T>) {
      using Stored = decltype(stored(value));
      value = static_cast<T>(from.GetField<Stored>(field, Stored{0}));
    } else if constexpr (detail::kIsText<T>) {
      read_text(from.GetPointer<const flatbuffers::String*>(field), value);
    } else if constexpr (detail::kIsTextId<T>) {
      read_text(from.GetPointer<const flatbuffers::String*>(field), value.value);
    } else if constexpr (detail::kIsTextList<T>) {
      read_list(from.GetPointer<const flatbuffers::Vector<Offset<flatbuffers::String>>*>(field), value);
    } else if (const auto* nested = from.GetPointer<const flatbuffers::Table*>(field)) {
      read_table(*nested, value);
    } else {
      value = T{};
    }
  });
}

template <std::size_t Index>
void read_fact_as(const flatbuffers::Table& from, Fact& into) {
  if (into.index() != Index) into.emplace<Index>();
  read_table(from, *std::get_if<Index>(&into));
}

using FactReader = void (*)(const flatbuffers::Table&, Fact&);
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

Status read_envelope(const wire::Envelope& from, Envelope& event) {
  event.sequence.value = from.sequence();
  read_text(from.stream(), event.stream.value);
  event.time = {{from.wall_ns()}, {from.mono_ns()}};
  read_text(from.boot(), event.boot.value);
  event.clock = static_cast<ClockState>(from.clock());
  event.cause.value = from.cause();
  event.random = from.random();
  read_text(from.correlation(), event.correlation.value);
  read_text(from.actor(), event.actor.value);
  read_text(from.build(), event.build);
  event.may_ignore = from.may_ignore();
  const auto type = static_cast<std::uint8_t>(from.payload_type());
  // The verifier passes a known type without payload and any unknown type: both are looked at here.
  if (type == 0) return error(Errc::kCorrupt, "event without a payload");
  if (type >= kFactTypes) {
    event.fact = UnknownFact{type};
    return {};
  }
  const auto* payload = static_cast<const flatbuffers::Table*>(from.payload());
  if (!payload) return error(Errc::kCorrupt, "event without a payload");
  kReaders[type](*payload, event.fact);
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
  // Stored bytes may lie at any address; FlatBuffers wants them aligned.
  thread_local std::vector<std::uint64_t> aligned;
  if (const std::size_t words = (bytes.size() + 7) / 8; aligned.size() < words) aligned.resize(words);
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  const auto* data = reinterpret_cast<const std::uint8_t*>(aligned.data());
  flatbuffers::Verifier verifier(data, bytes.size(), kMaxDepth, kMaxTables);
  if (!wire::VerifyEnvelopeBuffer(verifier)) return error(Errc::kCorrupt, "event bytes do not verify");
  return read_envelope(*wire::GetEnvelope(data), into);
}

Result<Envelope> decode(std::span<const std::uint8_t> bytes) {
  Envelope event;
  if (const Status read = decode(bytes, event); read.has_error()) return read.error();
  return event;
}

}  // namespace decklog
