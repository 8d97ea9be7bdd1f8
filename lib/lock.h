/* lock.h - an opened lock: its settings, its region, its pool of seats.
 *
 * Under the lock's mutex (member.mutex): region, pool, used, closed, the links of the seats. Nothing waits under it.
 */
#ifndef COLOCKP_LOCK_H
#define COLOCKP_LOCK_H

#include "alarm.h"
#include "config.h"
#include "error.h"
#include "identity.h"
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

/* A place for a seat whose LANE is kept while it is not in use. Who takes it out, by CAS, owns it, and nobody else
 * looks into it; the other words say what it is like, for who decides whether to take it: advice. The size keeps
 * threads off each other's cache lines. */
struct colockp_cell {
  colock_hold *_Atomic seat; /* NULL: empty; COLOCKP_RESERVED: for a seat that is in use, or being kept */
  const struct colockp_region *_Atomic region;
  _Atomic int64_t lane_since_ns, unused_since_ns;
  _Atomic uint32_t mode, generation, number;
  char padding[64 - 44];
};
#define COLOCKP_RESERVED ((colock_hold *)1)
#define COLOCKP_CELLS 16

/* What a lock keeps (cache.h), and the thread that looks after that (helper.h). */
struct colockp_cache {
  struct colockp_cell cells[COLOCKP_CELLS];
  _Atomic uint32_t attention;     /* COLOCKP_WANTED(), COLOCKP_PARKED; futex of the thread while that is set */
  _Atomic int64_t look_ns;        /* when the thread looks next at the latest; INT64_MAX: it looks now */
  _Atomic int64_t lane_since_ns;  /* when a seat of ours got LANE last */
  _Atomic uint32_t events;        /* holds that have a descriptor for events */
  _Atomic bool running, ending;   /* stored under the lock's mutex */
  int64_t retry_ns;               /* under the lock's mutex: when to try again to start it; 0: it did not fail */
  const struct colockp_region *_Atomic nameless; /* the thread found that its file has lost its name */
  pthread_t thread;               /* constant while it runs */
};
/* When the thread looked last, somebody waited for an exclusive lock to go, or for a shared one: what is kept from now
 * on it has to see. */
#define COLOCKP_WANTED(mode) ((mode) == COLOCK_EXCLUSIVE ? 1u : 2u)
#define COLOCKP_PARKED       4u /* the thread sleeps until something is kept */

struct colock {
  struct colockp_member member;
  struct colockp_settings settings; /* constant after open */
  const char *label;                /* constant after open */
  char *path;                       /* constant after open */
  struct colockp_parent parent;     /* constant after open */
  struct colockp_region *_Atomic region; /* NULL: not enabled. Without the mutex it is only compared with */
  colock_hold *pool, *used;
  _Atomic bool closed;
  _Atomic uint32_t canceled;        /* futex: waiters without a bell sleep on it */
  colockp_alarms alarms;            /* of those who sleep on their bells */
  int (*suspend)(void *arg);        /* constant while a seat is in use */
  void *suspend_arg;                /* the same */
  pthread_mutex_t suspending;       /* one suspend at a time; nothing is waited for under it but that */
  struct colockp_cache cache;
  char escaped[COLOCKP_ESCAPED_PATH]; /* the path for messages; constant after open */
};

/* The lock that a member is; NULL: it is something else. */
colock *colockp_lock_of(struct colockp_member *member);

/* A seat of the present region, pooled or new, now in use: to wait with, to hold with. ELOST is not among its codes: it
 * starts over on the new file. */
int colockp_lock_take(colock *lock, int64_t timeout_ns, colock_hold **seat);
/* No longer in use: back to the pool, or freed where it is of no more use. The last seat of a closed lock frees the
 * lock. */
void colockp_lock_put(colock_hold *seat);
/* May it be used again? Under the lock's mutex, or for who can bear that it is not so any more. */
static inline bool colockp_lock_reusable(const colock *lock, const colock_hold *seat) {
  return !lock->closed && !seat->broken && !seat->lost && !seat->file.inherited && seat->region &&
         seat->region == atomic_load_explicit(&lock->region, memory_order_relaxed) &&
         seat->region != atomic_load_explicit(&lock->cache.nameless, memory_order_relaxed) &&
         seat->forks == colockp_fork_count();
}
/* Enter a seat that was made otherwise among those in use. */
void colockp_lock_use(colock *lock, colock_hold *seat);
/* As many seats as are configured, into the pool. As colockp_lock_take. */
int colockp_lock_seats(colock *lock, int64_t deadline_ns);
/* The name leads to another file than `old`: open that. */
int colockp_lock_refresh(colock *lock, const struct colockp_region *old, int64_t timeout_ns);
/* So often it may be replaced while we get a seat and LANE on it; then: ETIMEDOUT with message. */
#define COLOCKP_TURNS_MOST 100
int colockp_lock_restless(const struct colockp_region *region);
void colockp_free_seats(colock_hold *first);
void colockp_lock_free(colock *lock);
/* How long opening may wait for another process that lays the file out: timeout_ns, within bounds. */
int64_t colockp_open_deadline(int64_t timeout_ns);

/* How many holds this thread got by a blocking acquire and may still have: 0 spares every acquire the walk for EDEADLK.
 * It is never too low; it is too high when another thread released one, until the walk finds out. */
extern COLOCKP_FAST_LOCAL uint32_t colockp_blocking_holds;
/* It is now a hold that this thread's blocking acquire got, for EDEADLK; it is no longer. */
static inline void colockp_lock_count(colock_hold *hold) {
  atomic_store_explicit(&hold->thread, colockp_thread(), memory_order_relaxed);
  colockp_blocking_holds++;
}
static inline void colockp_lock_uncount(colock_hold *hold) {
  uint64_t thread = atomic_load_explicit(&hold->thread, memory_order_relaxed);
  if (!thread)
    return;
  colockp_blocking_holds -= thread == colockp_thread();
  atomic_store_explicit(&hold->thread, 0, memory_order_relaxed);
}
/* Would a blocking acquire wait for a hold that this thread, or the `colock run` above us, has? EDEADLK with message,
 * or 0. */
int colockp_lock_deadlock_find(colock *lock, const colock_hold *seat);
static inline int colockp_lock_deadlock(colock *lock, const colock_hold *seat) {
  bool may_be = colockp_blocking_holds > 0 || lock->parent.slot != COLOCKP_NO_PARENT;
  return may_be ? colockp_lock_deadlock_find(lock, seat) : 0;
}
/* That hold of `colock run`, from the environment. */
struct colockp_parent colockp_parent_find(void);

#endif
