// How codec, JSON export and comparison walk a fact: by the kinds of its fields. Private to events/.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "events/event.hpp"

namespace decklog::detail {

template <class T>
inline constexpr bool kIsText = std::is_same_v<T, std::string>;
template <class T>
inline constexpr bool kIsTextId = false;
template <class Tag>
inline constexpr bool kIsTextId<TextId<Tag>> = true;
template <class T>
inline constexpr bool kIsTextList = std::is_same_v<T, std::vector<std::string>>;
template <class T>
inline constexpr bool kIsNumber = std::is_arithmetic_v<T>;
template <class T>
inline constexpr bool kIsEnum = std::is_enum_v<T>;
// A nested table: ModuleLife, DeploymentLife, UplinkLife, ClientLife.
template <class T>
inline constexpr bool kIsTable = std::is_class_v<T> && !kIsText<T> && !kIsTextId<T> && !kIsTextList<T>;

}  // namespace decklog::detail
