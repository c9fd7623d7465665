// How a table is written, checked and drawn: row aliases over Boost.MSM's functor rows, compile-time checks
// over the type list, names for tracing, and a Mermaid printer. Front-end headers only; the back-end is
// run_once.hpp's business.
//
// Reading a table: rows of one (state, input) pair are tried from the top down, the first whose guard agrees
// is taken. A row of any state (OnAny) is tried after all of those. `None` as target: the state stays,
// nothing is left or entered. An action or guard is a struct with operator()(const Input&, Run&); it cannot
// fail and looks at nothing else.
#pragma once

#include <array>
#include <boost/mp11.hpp>
#include <boost/msm/front/functor_row.hpp>
#include <boost/msm/front/state_machine_def.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include "statemachines/step.hpp"

namespace decklog::statemachines {

namespace mp = boost::mp11;
using None = boost::msm::front::none;

// "SeenRunning" for a type of that name, without namespaces and template arguments. Static storage.
template <class T>
constexpr std::string_view type_name() {
  constexpr std::string_view whole = __PRETTY_FUNCTION__;
  constexpr std::size_t begin = whole.find("T = ") + 4;
  constexpr std::size_t end = whole.find_first_of(";]", begin);
  constexpr std::string_view full = whole.substr(begin, end - begin);
  constexpr std::string_view bare = full.substr(0, full.find('<'));
  constexpr std::size_t colon = bare.rfind("::");
  return colon == std::string_view::npos ? bare : bare.substr(colon + 2);
}

// What a row is called, in traces and pictures. The address of row_name<...> identifies the row.
struct RowName {
  std::string_view source, event, target, action, guard;
};

// What a machine made of one event.
enum class Outcome : std::uint8_t {
  kNoRow = 0,  // the pair has no row
  kTaken = 1,
  kRefused = 2,  // it has, and every guard said no
};

// Rows taken by one step, in order: the input's, then that of the decision after it. For tests and traces.
struct RowTrace {
  static constexpr std::size_t kMaxRows = 2;
  std::array<const RowName*, kMaxRows> rows{};
  std::size_t count = 0;
  void note(const RowName& row) {
    if (count < kMaxRows) rows[count++] = &row;
  }
};

// ---- guards -------------------------------------------------------------------------------------

struct Always {
  template <class Event, class Run>
  bool operator()(const Event&, const Run&) const {
    return true;
  }
};
template <class... Guards>
struct And {
  template <class Event, class Run>
  bool operator()(const Event& event, const Run& run) const {
    return (Guards{}(event, run) && ...);
  }
};
template <class... Guards>
struct Or {
  template <class Event, class Run>
  bool operator()(const Event& event, const Run& run) const {
    return (Guards{}(event, run) || ...);
  }
};
template <class Guard>
struct Not {
  template <class Event, class Run>
  bool operator()(const Event& event, const Run& run) const {
    return !Guard{}(event, run);
  }
};
template <class T>
struct guard_text {
  static std::string of() { return std::string(type_name<T>()); }
};
template <class... Guards>
struct guard_text<And<Guards...>> {
  static std::string of() {
    std::string text;
    ((text += (text.empty() ? "" : " and ") + guard_text<Guards>::of()), ...);
    return text;
  }
};
template <class... Guards>
struct guard_text<Or<Guards...>> {
  static std::string of() {
    std::string text;
    ((text += (text.empty() ? "" : " or ") + guard_text<Guards>::of()), ...);
    return "(" + text + ")";
  }
};
template <class Guard>
struct guard_text<Not<Guard>> {
  static std::string of() { return "not " + guard_text<Guard>::of(); }
};

// ---- rows ---------------------------------------------------------------------------------------

struct AnyState {};

// What MSM calls: forwards to the guard or action with the run of this step, and notes the row when it is
// taken.
template <class Guard>
struct Guarded {
  template <class Event, class Machine, class From, class To>
  bool operator()(const Event& event, Machine& machine, From&, To&) const {
    return Guard{}(event, *machine.run);
  }
};
template <class Row>
inline constexpr RowName row_name{type_name<typename Row::From>(), type_name<typename Row::Input>(),
                                  type_name<typename Row::To>(), type_name<typename Row::Do>(),
                                  type_name<typename Row::If>()};
template <class Row>
struct Traced {
  template <class Event, class Machine, class From, class To>
  void operator()(const Event& event, Machine& machine, From&, To&) const {
    machine.run->trace.note(row_name<Row>);
    typename Row::Do{}(event, *machine.run);
  }
};

template <class FromT, class InputT, class ToT, class DoT, class IfT>
struct RowParts {
  using From = FromT;
  using Input = InputT;
  using To = ToT;
  using Do = DoT;
  using If = IfT;
};

// From --Input[If]--> To / Do
template <class From, class Input, class To, class Do, class If = Always>
struct On : RowParts<From, Input, To, Do, If>,
            boost::msm::front::Row<From, Input, To, Traced<On<From, Input, To, Do, If>>, Guarded<If>> {};
// The same in every state that has no row of its own for it; the state stays.
template <class Input, class Do, class If = Always>
struct OnAny : RowParts<AnyState, Input, None, Do, If>,
               boost::msm::front::Internal<Input, Traced<OnAny<Input, Do, If>>, Guarded<If>> {};
// One row for each of several source states.
template <class Input, class To, class Do, class If, class... From>
using OnEach = mp::mp_list<On<From, Input, To, Do, If>...>;

// Pairs that no row takes: harmless, or not possible.
template <class Input, class... States>
struct Ignore {};
template <class Input, class... States>
struct Reject {};
template <class Input, class List>
using IgnoreIn = mp::mp_apply<Ignore, mp::mp_push_front<List, Input>>;
template <class Input, class List>
using RejectIn = mp::mp_apply<Reject, mp::mp_push_front<List, Input>>;

// A state and its stored number. States have no entry or exit actions: the rows tell all.
template <auto Id>
struct State : boost::msm::front::state<> {
  static constexpr auto id = Id;
};

// ---- checks -------------------------------------------------------------------------------------

template <class Row>
using FromOf = typename Row::From;
template <class Row>
using InputOf = typename Row::Input;
template <class Row>
using ToOf = std::conditional_t<std::is_same_v<typename Row::To, None>, typename Row::From, typename Row::To>;
template <class Row>
using IsOfAnyState = std::is_same<typename Row::From, AnyState>;
template <class Row>
using IsUnguarded = std::is_same<typename Row::If, Always>;

// The rows of one (state, input) pair.
template <class Rows, class State, class Input>
struct PairRows {
  template <class Row>
  using fits = mp::mp_bool<std::is_same_v<FromOf<Row>, State> && std::is_same_v<InputOf<Row>, Input>>;
  using type = mp::mp_copy_if<Rows, fits>;
};

// Only the last row of a pair may be without a guard; anything after it could never be taken.
template <class Rows>
constexpr bool only_last_unguarded() {
  bool ok = true;
  mp::mp_for_each<mp::mp_transform<mp::mp_identity, Rows>>([&](auto row) {
    using Row = typename decltype(row)::type;
    using Same = typename PairRows<Rows, FromOf<Row>, InputOf<Row>>::type;
    if constexpr (IsUnguarded<Row>::value) ok = ok && std::is_same_v<mp::mp_back<Same>, Row>;
  });
  return ok;
}

// Every state can be reached from the first one. States with stored ids below kMaxStates only.
inline constexpr std::size_t kMaxStates = 24;

template <class Rows, class States>
constexpr bool all_reachable() {
  constexpr std::size_t count = mp::mp_size<States>::value;
  std::array<bool, count> seen{};
  seen[0] = true;
  for (std::size_t round = 0; round < count; ++round) {
    mp::mp_for_each<mp::mp_transform<mp::mp_identity, Rows>>([&](auto row) {
      using Row = typename decltype(row)::type;
      if constexpr (!IsOfAnyState<Row>::value) {
        if (seen[mp::mp_find<States, FromOf<Row>>::value]) seen[mp::mp_find<States, ToOf<Row>>::value] = true;
      }
    });
  }
  for (bool reached : seen)
    if (!reached) return false;
  return true;
}

// Every state has a stored id, no two the same.
template <class States>
constexpr bool all_stored() {
  std::array<bool, kMaxStates> used{};
  bool ok = true;
  mp::mp_for_each<mp::mp_transform<mp::mp_identity, States>>([&](auto state) {
    constexpr auto id = static_cast<std::size_t>(decltype(state)::type::id);
    static_assert(id < kMaxStates);
    ok = ok && !used[id];
    used[id] = true;
  });
  return ok;
}

// What the table says of a pair.
enum class Pair : std::uint8_t { kNothing = 0, kRow = 1, kIgnored = 2, kRejected = 3, kTwice = 4 };

template <class Rows, class Refusals, class States, class Inputs>
struct PairTable {
  static constexpr std::size_t kInputs = mp::mp_size<Inputs>::value;
  std::array<std::array<Pair, kInputs>, kMaxStates> cell{};

  constexpr PairTable() {
    mp::mp_for_each<mp::mp_transform<mp::mp_identity, Rows>>([&](auto row) {
      using Row = typename decltype(row)::type;
      constexpr std::size_t input = mp::mp_find<Inputs, InputOf<Row>>::value;
      if constexpr (input == kInputs) {
        return;  // the machine's own Decide
      } else if constexpr (IsOfAnyState<Row>::value) {
        mp::mp_for_each<mp::mp_transform<mp::mp_identity, States>>([&](auto state) {
          cell[static_cast<std::size_t>(decltype(state)::type::id)][input] = Pair::kRow;
        });
      } else {
        cell[static_cast<std::size_t>(FromOf<Row>::id)][input] = Pair::kRow;
      }
    });
    mp::mp_for_each<mp::mp_transform<mp::mp_identity, Refusals>>(
        [&](auto refusal) { refuse(typename decltype(refusal)::type{}); });
  }
  constexpr bool whole() const {
    bool ok = true;
    mp::mp_for_each<mp::mp_transform<mp::mp_identity, States>>([&](auto state) {
      for (Pair pair : cell[static_cast<std::size_t>(decltype(state)::type::id)])
        ok = ok && pair != Pair::kNothing && pair != Pair::kTwice;
    });
    return ok;
  }
  template <class Id>
  constexpr Pair at(Id state, std::size_t input) const {
    const auto row = static_cast<std::size_t>(state);
    return row < kMaxStates ? cell[row][input] : Pair::kNothing;
  }

 private:
  template <class Input, class... Of>
  constexpr void refuse(Ignore<Input, Of...>) {
    (mark(cell[static_cast<std::size_t>(Of::id)][mp::mp_find<Inputs, Input>::value], Pair::kIgnored), ...);
  }
  template <class Input, class... Of>
  constexpr void refuse(Reject<Input, Of...>) {
    (mark(cell[static_cast<std::size_t>(Of::id)][mp::mp_find<Inputs, Input>::value], Pair::kRejected), ...);
  }
  constexpr static void mark(Pair& pair, Pair as) { pair = pair == Pair::kNothing ? as : Pair::kTwice; }
};

// What a guard's refusal of every row of a pair means: nothing new (ignored), or not possible now (rejected).
constexpr Verdict verdict_of(Pair pair, bool refused_by_guard, bool refusal_is_rejection) {
  if (refused_by_guard) return refusal_is_rejection ? Verdict::kRejected : Verdict::kIgnored;
  return pair == Pair::kIgnored ? Verdict::kIgnored : Verdict::kRejected;
}

// ---- pictures -----------------------------------------------------------------------------------

// A Mermaid state diagram. Rows that stay in their state are drawn as loops; rows of any state are listed as
// notes.
template <class Rows, class Initial>
std::string mermaid() {
  std::string out = "stateDiagram-v2\n  [*] --> " + std::string(type_name<Initial>()) + "\n";
  mp::mp_for_each<mp::mp_transform<mp::mp_identity, Rows>>([&](auto tag) {
    using Row = typename decltype(tag)::type;
    std::string label = std::string(type_name<InputOf<Row>>());
    if (!IsUnguarded<Row>::value) label += " [" + guard_text<typename Row::If>::of() + "]";
    label += " / " + std::string(type_name<typename Row::Do>());
    if constexpr (IsOfAnyState<Row>::value) {
      out += "  %% any state: " + label + "\n";
    } else {
      out += "  " + std::string(type_name<FromOf<Row>>()) + " --> " + std::string(type_name<ToOf<Row>>()) +
             " : " + label + "\n";
    }
  });
  return out;
}

// Every row's name, in table order.
template <class Rows>
constexpr auto row_names() {
  std::array<const RowName*, mp::mp_size<Rows>::value> names{};
  std::size_t at = 0;
  mp::mp_for_each<mp::mp_transform<mp::mp_identity, Rows>>(
      [&](auto row) { names[at++] = &row_name<typename decltype(row)::type>; });
  return names;
}

// A Markdown list of the pairs no row takes.
template <class States, class Inputs, class Table>
std::string refusal_list(const Table& table) {
  std::string out = "| input | ignored in | rejected in |\n|---|---|---|\n";
  mp::mp_for_each<mp::mp_transform<mp::mp_identity, Inputs>>([&](auto tag) {
    using Input = typename decltype(tag)::type;
    std::string ignored, rejected;
    mp::mp_for_each<mp::mp_transform<mp::mp_identity, States>>([&](auto state_tag) {
      using State = typename decltype(state_tag)::type;
      const Pair pair = table.at(State::id, mp::mp_find<Inputs, Input>::value);
      std::string* into = pair == Pair::kIgnored ? &ignored : pair == Pair::kRejected ? &rejected : nullptr;
      if (into) *into += (into->empty() ? "" : ", ") + std::string(type_name<State>());
    });
    if (!ignored.empty() || !rejected.empty())
      out += "| " + std::string(type_name<Input>()) + " | " + ignored + " | " + rejected + " |\n";
  });
  return out;
}

}  // namespace decklog::statemachines
