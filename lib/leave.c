/* leave.c - a hold ends, and LANE leaves us. See leave.h.
 *
 * Order: suspend, with the writer's mark set, so that who dies in it is found; the mark goes; LANE is unlocked; the
 * file is looked at. A hold that was forced out, or whose file was lost, does not suspend: what it would write belongs
 * to somebody else by now. In a child that a suspend has forked all words are the parent's, which is still at it. */
#include "leave.h"
#include "clock.h"
#include "error.h"
#include "lane.h"
#include "lock.h"
#include "queue.h"
#include "stats.h"
#include "trace.h"

const char *colockp_hold_path(const colock_hold *hold) {
  return hold->region ? hold->region->escaped : hold->lock->escaped;
}

int colockp_hold_present(const colock_hold *hold) {
  uint32_t generation = colockp_region_generation(hold->region);
  if (generation == hold->activity.generation)
    return 0;
  if (generation == 0)
    return colockp_fail(COLOCK_ELOST, 0, "%s: damaged while it was held", colockp_hold_path(hold));
  return colockp_fail(COLOCK_EREVOKED, 0, "%s: the lock was forced from us; somebody else may have it",
                      colockp_hold_path(hold));
}

/* Is it the last LANE of this process, so that a suspend is due? Its file must be the lock's own still. */
static bool leaves(colock_hold *hold) {
  return colockp_lane_uncount(hold) && hold->region == atomic_load(&hold->lock->region) &&
         !hold->lost && colockp_seat_look(hold) == 0;
}

static bool is_ours(const colock_hold *hold) { return hold->forks == colockp_fork_count(); }

/* What the lock guards is put in order. False: that failed, so whoever comes next is to find
 * the mark of a writer that died. */
static bool suspend(colock_hold *hold) {
  colock *lock = hold->lock;
  struct colockp_activity *activity = &hold->activity;
  if (activity->state == COLOCKP_CACHED && activity->token &&
      !colockp_writer_mark(hold->region, activity->generation, activity->token))
    return true; /* forced out a moment ago */
  activity->state = COLOCKP_RECALLED;
  activity->renewed_ns = colockp_now_ns();
  colockp_seat_show_state(hold);
  pthread_mutex_lock(&lock->suspending);
  colockp_trace_suspend(hold);
  int value = lock->suspend(lock->suspend_arg);
  if (!is_ours(hold))
    return false; /* in the child the mutex began anew */
  pthread_mutex_unlock(&lock->suspending);
  colockp_trace_suspended(hold, value);
  return value == 0;
}

int colockp_hold_end(colock_hold *hold) {
  int code = colockp_hold_present(hold), unlocked = 0;
  bool kept = hold->activity.state == COLOCKP_CACHED, inherited = hold->file.inherited, whole = true;
  if (code == 0 && !inherited && leaves(hold)) {
    whole = suspend(hold);
    if (!is_ours(hold))
      return colockp_fail(COLOCK_EFORKED, 0, "%s: the lock belongs to the parent process, whose suspend has forked",
                          colockp_hold_path(hold));
    code = colockp_hold_present(hold); /* it may have taken long */
  }
  if (code == 0 && hold->activity.mode == COLOCK_EXCLUSIVE)
    colockp_queue_end_phase(hold->region);
  if (code == 0 && whole)
    colockp_hold_unmark(hold);
  if (!inherited) { /* inherited: the copies in children keep it, until the last one closes */
    hold->activity.state = COLOCKP_IDLE;
    colockp_seat_show_state(hold);
    unlocked = colockp_lane_unlock(hold);
  }
  /* After the unlock: whoever waits need not wait for this too. */
  int64_t ended_ns = kept ? hold->activity.renewed_ns : colockp_now_ns();
  if (!kept) {
    colockp_stats_end(hold, ended_ns);
    if (code == 0 && colockp_hold_was_long(hold, ended_ns))
      code = colockp_seat_look(hold);
  }
  code = code == COLOCK_ESYSTEM ? COLOCK_ELOST : code;
  colockp_trace_left(hold, kept, ended_ns - hold->activity.since_ns, code ? code : hold->lost ? COLOCK_ELOST : 0);
  return code ? code : unlocked;
}
