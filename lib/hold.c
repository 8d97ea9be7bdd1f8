/* hold.c - what can be done with a hold: give it back, look at it, pass it on.
 *
 * A hold of our parent answers EFORKED: its descriptor is closed here, its slot and LANE are the parent's. */
#define _GNU_SOURCE
#include "hold.h"
#include "cache.h"
#include "clock.h"
#include "error.h"
#include "event.h"
#include "identity.h"
#include "queue_read.h"
#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

/* Whole, and looked at again if it was long: the lock itself may stay. */
static bool keep(colock_hold *hold) {
  int64_t now_ns = colockp_now_ns();
  if (hold->activity.generation != colockp_region_generation(hold->region))
    return false;
  if (colockp_hold_was_long(hold, now_ns) && colockp_seat_look(hold) != 0)
    return false;
  return colockp_cache_keep(hold, now_ns);
}

int colock_release(colock_hold *hold) {
  if (!hold)
    return colockp_fail(COLOCK_EINVAL, 0, "the hold must not be NULL");
  uint32_t forks = colockp_fork_count();
  colockp_event_end(hold);
  if (hold->forks != forks) {
    int forked = fail_forked(hold);
    colockp_lock_put(hold);
    return forked;
  }
  if (!hold->region || hold->ended) {
    colockp_lock_put(hold);
    return 0;
  }
  if (hold->lock->settings.auto_release && keep(hold))
    return 0;
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
  char id[48]; /* three numbers of 10, 20 and 10 digits at most */
  int length = snprintf(id, sizeof id, "%u:%llu:%u", (unsigned)hold->number,
                        (unsigned long long)hold->activity.hold_id, (unsigned)hold->activity.generation);
  if ((size_t)length >= size)
    return colockp_fail(COLOCK_EINVAL, 0, "no room for the hold's id: it takes %d bytes", length + 1);
  memcpy(text, id, (size_t)length + 1);
  return 0;
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
