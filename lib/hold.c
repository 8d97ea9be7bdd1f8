/* hold.c - what can be done with a hold: give it back, look at it, pass it on.
 *
 * A hold of our parent answers EFORKED: its descriptor is closed here, its slot and LANE are the parent's. */
#define _GNU_SOURCE
#include "acquire.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A shorter hold was looked at when it was granted: another fstat would cost a third of the whole pair. */
#define LOOK_AGAIN_NS INT64_C(100000)

static const char *path_of(const colock_hold *hold) {
  return hold->region ? hold->region->escaped : hold->lock->path;
}

static int fail_forked(const colock_hold *hold) {
  return colockp_fail(COLOCK_EFORKED, 0, "%s: the hold belongs to the parent process", path_of(hold));
}

static int usable(const colock_hold *hold) {
  if (!hold)
    return colockp_fail(COLOCK_EINVAL, 0, "the hold must not be NULL");
  return hold->forks == colockp_fork_count() ? 0 : fail_forked(hold);
}

static int present(const colock_hold *hold) {
  uint32_t generation = colockp_region_generation(hold->region);
  if (generation == hold->activity.generation)
    return 0;
  if (generation == 0)
    return colockp_fail(COLOCK_ELOST, 0, "%s: damaged while it was held", path_of(hold));
  return colockp_fail(COLOCK_EREVOKED, 0, "%s: the lock was forced from us; somebody else may have it", path_of(hold));
}

int colock_check(colock_hold *hold) {
  int code = usable(hold);
  if (code || !hold->region)
    return code;
  code = present(hold);
  if (code == 0)
    code = colockp_seat_look(hold);
  return code == COLOCK_ESYSTEM ? COLOCK_ELOST : code;
}

int colock_renew(colock_hold *hold) {
  int code = usable(hold);
  if (code || !hold->region)
    return code;
  hold->activity.renewed_ns = colockp_now_ns();
  colockp_seat_show_state(hold);
  return present(hold);
}

/* The words of a hold that ends: whole or not, in the order that token.h gives. */
static int finish(colock_hold *hold) {
  int code = present(hold);
  if (code == 0 && hold->activity.token)
    colockp_writer_clear(hold->region, hold->activity.token);
  if (code == 0 && (hold->lost || colockp_now_ns() - hold->activity.since_ns >= LOOK_AGAIN_NS))
    code = colockp_seat_look(hold);
  return code == COLOCK_ESYSTEM ? COLOCK_ELOST : code;
}

int colock_release(colock_hold *hold) {
  if (!hold)
    return colockp_fail(COLOCK_EINVAL, 0, "the hold must not be NULL");
  if (hold->forks != colockp_fork_count()) {
    int forked = fail_forked(hold);
    colockp_lock_put(hold);
    return forked;
  }
  if (!hold->region) {
    colockp_lock_put(hold);
    return 0;
  }
  int code = finish(hold);
  if (!hold->file.inherited) { /* inherited: the copies in children keep it, until the last one closes */
    hold->activity.state = COLOCKP_IDLE;
    colockp_seat_show_state(hold);
    int unlocked = colockp_lane_unlock(hold);
    code = code ? code : unlocked;
  }
  colockp_lock_put(hold);
  return code;
}

int colock_inherit(colock_hold *hold, int on) {
  int code = usable(hold);
  if (code || !hold->region)
    return code;
  int error = colockp_fd_inherit(&hold->file, on != 0);
  return error ? colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot pass the lock on: %s", path_of(hold), strerror(error))
               : 0;
}

int colock_detach(colock_hold *hold) {
  int code = usable(hold);
  if (code)
    return code;
  atomic_store_explicit(&hold->thread, 0, memory_order_relaxed);
  return 0;
}

uint64_t colock_token(const colock_hold *hold) { return hold->activity.token; }

uint64_t colock_last_token(const colock_hold *hold) { return hold->last_token; }

int colock_abandoned(const colock_hold *hold) { return hold->abandoned != 0; }

int colock_recovered(colock_hold *hold) {
  int code = usable(hold);
  if (code || !hold->region)
    return code;
  if (hold->activity.mode != COLOCK_EXCLUSIVE)
    return colockp_fail(COLOCK_EINVAL, 0, "%s: only an exclusive hold can say recovered", path_of(hold));
  code = present(hold);
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
