// Private to the *_machine.cpp files: the only include of MSM's back-end. A machine is built on the stack,
// loaded with the state, given one event, read back and thrown away, so that nothing MSM keeps can outlive a
// step: no queue, no deferral, no half-done transition. Flat machines of one region only; no entry or exit
// actions.
#pragma once

#include <boost/mp11/mpl_list.hpp>
#include <boost/mpl/size.hpp>
#include <boost/msm/back/state_machine.hpp>
#include <boost/msm/front/state_machine_def.hpp>
#include <utility>
#include <variant>

#include "statemachines/rows.hpp"

namespace decklog::statemachines {

template <class Rows, class States, class Run>
struct Front : boost::msm::front::state_machine_def<Front<Rows, States, Run>> {
  using OwnRows = mp::mp_remove_if<Rows, IsOfAnyState>;
  using AnyRows = mp::mp_copy_if<Rows, IsOfAnyState>;
  static_assert(boost::mpl::size<OwnRows>::value == mp::mp_size<OwnRows>::value, "MSM must see every row");
  // MSM tries the rows of a pair from the last upward; the tables are written to be read from the top down.
  using transition_table = mp::mp_reverse<OwnRows>;
  using internal_transition_table = mp::mp_reverse<AnyRows>;
  using explicit_creation = States;
  using initial_state = mp::mp_front<States>;
  using no_message_queue = int;
  using no_exception_thrown = int;

  template <class Machine, class Event>
  void no_transition(const Event&, Machine&, int) {}

  Run* run = nullptr;
};

// Reads or writes the back-end's state number: the one way in that runs no entry action.
struct StateNumber {
  int value = 0;
  bool load = false;
  template <class T>
  StateNumber& operator&(T& part) {
    if constexpr (std::is_same_v<T, int[1]>) {
      if (load)
        part[0] = value;
      else
        value = part[0];
    }
    return *this;
  }
};

// MSM's numbers follow the order of rows and change with it: they never leave this function. `state` holds
// stored ids.
template <class Rows, class States, class Id, class Event, class Run>
Outcome run_once(Id& state, const Event& event, Run& run) {
  using Machine = boost::msm::back::state_machine<Front<Rows, States, Run>>;
  static_assert(Machine::nr_regions::value == 1, "flat machines only");
  struct Numbers {
    std::array<int, kMaxStates> msm_of{};
    std::array<Id, kMaxStates> stored_of{};
  };
  static constexpr Numbers kNumbers = [] {
    Numbers numbers;
    for (int& number : numbers.msm_of) number = -1;
    mp::mp_for_each<mp::mp_transform<mp::mp_identity, States>>([&](auto tag) {
      using State = typename decltype(tag)::type;
      constexpr int number = boost::msm::back::get_state_id<typename Machine::stt, State>::value;
      numbers.msm_of[static_cast<std::size_t>(State::id)] = number;
      numbers.stored_of[static_cast<std::size_t>(number)] = State::id;
    });
    return numbers;
  }();
  const auto id = static_cast<std::size_t>(state);
  if (id >= kMaxStates || kNumbers.msm_of[id] < 0) return Outcome::kNoRow;  // no such state in this build

  Machine machine;
  machine.run = &run;
  StateNumber number{kNumbers.msm_of[id], true};
  machine.serialize(number, 0u);
  const int result = static_cast<int>(machine.process_event(event));
  number.load = false;
  machine.serialize(number, 0u);
  state = kNumbers.stored_of[static_cast<std::size_t>(number.value)];
  if ((result & 1) != 0) return Outcome::kTaken;
  return (result & 2) != 0 ? Outcome::kRefused : Outcome::kNoRow;
}

// One step of a machine with one row a step. Table: Rows, States, Inputs, Demands, kPairs; Run: life,
// context, effects, trace.
template <class Table, class Result, class Run, class Life, class Input, class Context>
Result step_once(const Life& life, const Input& input, const Context& context, RowTrace& trace) {
  Result result;
  std::visit(
      [&]<class Fact>(const Fact& fact) {
        result.trigger = type_name<Fact>();
        Run run;
        run.life = life;
        run.context = &context;
        const Outcome outcome =
            run_once<typename Table::Rows, typename Table::States>(run.life.state, fact, run);
        if (outcome == Outcome::kTaken) {
          result.verdict = Verdict::kTaken;
          result.effects = run.effects;
          if constexpr (requires { result.reason = run.reason; }) result.reason = run.reason;
          result.next = std::move(run.life);
          trace = run.trace;
          return;
        }
        result.verdict =
            verdict_of(Table::kPairs.at(life.state, mp::mp_find<typename Table::Inputs, Fact>::value),
                       outcome == Outcome::kRefused, mp::mp_contains<typename Table::Demands, Fact>::value);
        result.next = life;
      },
      input);
  return result;
}

}  // namespace decklog::statemachines
