/* hold.c - what can be done with a hold: give it back, look at it, pass it on.
 *
 * A hold of our parent answers EFORKED: its descriptor is closed here, its slot and LANE are the parent's. */
#define _GNU_SOURCE
#include "hold.h"
#include "acquire.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "queue.h"
#include "queue_read.h"
#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A shorter hold was looked at when it was granted: another fstat would cost a third of the whole pair. */
#define LOOK_AGAIN_NS INT64_C(100000)

const char *colockp_hold_path(const colock_hold *hold) {
  return hold->region ? hold->region->escaped : hold->lock->path;
}

static int fail_forked(const colock_hold *hold) {
  return colockp_fail(COLOCK_EFORKED, 0, "%s: the hold belongs to the parent process", colockp_hold_path(hold));
}

int colockp_hold_usable(const colock_hold *hold) {
  if (!hold)
    return colockp_fail(COLOCK_EINVAL, 0, "the hold must not be NULL");
  if (hold->forks != colockp_fork_count())
    return fail_forked(hold);
  return hold->ended ? colockp_fail(hold->ended, 0, "%s: colock_yield did not get it back, so nothing is held",
                                    colockp_hold_path(hold)) : 0;
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

int colock_check(colock_hold *hold) {
  int code = colockp_hold_usable(hold);
  if (code || !hold->region)
    return code;
  code = colockp_hold_present(hold);
  if (code == 0)
    code = colockp_seat_look(hold);
  return code == COLOCK_ESYSTEM ? COLOCK_ELOST : code;
}

int colock_renew(colock_hold *hold) {
  int code = colockp_hold_usable(hold);
  if (code || !hold->region)
    return code;
  hold->activity.renewed_ns = colockp_now_ns();
  colockp_seat_show_state(hold);
  return colockp_hold_present(hold);
}

int colockp_hold_end(colock_hold *hold) {
  int code = colockp_hold_present(hold), unlocked = 0;
  if (code == 0 && hold->activity.token) {
    colockp_queue_end_phase(hold->region);
    colockp_writer_clear(hold->region, hold->activity.token);
  }
  if (!hold->file.inherited) { /* inherited: the copies in children keep it, until the last one closes */
    hold->activity.state = COLOCKP_IDLE;
    colockp_seat_show_state(hold);
    unlocked = colockp_lane_unlock(hold);
  }
  /* After the unlock: whoever waits need not wait for this too. */
  if (code == 0 && (hold->lost || colockp_now_ns() - hold->activity.since_ns >= LOOK_AGAIN_NS))
    code = colockp_seat_look(hold);
  code = code == COLOCK_ESYSTEM ? COLOCK_ELOST : code;
  return code ? code : unlocked;
}

int colock_release(colock_hold *hold) {
  if (!hold)
    return colockp_fail(COLOCK_EINVAL, 0, "the hold must not be NULL");
  if (hold->forks != colockp_fork_count()) {
    int forked = fail_forked(hold);
    colockp_lock_put(hold);
    return forked;
  }
  if (!hold->region || hold->ended) {
    colockp_lock_put(hold);
    return 0;
  }
  int code = colockp_hold_end(hold);
  /* A reader-only lock can ring nobody: whoever waits learns of it by the watch, if the descriptor is closed. */
  hold->broken |= hold->region->read_only && colockp_queue_read_flag(hold->region);
  colockp_lock_put(hold);
  return code;
}

int colock_inherit(colock_hold *hold, int on) {
  int code = colockp_hold_usable(hold);
  if (code || !hold->region)
    return code;
  int error = colockp_fd_inherit(&hold->file, on != 0);
  return error ? colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot pass the lock on: %s", colockp_hold_path(hold),
                              strerror(error))
               : 0;
}

int colock_detach(colock_hold *hold) {
  int code = colockp_hold_usable(hold);
  if (code)
    return code;
  atomic_store_explicit(&hold->thread, 0, memory_order_relaxed);
  return 0;
}

uint64_t colock_token(const colock_hold *hold) { return hold->activity.token; }

uint64_t colock_last_token(const colock_hold *hold) { return hold->last_token; }

int colock_abandoned(const colock_hold *hold) { return hold->abandoned != 0; }

int colock_recovered(colock_hold *hold) {
  int code = colockp_hold_usable(hold);
  if (code || !hold->region)
    return code;
  if (hold->activity.mode != COLOCK_EXCLUSIVE)
    return colockp_fail(COLOCK_EINVAL, 0, "%s: only an exclusive hold can say recovered", colockp_hold_path(hold));
  code = colockp_hold_present(hold);
  if (code)
    return code;
  uint64_t seen = hold->abandoned;
  atomic_compare_exchange_strong(&hold->region->header->abandoned, &seen, 0);
  hold->abandoned = 0;
  return 0;
}

int colock_hold_id(const colock_hold *hold, char *text, size_t size) {
  int length = snprintf(text, size, "%u:%llu:%u", (unsigned)hold->number, (unsigned long long)hold->activity.hold_id,
                        (unsigned)hold->activity.generation);
  return length < 0 || (size_t)length >= size ? colockp_fail(COLOCK_EINVAL, 0, "no room for the hold's id") : 0;
}

int colock_with(colock *lock, int mode, int (*operation)(void *arg), void *arg, int *result) {
  colock_hold *hold;
  if (!operation)
    return colockp_fail(COLOCK_EINVAL, 0, "the operation must not be NULL");
  int code = colock_acquire(lock, mode, &hold);
  if (code)
    return code;
  int value = operation(arg);
  code = colock_release(hold);
  if (result)
    *result = value;
  return code;
}
