// Guards of ModuleLifecycle, named as the table reads. They look at the life before the row; in a step's
// second row (Decide) that is the life after the first.
#pragma once

#include "statemachines/module_rules.hpp"

namespace decklog::statemachines::module {

// The second input of every taken step: what follows from how things are now.
struct Decide final {};

// ---- guards over the life -----------------------------------------------------------------------

template <class Self>
struct AsksLife {
  template <class Input>
  bool operator()(const Input&, const ModuleRun& run) const {
    return Self::ask(run.life);
  }
};
struct blind : AsksLife<blind> {
  static bool ask(const ModuleLife& l) { return l.blind; }
};
struct exists : AsksLife<exists> {
  static bool ask(const ModuleLife& l) { return l.exists; }
};
struct idle : AsksLife<idle> {
  static bool ask(const ModuleLife& l) { return is_idle(l); }
};
struct ready : AsksLife<ready> {
  static bool ask(const ModuleLife& l) { return is_idle(l) && !l.blind; }
};
struct may_stop : AsksLife<may_stop> {
  static bool ask(const ModuleLife& l) { return (is_idle(l) || is_pulling(l)) && !l.blind; }
};
struct pulling : AsksLife<pulling> {
  static bool ask(const ModuleLife& l) { return is_pulling(l); }
};
struct creating : AsksLife<creating> {
  static bool ask(const ModuleLife& l) { return l.pending == PendingWork::kCreate; }
};
struct starting : AsksLife<starting> {
  static bool ask(const ModuleLife& l) { return l.pending == PendingWork::kStart; }
};
struct stopping : AsksLife<stopping> {
  static bool ask(const ModuleLife& l) { return l.pending == PendingWork::kStop; }
};
struct removing : AsksLife<removing> {
  static bool ask(const ModuleLife& l) { return l.pending == PendingWork::kRemove; }
};
struct no_timer : AsksLife<no_timer> {
  static bool ask(const ModuleLife& l) { return l.deadline_mono_ns == 0; }
};
struct its_turn : AsksLife<its_turn> {
  static bool ask(const ModuleLife& l) { return l.may_start; }
};
struct not_its_turn : AsksLife<not_its_turn> {
  static bool ask(const ModuleLife& l) { return !l.may_start; }
};
struct not_yet_healthy : AsksLife<not_yet_healthy> {
  static bool ask(const ModuleLife& l) { return l.healthy_since_mono_ns == 0; }
};
struct wanted_absent : AsksLife<wanted_absent> {
  static bool ask(const ModuleLife& l) { return l.target == ModuleTarget::kAbsent; }
};
struct wanted_running : AsksLife<wanted_running> {
  static bool ask(const ModuleLife& l) { return l.target == ModuleTarget::kRunning; }
};
struct wanted_running_now : AsksLife<wanted_running_now> {
  static bool ask(const ModuleLife& l) { return should_run(l); }
};
struct wanted_back : AsksLife<wanted_back> {
  static bool ask(const ModuleLife& l) { return wants_run(l); }
};
struct never_ended : AsksLife<never_ended> {
  static bool ask(const ModuleLife& l) { return l.last_end == EndCause::kNone; }
};
struct ended_by_itself : AsksLife<ended_by_itself> {
  static bool ask(const ModuleLife& l) { return owes_wait(l); }
};
struct ended_badly : AsksLife<ended_badly> {
  static bool ask(const ModuleLife& l) { return is_bad_end(l.last_end); }
};
struct policy_rests : AsksLife<policy_rests> {
  static bool ask(const ModuleLife& l) { return should_run(l) && !policy_restarts(l.policy, l.last_end); }
};
struct policy_ends_unhealthy : AsksLife<policy_ends_unhealthy> {
  static bool ask(const ModuleLife& l) {
    return should_run(l) && policy_restarts(l.policy, EndCause::kUnhealthy);
  }
};
// Is what is wanted there, does it have to be replaced, fetched, made?
struct image_needed : AsksLife<image_needed> {
  static bool ask(const ModuleLife& l) { return l.wanted_spec != 0 && l.needs_pull && !is_refused(l); }
};
struct image_refused : AsksLife<image_refused> {
  static bool ask(const ModuleLife& l) { return l.needs_pull && is_refused(l); }
};
struct missing : AsksLife<missing> {
  static bool ask(const ModuleLife& l) { return l.wanted_spec != 0 && !l.exists && !l.needs_pull; }
};
struct outdated : AsksLife<outdated> {
  static bool ask(const ModuleLife& l) { return l.wanted_spec != 0 && is_stale(l) && !l.needs_pull; }
};
struct startable : AsksLife<startable> {
  static bool ask(const ModuleLife& l) { return l.exists && (!is_stale(l) || old_serves(l)); }
};
struct update_due : AsksLife<update_due> {
  static bool ask(const ModuleLife& l) {
    return l.wanted_spec != 0 && is_stale(l) && l.needs_pull && !is_refused(l) && l.deadline_mono_ns == 0;
  }
};

// ---- guards over settings, time and input -------------------------------------------------------

template <class Self>
struct AsksRun {
  template <class Input>
  bool operator()(const Input&, const ModuleRun& run) const {
    return Self::ask(run);
  }
};
struct old_one_first : AsksRun<old_one_first> {
  static bool ask(const ModuleRun& r) { return starts_old(r.life, r.context->restart); }
};
struct old_one_serves : AsksRun<old_one_serves> {
  static bool ask(const ModuleRun& r) { return starts_old(r.life, r.context->restart); }
};
struct tries_left : AsksRun<tries_left> {
  static bool ask(const ModuleRun& r) { return !is_exhausted(r.life, r.context->restart); }
};
struct last_try : AsksRun<last_try> {
  static bool ask(const ModuleRun& r) { return r.life.work_failures + 1 >= r.context->restart.max_tries; }
};
struct due : AsksRun<due> {
  static bool ask(const ModuleRun& r) {
    return r.life.deadline_mono_ns != 0 && r.context->now.ns >= r.life.deadline_mono_ns && !r.life.blind;
  }
};
struct just_exited : AsksRun<just_exited> {
  static bool ask(const ModuleRun& r) { return r.reason == ModuleReason::kExited; }
};
struct news_absent : AsksLife<news_absent> {
  static bool ask(const ModuleLife& l) { return l.blind || l.exists; }
};
struct news {
  template <class Seen>
  bool operator()(const Seen& seen, const ModuleRun& run) const {
    return run.life.blind || !run.life.exists || run.life.current_spec != seen.spec;
  }
};

struct shows_wanted {
  template <class Seen>
  bool operator()(const Seen& seen, const ModuleRun& run) const {
    return run.life.wanted_spec != 0 && seen.spec == run.life.wanted_spec;
  }
};

template <class Self>
struct AsksWish {
  bool operator()(const ModuleWanted& wish, const ModuleRun& run) const { return Self::ask(wish, run.life); }
};
inline bool changes_spec(const ModuleWanted& w, const ModuleLife& l) {
  return w.spec != l.wanted_spec && w.target != ModuleTarget::kAbsent;
}
struct wished_to_exist : AsksWish<wished_to_exist> {
  static bool ask(const ModuleWanted& w, const ModuleLife&) { return w.target != ModuleTarget::kAbsent; }
};
struct wishes_absent : AsksWish<wishes_absent> {
  static bool ask(const ModuleWanted& w, const ModuleLife&) { return w.target == ModuleTarget::kAbsent; }
};
struct wishes_other_image : AsksWish<wishes_other_image> {
  static bool ask(const ModuleWanted& w, const ModuleLife& l) { return changes_spec(w, l); }
};
struct drops_probe : AsksWish<drops_probe> {
  static bool ask(const ModuleWanted& w, const ModuleLife& l) { return l.has_probe && !w.has_probe; }
};
struct wish_differs : AsksWish<wish_differs> {
  static bool ask(const ModuleWanted& w, const ModuleLife& l) {
    return changes_spec(w, l) || w.target != l.target || w.policy != l.policy || w.has_probe != l.has_probe;
  }
};
// Enough to leave a state of rest: not so a policy that says the same of how it ended.
struct wish_matters : AsksWish<wish_matters> {
  static bool ask(const ModuleWanted& w, const ModuleLife& l) {
    return changes_spec(w, l) || w.target != l.target ||
           policy_restarts(w.policy, l.last_end) != policy_restarts(l.policy, l.last_end);
  }
};

}  // namespace decklog::statemachines::module
