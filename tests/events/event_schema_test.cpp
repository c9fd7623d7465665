// The field lists of the facts and event.fbs say the same: names, ids, types, the order of the union. The
// codec walks the lists, the verifier checks by the schema; if they differed, it would check something else.
#include <flatbuffers/reflection.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "events/event.hpp"
#include "events/field_visit.hpp"

namespace decklog {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Field {
  std::string name, type;
  friend bool operator==(const Field&, const Field&) = default;
};
void PrintTo(const Field& field, std::ostream* out) {
  *out << field.name << ":" << field.type;
}
using Fields = std::map<int, Field>;  // by id

std::string type_text(const reflection::Schema& schema, const reflection::Type& type) {
  switch (type.base_type()) {
    case reflection::Bool:
      return "bool";
    case reflection::UByte:
      return "u1";
    case reflection::UShort:
      return "u2";
    case reflection::UInt:
      return "u4";
    case reflection::ULong:
      return "u8";
    case reflection::Int:
      return "i4";
    case reflection::Long:
      return "i8";
    case reflection::String:
      return "text";
    case reflection::Vector:
      return type.element() == reflection::String ? "texts" : "other list";
    case reflection::Obj:
      return "table " + schema.objects()->Get(static_cast<unsigned>(type.index()))->name()->str();
    default:
      return "other " + std::to_string(type.base_type());
  }
}

template <class T>
std::string type_text(const T&) {
  if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (detail::kIsEnum<T> || detail::kIsNumber<T>) {
    const bool is_signed = std::is_signed_v<T>;
    return (is_signed ? "i" : "u") + std::to_string(sizeof(T));
  } else if constexpr (detail::kIsText<T> || detail::kIsTextId<T>) {
    return "text";
  } else if constexpr (detail::kIsTextList<T>) {
    return "texts";
  } else if constexpr (std::is_same_v<T, ModuleLife>) {
    return "table decklog.wire.ModuleLife";
  } else if constexpr (std::is_same_v<T, DeploymentLife>) {
    return "table decklog.wire.DeploymentLife";
  } else if constexpr (std::is_same_v<T, UplinkLife>) {
    return "table decklog.wire.UplinkLife";
  } else {
    static_assert(std::is_same_v<T, ClientLife>);
    return "table decklog.wire.ClientLife";
  }
}

template <class Table>
Fields listed_fields() {
  Fields fields;
  const Table table;
  Table::fields(table, [&](int id, const char* name, const auto& value) {
    EXPECT_TRUE(fields.try_emplace(id, Field{name, type_text(value)}).second) << name << ": id used twice";
  });
  return fields;
}

class EventSchema : public testing::Test {
 protected:
  EventSchema() : bytes_(read_file(DECKLOG_BINARY_DIR "/generated/event.bfbs")) {
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(bytes_.data()), bytes_.size());
    EXPECT_TRUE(reflection::VerifySchemaBuffer(verifier));
    schema_ = reflection::GetSchema(bytes_.data());
  }

  Fields schema_fields(const std::string& table) const {
    Fields fields;
    const auto* object = schema_->objects()->LookupByKey(("decklog.wire." + table).c_str());
    EXPECT_NE(object, nullptr) << table;
    if (!object) return fields;
    for (const auto* field : *object->fields()) {
      EXPECT_FALSE(field->required()) << table << "." << field->name()->str();
      EXPECT_FALSE(field->deprecated()) << table << "." << field->name()->str();
      EXPECT_EQ(field->default_integer(), 0) << table << "." << field->name()->str();
      fields[field->id()] = {field->name()->str(), type_text(*schema_, *field->type())};
    }
    return fields;
  }

  template <class Table>
  void compare(const std::string& name) const {
    EXPECT_EQ(listed_fields<Table>(), schema_fields(name)) << name;
  }

  template <std::size_t... Index>
  void compare_facts(std::index_sequence<Index...>) const {
    (compare<std::variant_alternative_t<Index + 1, Fact>>(std::string(fact_info(Index + 1).schema)), ...);
  }

  std::string bytes_;
  const reflection::Schema* schema_ = nullptr;
};

TEST_F(EventSchema, HasTheFieldsThatTheFactsList) {
  compare_facts(std::make_index_sequence<kFactTypes - 1>());
}

TEST_F(EventSchema, HasTheFieldsOfTheLives) {
  compare<ModuleLife>("ModuleLife");
  compare<DeploymentLife>("DeploymentLife");
  compare<UplinkLife>("UplinkLife");
  compare<ClientLife>("ClientLife");
}

TEST_F(EventSchema, NumbersTheTypesAsTheVariantDoes) {
  const auto* payload = schema_->enums()->LookupByKey("decklog.wire.Payload");
  ASSERT_NE(payload, nullptr);
  ASSERT_EQ(payload->values()->size(), kFactTypes);
  for (const auto* value : *payload->values()) {
    if (value->value() == 0) continue;
    EXPECT_EQ(value->name()->str(), fact_info(static_cast<std::size_t>(value->value())).schema);
  }
}

TEST_F(EventSchema, HasNoTableThatNoFactUses) {
  std::size_t tables = 0;
  for (const auto* object : *schema_->objects()) tables += object->is_struct() ? 0 : 1;
  EXPECT_EQ(tables, kFactTypes - 1 + 4 /* lives */ + 1 /* Envelope */);
}

TEST_F(EventSchema, KnowsEnvelopesByTheirMark) {
  EXPECT_EQ(schema_->file_ident()->str(), "DLE1");
  EXPECT_EQ(schema_->root_table()->name()->str(), "decklog.wire.Envelope");
}

TEST(Catalogue, NamesEachTypeOnceWithAVersion) {
  std::map<std::string_view, std::size_t> names;
  for (std::size_t type = 1; type < kFactTypes; ++type) {
    const FactInfo& entry = fact_info(type);
    EXPECT_TRUE(names.try_emplace(entry.name, type).second) << entry.name;
    EXPECT_TRUE(entry.name.ends_with(".v1")) << entry.name;
    EXPECT_FALSE(entry.meaning.empty()) << entry.name;
  }
  EXPECT_EQ(fact_info(kFactTypes).name, "unknown");
}

// Decisions and what changes state must outlive compaction; only repeats and observations may go earlier.
TEST(Catalogue, KeepsEveryDecisionLongest) {
  for (std::size_t type = 1; type < kFactTypes; ++type) {
    if (fact_info(type).kind != EventKind::kDecision) continue;
    EXPECT_TRUE(fact_info(type).lifecycle) << type;
  }
}

TEST(Catalogue, IsWhatTheReadmeSays) {
  const std::string path = DECKLOG_SOURCE_DIR "/events/README.md";
  const std::string begin = "<!-- catalogue: begin -->\n", end = "<!-- catalogue: end -->";
  std::string text = read_file(path);
  const auto from = text.find(begin), to = text.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  const auto start = from + begin.size();
  if (std::getenv("DECKLOG_REWRITE")) {
    text.replace(start, to - start, catalogue_markdown());
    std::ofstream(path, std::ios::binary) << text;
  }
  const std::string now = read_file(path);
  EXPECT_EQ(now.substr(start, now.find(end) - start), catalogue_markdown())
      << "DECKLOG_REWRITE=1 writes it anew";
}

}  // namespace
}  // namespace decklog
