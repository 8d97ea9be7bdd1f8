/* lock.h - an opened lock: its settings, its region, its pool of seats.
 *
 * Under the lock's mutex (member.mutex): region, pool, used, closed, the links of the seats. Nothing waits under it.
 */
#ifndef COLOCKP_LOCK_H
#define COLOCKP_LOCK_H

#include "alarm.h"
#include "config.h"
#include "process.h"
#include "seat.h"

/* The hold of the `colock run` that we are a COMMAND of, as its environment names it; slot COLOCKP_NO_PARENT: none. */
struct colockp_parent {
  dev_t device;
  ino_t inode;
  uint32_t slot, generation;
  uint64_t hold_id;
};
#define COLOCKP_NO_PARENT UINT32_MAX

struct colock {
  struct colockp_member member;
  struct colockp_settings settings; /* constant after open */
  const char *label;                /* constant after open */
  char *path;                       /* constant after open */
  struct colockp_parent parent;     /* constant after open */
  struct colockp_region *region;    /* NULL: not enabled */
  colock_hold *pool, *used;
  bool closed;
  _Atomic uint32_t canceled;        /* futex: waiters without a bell sleep on it */
  colockp_alarms alarms;            /* of those who sleep on their bells */
};

/* A seat of the present region, pooled or new, now in use: to wait with, to hold with. ELOST is not among its codes: it
 * starts over on the new file. */
int colockp_lock_take(colock *lock, int64_t timeout_ns, colock_hold **seat);
/* No longer in use: back to the pool, or freed where it is of no more use. The last seat of a closed lock frees the
 * lock. */
void colockp_lock_put(colock_hold *seat);
/* Enter a seat that was made otherwise among those in use. */
void colockp_lock_use(colock *lock, colock_hold *seat);
/* It is now a hold that this thread's blocking acquire got: for EDEADLK. */
void colockp_lock_count(colock_hold *hold);
/* The name leads to another file than `old`: open that. */
int colockp_lock_refresh(colock *lock, const struct colockp_region *old, int64_t timeout_ns);

/* Would a blocking acquire wait for a hold that this thread, or the `colock run` above us, has? EDEADLK with message,
 * or 0. */
int colockp_lock_deadlock(colock *lock, const colock_hold *seat);

#endif
