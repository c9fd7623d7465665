// The table of ModuleLifecycle. One step takes at most two rows: the input's own (what is true now), then one
// of Decide (what to ask for next). Stopped is the crossroads: nothing runs, nothing is in flight; its Decide
// rows, from the top down, say what comes next. Four lists, so that four translation units share the compile
// time; one table all the same.
#pragma once

#include "statemachines/module_wishes.hpp"

namespace decklog::statemachines::module {

struct Stopped : State<ModuleState::kStopped> {};
struct Downloading : State<ModuleState::kDownloading> {};
struct Creating : State<ModuleState::kCreating> {};
struct Created : State<ModuleState::kCreated> {};
struct Starting : State<ModuleState::kStarting> {};
struct Running : State<ModuleState::kRunning> {};
struct Unhealthy : State<ModuleState::kUnhealthy> {};
struct Stopping : State<ModuleState::kStopping> {};
struct BackingOff : State<ModuleState::kBackingOff> {};
struct Failed : State<ModuleState::kFailed> {};
struct ImageRejected : State<ModuleState::kImageRejected> {};
struct Lost : State<ModuleState::kLost> {};
struct Removing : State<ModuleState::kRemoving> {};
struct Removed : State<ModuleState::kRemoved> {};
using States = mp::mp_list<Stopped, Downloading, Creating, Created, Starting, Running, Unhealthy, Stopping,
                           BackingOff, Failed, ImageRejected, Lost, Removing, Removed>;

// What the runtime shows. News = something the life does not say yet, or the first look after being blind.
using SeenRows =
    mp::mp_append<OnEach<SeenRunning, Running, adopt, Always, Stopped, Downloading, Created, BackingOff,
                         Failed, ImageRejected, Lost, Removed>,
                  OnEach<SeenRunning, Running, adopt, idle, Creating, Starting, Removing>,
                  OnEach<SeenRunning, None, see, news, Running, Unhealthy, Stopping>,

                  OnEach<SeenExited, Stopped, see_end, Always, Running, Unhealthy>,
                  OnEach<SeenExited, Stopped, see_stopped, idle, Stopping>,
                  OnEach<SeenExited, Stopped, see_resting, blind, Creating, Starting, Removing>,
                  mp::mp_list<On<Downloading, SeenExited, Stopped, see_resting, Or<blind, shows_wanted>>>,
                  OnEach<SeenExited, Stopped, see_resting, Always, Lost, Removed>,
                  mp::mp_list<OnAny<SeenExited, see, news>>,

                  OnEach<SeenCreated, Stopped, see_replaced, Always, Running, Unhealthy>,
                  OnEach<SeenCreated, Stopped, see_stopped, idle, Stopping>,
                  OnEach<SeenCreated, Stopped, see_resting, blind, Creating, Starting, Removing>,
                  mp::mp_list<On<Downloading, SeenCreated, Stopped, see_resting, Or<blind, shows_wanted>>>,
                  OnEach<SeenCreated, Stopped, see_resting, Always, Lost, Removed>,
                  mp::mp_list<OnAny<SeenCreated, see, news>>,

                  OnEach<SeenAbsent, Lost, see_vanished, Always, Running, Unhealthy>,
                  OnEach<SeenAbsent, Lost, see_vanished, idle, Starting>,
                  OnEach<SeenAbsent, Lost, see_absent, Always, Created>,
                  OnEach<SeenAbsent, Stopped, see_gone, idle, Stopping, Removing>,
                  OnEach<SeenAbsent, Stopped, see_absent, blind, Downloading, Creating>,
                  mp::mp_list<OnAny<SeenAbsent, see_absent, news_absent>>>;

// How work ended, what probes say, and the timer.
using WorkRows = mp::mp_append<
    OnEach<PullSucceeded, Stopped, pull_done, pulling, Downloading, BackingOff>,
    OnEach<PullSucceeded, None, pull_done, pulling, Running, Unhealthy>,
    mp::mp_list<On<Downloading, PullFailed, Stopped, pull_failed, And<pulling, old_one_serves>>,
                On<Downloading, PullFailed, Failed, pull_failed_often, And<pulling, last_try>>,
                On<Downloading, PullFailed, BackingOff, pull_failed_wait, pulling>>,
    OnEach<PullFailed, None, update_failed, pulling, Running, Unhealthy>,
    mp::mp_list<On<BackingOff, PullFailed, None, pull_failed, pulling>,
                On<Downloading, DigestRejected, Stopped, refuse_image, And<pulling, old_one_serves>>,
                On<Downloading, DigestRejected, ImageRejected, refuse_image_wait, pulling>>,
    OnEach<DigestRejected, None, refuse_update, pulling, Running, Unhealthy>,
    mp::mp_list<On<BackingOff, DigestRejected, None, refuse_image, pulling>,
                On<Creating, CreateSucceeded, Stopped, create_done, creating>,
                On<Creating, CreateFailed, Failed, create_failed_often, And<creating, last_try>>,
                On<Creating, CreateFailed, BackingOff, create_failed_wait, creating>,
                On<Starting, StartSucceeded, Running, start_done, starting>,
                On<Starting, StartFailed, Stopped, start_failed, starting>,
                On<Stopping, StopSucceeded, Stopped, stop_done, stopping>,
                On<Stopping, StopFailed, None, stop_failed, stopping>,
                On<Removing, RemoveSucceeded, Stopped, remove_done, removing>,
                On<Removing, RemoveFailed, None, remove_failed, removing>,
                On<Unhealthy, HealthPassed, Running, recover>,
                On<Running, HealthPassed, None, first_healthy, not_yet_healthy>,
                On<Running, HealthFailed, Unhealthy, sicken>,
                On<BackingOff, ModuleTimerFired, Downloading, wait_for_pull, And<due, pulling>>>,
    OnEach<ModuleTimerFired, Stopped, try_again, due, BackingOff, Failed, Removing>,
    mp::mp_list<On<ImageRejected, ModuleTimerFired, Stopped, try_refused_again, due>,
                OnAny<ModuleTimerFired, wake, due>>>;

// What is wanted: deployment, startup order, operators; and the ground we stand on: engine and device.
using WishRows = mp::mp_append<
    mp::mp_list<On<Removed, ModuleWanted, Stopped, wish, wished_to_exist>,
                On<Downloading, ModuleWanted, Stopped, wish, Or<wishes_other_image, wishes_absent>>,
                On<Unhealthy, ModuleWanted, Running, wish_unprobed, drops_probe>>,
    OnEach<ModuleWanted, Stopped, wish, wish_matters, Created, BackingOff, Failed, ImageRejected, Lost>,
    mp::mp_list<OnAny<ModuleWanted, wish, wish_differs>, On<Created, TurnGranted, Stopped, grant_turn>,
                OnAny<TurnGranted, grant_turn, not_its_turn>, OnAny<TurnRevoked, revoke_turn, its_turn>>,
    OnEach<OperatorRestart, Stopping, restart_running, wanted_running, Running, Unhealthy>,
    OnEach<OperatorRestart, Stopped, restart_resting, wanted_running, Created, BackingOff, Failed,
           ImageRejected, Lost>,
    mp::mp_list<OnAny<OperatorRestart, restart_resting, wanted_running>>,
    OnEach<OperatorStop, Stopped, hold, wanted_running, Created, BackingOff, Failed>,
    mp::mp_list<OnAny<OperatorStop, hold, wanted_running>>,
    OnEach<OperatorStart, Stopped, release, wanted_running, Created, BackingOff, Failed, ImageRejected, Lost>,
    mp::mp_list<OnAny<OperatorStart, release, wanted_running>, OnAny<EngineGone, lose_sight, Not<blind>>,
                OnAny<EngineBack, look_again>>,
    OnEach<DeviceRebooted, Stopped, reboot_running, Always, Starting, Running, Unhealthy, Stopping>,
    OnEach<DeviceRebooted, Stopped, reboot_waiting, Always, Downloading, Creating, BackingOff, Removing>,
    mp::mp_list<OnAny<DeviceRebooted, reboot_resting>>>;

// What to do about it.
using DecideRows = mp::mp_list<
    On<Stopped, Decide, Removed, forget, And<ready, wanted_absent, Not<exists>>>,
    On<Stopped, Decide, Removing, ask_remove, And<ready, wanted_absent>>,
    On<Stopped, Decide, Removing, ask_replace, And<ready, outdated>>,
    On<Stopped, Decide, Creating, ask_create, And<ready, missing>>,
    On<Stopped, Decide, BackingOff, back_off, And<startable, ended_by_itself, wanted_back, tries_left>>,
    On<Stopped, Decide, Downloading, keep_pulling, pulling>,
    On<Stopped, Decide, Downloading, ask_pull, And<ready, image_needed, Not<old_one_first>>>,
    On<Stopped, Decide, ImageRejected, rest_refused, And<ready, image_refused, Not<old_one_first>>>,
    On<Stopped, Decide, Failed, fail_exhausted, And<startable, ended_by_itself, wanted_back>>,
    On<Stopped, Decide, Failed, rest_failed, And<startable, ended_badly, policy_rests>>,
    On<Stopped, Decide, Starting, ask_start, And<ready, startable, wanted_back, its_turn>>,
    On<Stopped, Decide, Created, wait_for_turn, And<ready, startable, wanted_back, never_ended>>,
    On<Stopped, Decide, None, rest_ended, And<just_exited, policy_rests>>,

    On<Lost, Decide, Removed, forget, And<ready, wanted_absent>>,
    On<Lost, Decide, None, rest_lost, And<ended_badly, policy_rests>>,
    On<Lost, Decide, Downloading, keep_pulling, pulling>,
    On<Lost, Decide, Downloading, ask_pull, And<ready, image_needed>>,
    On<Lost, Decide, ImageRejected, rest_refused, And<ready, image_refused>>,
    On<Lost, Decide, Creating, ask_create, And<ready, missing>>,

    On<Running, Decide, Stopping, ask_stop, And<may_stop, Or<Not<wanted_running_now>, outdated>>>,
    On<Running, Decide, None, ask_update, And<ready, update_due>>,
    On<Unhealthy, Decide, Stopping, ask_stop, And<may_stop, Or<Not<wanted_running_now>, outdated>>>,
    On<Unhealthy, Decide, Stopping, end_unhealthy, And<ready, no_timer, policy_ends_unhealthy>>,
    On<Unhealthy, Decide, None, ask_update, And<ready, update_due>>,
    On<Stopping, Decide, None, ask_stop_again, And<ready, no_timer>>,
    On<Removing, Decide, None, ask_remove, And<ready, no_timer>>>;

using Rows = mp::mp_append<SeenRows, WorkRows, WishRows, DecideRows>;

// The rest: no row. A result that nobody waits for is refused and counted; what comes late is harmless.
template <class... Sources>
using OtherThan = mp::mp_set_difference<States, mp::mp_list<Sources...>>;
using Pullers = mp::mp_list<Downloading, BackingOff, Running, Unhealthy>;
using NoPullers = mp::mp_set_difference<States, Pullers>;
using Refusals = mp::mp_list<
    RejectIn<PullSucceeded, NoPullers>, RejectIn<PullFailed, NoPullers>, RejectIn<DigestRejected, NoPullers>,
    RejectIn<CreateSucceeded, OtherThan<Creating>>, RejectIn<CreateFailed, OtherThan<Creating>>,
    RejectIn<StartSucceeded, OtherThan<Starting>>, RejectIn<StartFailed, OtherThan<Starting>>,
    RejectIn<StopSucceeded, OtherThan<Stopping>>, RejectIn<StopFailed, OtherThan<Stopping>>,
    RejectIn<RemoveSucceeded, OtherThan<Removing>>, RejectIn<RemoveFailed, OtherThan<Removing>>,
    IgnoreIn<HealthPassed, OtherThan<Running, Unhealthy>>, IgnoreIn<HealthFailed, OtherThan<Running>>>;

// Inputs whose rows' refusal means "not possible now" rather than "nothing new".
using Demands = mp::mp_list<PullSucceeded, PullFailed, DigestRejected, CreateSucceeded, CreateFailed,
                            StartSucceeded, StartFailed, StopSucceeded, StopFailed, RemoveSucceeded,
                            RemoveFailed, OperatorRestart, OperatorStop, OperatorStart>;

using Inputs = mp::mp_rename<ModuleInput, mp::mp_list>;
inline constexpr PairTable<Rows, Refusals, States, Inputs> kPairs;
static_assert(kPairs.whole(),
              "every (state, input) pair is a row, a listed ignore or a listed rejection, and only one");
static_assert(only_last_unguarded<Rows>(), "an unguarded row hides those below it");
static_assert(all_reachable<Rows, States>(), "a state that no row leads to");
static_assert(all_stored<States>(), "a state without a stored id of its own");
static_assert(sizeof(ModuleLife) <= 112);

// One row for the input, one for the decision. Defined in module_seen.cpp, module_work.cpp, module_wishes.cpp
// and module_machine.cpp.
template <class Input>
Outcome take(ModuleRun& run, const Input& input);
Outcome decide(ModuleRun& run);
ModuleStep step_traced(const ModuleLife& life, const ModuleInput& input, const ModuleContext& context,
                       RowTrace& trace);

}  // namespace decklog::statemachines::module
