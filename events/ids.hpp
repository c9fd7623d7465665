// Strong ids. Each wraps one string or number so that a module name cannot be passed where a stream is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace decklog {

template <class Tag>
struct TextId {
  std::string value;

  TextId() = default;
  explicit TextId(std::string text) : value(std::move(text)) {}
  explicit TextId(std::string_view text) : value(text) {}
  explicit TextId(const char* text) : value(text) {}

  bool empty() const { return value.empty(); }
  friend auto operator<=>(const TextId&, const TextId&) = default;
  friend bool operator==(const TextId&, const TextId&) = default;
};

using DeviceId = TextId<struct DeviceTag>;
using ModuleName = TextId<struct ModuleTag>;        // "sensor", "edgeHub"; unique on a device
using BootId = TextId<struct BootTag>;              // kernel boot id, 36 characters
using Correlation = TextId<struct CorrelationTag>;  // deployment version or request id, e.g. "deployment/12"
using Actor = TextId<struct ActorTag>;  // who asked: "uid:1000 (anna)", "fleet", empty = the runtime itself

// Position in one journal. Contiguous from 1; 0 means "none".
struct Sequence {
  std::uint64_t value = 0;
  friend auto operator<=>(const Sequence&, const Sequence&) = default;
  Sequence next() const { return {value + 1}; }
  explicit operator bool() const { return value != 0; }
};

// "module/<name>", "uplink", "client/<device>[/<module>]", "deployment", "service".
struct StreamId {
  std::string value;
  friend auto operator<=>(const StreamId&, const StreamId&) = default;
  friend bool operator==(const StreamId&, const StreamId&) = default;

  static StreamId module(const ModuleName& name) { return {"module/" + name.value}; }
  static StreamId client(std::string_view identity) { return {"client/" + std::string(identity)}; }
  static StreamId uplink() { return {"uplink"}; }
  static StreamId deployment() { return {"deployment"}; }
  static StreamId service() { return {"service"}; }
};

}  // namespace decklog

template <class Tag>
struct std::hash<decklog::TextId<Tag>> {
  std::size_t operator()(const decklog::TextId<Tag>& id) const { return std::hash<std::string>{}(id.value); }
};
template <>
struct std::hash<decklog::StreamId> {
  std::size_t operator()(const decklog::StreamId& id) const { return std::hash<std::string>{}(id.value); }
};
