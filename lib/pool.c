/* pool.c - the seats of a lock: taken to wait and to hold with, put back, opened when there is none. */
#define _GNU_SOURCE
#include "lock.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "lane.h"
#include "recall.h"
#include "system.h"

/* Opening may meet another process that lays the file out. It gets this long at least, and at most. */
#define OPEN_LEAST_NS INT64_C(200000000)
#define OPEN_MOST_NS  INT64_C(5000000000)

int64_t colockp_open_deadline(int64_t ns) {
  ns = ns < OPEN_LEAST_NS ? OPEN_LEAST_NS : ns > OPEN_MOST_NS ? OPEN_MOST_NS : ns;
  return colockp_time_add(colockp_now_ns(), ns);
}

int colockp_lock_restless(const struct colockp_region *region) {
  return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: is being deleted or replaced again and again", region->escaped);
}

void colockp_free_seats(colock_hold *seat) {
  while (seat) {
    colock_hold *next = seat->next;
    colockp_seat_free(seat);
    seat = next;
  }
}

/* Under the lock's mutex. */
static void enter(colock *lock, colock_hold *seat) {
  seat->previous = NULL;
  seat->next = lock->used;
  if (lock->used)
    lock->used->previous = seat;
  lock->used = seat;
}

static void leave(colock *lock, colock_hold *seat) {
  if (seat->previous)
    seat->previous->next = seat->next;
  else
    lock->used = seat->next;
  if (seat->next)
    seat->next->previous = seat->previous;
}

void colockp_lock_use(colock *lock, colock_hold *seat) {
  seat->lock = lock;
  pthread_mutex_lock(&lock->member.mutex);
  enter(lock, seat);
  pthread_mutex_unlock(&lock->member.mutex);
}

/* The file may be replaced between its opening and a seat's: then all begins anew on the new one, not for ever. */
int colockp_lock_seats(colock *lock, int64_t deadline_ns) {
  int turns = 0;
  for (int i = 0; i < lock->settings.seats; i++) {
    colock_hold *seat;
    int code = colockp_seat_claim(lock->region, lock->label, deadline_ns, &seat);
    if (code == COLOCK_ELOST) {
      code = ++turns < COLOCKP_TURNS_MOST ? colockp_lock_refresh(lock, lock->region, lock->settings.timeout_ns)
                                          : colockp_lock_restless(lock->region);
      i = -1;
    } else if (code == 0) {
      colockp_lock_use(lock, seat);
      colockp_lock_put(seat);
    }
    if (code)
      return code;
  }
  return 0;
}

void colockp_lock_free(colock *lock) {
  colockp_member_remove(&lock->member);
  colockp_alarm_free_all(&lock->alarms);
  pthread_mutex_destroy(&lock->member.mutex);
  pthread_mutex_destroy(&lock->suspending);
  if (lock->region)
    colockp_region_unref(lock->region);
  colockp_system.free(lock->path);
  colockp_system.free(lock);
}

int colockp_lock_take(colock *lock, int64_t timeout_ns, colock_hold **out) {
  uint32_t forks = colockp_fork_count();
  for (int turns = 0;;) {
    struct colockp_region *region = NULL;
    pthread_mutex_lock(&lock->member.mutex);
    colock_hold *seat = lock->pool;
    if (seat) {
      lock->pool = seat->next;
      enter(lock, seat);
    } else {
      region = colockp_region_ref(lock->region);
    }
    pthread_mutex_unlock(&lock->member.mutex);
    if (!seat) {
      int code = colockp_seat_claim(region, lock->label, colockp_open_deadline(timeout_ns), &seat);
      if (code == COLOCK_ELOST)
        code = ++turns < COLOCKP_TURNS_MOST ? colockp_lock_refresh(lock, region, timeout_ns)
                                            : colockp_lock_restless(region);
      colockp_region_unref(region);
      if (code)
        return code;
      if (!seat)
        continue; /* on the new file */
      colockp_lock_use(lock, seat);
    }
    if (seat->forks != forks) {
      colockp_lock_put(seat); /* our parent's: freed */
      continue;
    }
    *out = seat;
    return 0;
  }
}

void colockp_lock_put(colock_hold *seat) {
  colock *lock = seat->lock;
  colockp_lock_uncount(seat);
  colockp_lane_uncount(seat);
  if (seat->cell)
    atomic_store(&seat->cell->seat, NULL);
  seat->cell = NULL;
  pthread_mutex_lock(&lock->member.mutex);
  leave(lock, seat);
  bool keep = colockp_lock_reusable(lock, seat);
  if (keep) {
    seat->next = lock->pool;
    lock->pool = seat;
  }
  bool last = lock->closed && lock->used == NULL;
  pthread_mutex_unlock(&lock->member.mutex);
  if (!keep)
    colockp_seat_free(seat);
  if (last)
    colockp_lock_free(lock);
}

int colockp_lock_refresh(colock *lock, const struct colockp_region *old, int64_t timeout_ns) {
  struct colockp_region *fresh;
  int code = colockp_region_open(&fresh, lock->path, old, &lock->settings, colockp_open_deadline(timeout_ns),
                                 COLOCKP_CREATE);
  if (code)
    return code;
  pthread_mutex_lock(&lock->member.mutex);
  struct colockp_region *unused = fresh;
  colock_hold *pool = NULL;
  if (lock->region == old) { /* else another thread was faster */
    unused = lock->region;
    lock->region = fresh;
    atomic_store(&lock->cache.nameless, NULL);
    pool = lock->pool;
    lock->pool = NULL;
  }
  pthread_mutex_unlock(&lock->member.mutex);
  if (old->header)
    colockp_recall((struct colockp_region *)old); /* the helper (helper.h) may sleep there */
  colockp_region_unref(unused);
  colockp_free_seats(pool);
  return 0;
}
