/* lock.c - opening and closing a lock; its pool of seats. See lock.h for the discipline. */
#define _GNU_SOURCE
#include "lock.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "report.h"
#include "system.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Opening may meet another process that lays the file out. It gets this long at least, and at most. */
#define OPEN_LEAST_NS INT64_C(200000000)
#define OPEN_MOST_NS  INT64_C(5000000000)

/* How many holds this thread got by a blocking acquire and may still have: 0 spares every acquire the walk for EDEADLK.
 * It is never too low; it is too high when another thread released one, until the walk finds out. */
static _Thread_local uint32_t blocking_holds;

static colock *lock_of(struct colockp_member *member) {
  return (colock *)(void *)((char *)member - offsetof(colock, member));
}

/* Inherited copies live on in this child: say in the slot who has them now. All else of the parent's is closed. */
static void in_child(struct colockp_member *member) {
  for (colock_hold *hold = lock_of(member)->used; hold; hold = hold->next)
    if (hold->file.inherited && hold->slot)
      atomic_store_explicit(&hold->slot->inherited_pid, getpid(), memory_order_relaxed);
}

static char *copy_text(const char *text, const char *suffix) {
  size_t size = strlen(text), more = strlen(suffix);
  char *copy = colockp_system.malloc(size + more + 1);
  if (copy) {
    memcpy(copy, text, size);
    memcpy(copy + size, suffix, more + 1);
  }
  return copy;
}

#define TURNS_MOST 100 /* how often a file may be replaced while we get a seat on it */

static int fail_restless(const struct colockp_region *region) {
  return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: is being deleted or replaced again and again", region->escaped);
}

static int64_t open_deadline(int64_t ns) {
  ns = ns < OPEN_LEAST_NS ? OPEN_LEAST_NS : ns > OPEN_MOST_NS ? OPEN_MOST_NS : ns;
  return colockp_time_add(colockp_now_ns(), ns);
}

static struct colockp_parent find_parent(void) {
  struct colockp_parent parent = { .slot = COLOCKP_NO_PARENT }, found;
  const char *file = secure_getenv("COLOCK_FILE"), *hold = secure_getenv("COLOCK_HOLD");
  struct stat st;
  if (!file || !hold ||
      sscanf(hold, "%" SCNu32 ":%" SCNu64 ":%" SCNu32, &found.slot, &found.hold_id, &found.generation) != 3 ||
      colockp_system.fstatat(AT_FDCWD, file, &st, 0) != 0)
    return parent;
  found.device = st.st_dev;
  found.inode = st.st_ino;
  return found;
}

/* The file may be replaced between its opening and a seat's: then all begins anew on the new one, not for ever. */
static int open_seats(colock *lock, int64_t deadline_ns) {
  int turns = 0;
  for (int i = 0; i < lock->settings.seats; i++) {
    colock_hold *seat;
    int code = colockp_seat_claim(lock->region, lock->label, deadline_ns, &seat);
    if (code == COLOCK_ELOST) {
      code = ++turns < TURNS_MOST ? colockp_lock_refresh(lock, lock->region, lock->settings.timeout_ns)
                                  : fail_restless(lock->region);
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

static void free_lock(colock *lock) {
  colockp_member_remove(&lock->member);
  colockp_alarm_free_all(&lock->alarms);
  pthread_mutex_destroy(&lock->member.mutex);
  if (lock->region)
    colockp_region_unref(lock->region);
  colockp_system.free(lock->path);
  colockp_system.free(lock);
}

static int open_path(colock **out, char *path, const colock_config *config) {
  colock *lock = path ? colockp_system.malloc(sizeof *lock) : NULL;
  if (!lock) {
    colockp_system.free(path);
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  }
  memset(lock, 0, sizeof *lock);
  lock->path = path;
  pthread_mutex_init(&lock->member.mutex, NULL);
  lock->member.in_child = in_child;
  colockp_fork_count();
  colockp_member_add(&lock->member);
  int code = 0;
  if (config)
    lock->settings = *colockp_config_settings(config);
  else
    code = colockp_config_ambient(&lock->settings);
  if (code == 0 && lock->settings.enabled) {
    lock->label = *lock->settings.label ? lock->settings.label : program_invocation_short_name;
    lock->parent = find_parent();
    int64_t deadline_ns = open_deadline(lock->settings.timeout_ns);
    code = colockp_region_open(&lock->region, path, NULL, &lock->settings, deadline_ns, COLOCKP_CREATE);
    if (code == 0)
      code = open_seats(lock, deadline_ns);
  }
  if (code) {
    colock_close(lock);
    return code;
  }
  *out = lock;
  return 0;
}

int colock_open(colock **lock, const char *path, const colock_config *config) {
  if (!lock || !path)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_open: lock and path must not be NULL");
  return open_path(lock, copy_text(path, ""), config);
}

int colock_open_for(colock **lock, const char *target, const colock_config *config) {
  if (!lock || !target || !*target)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_open_for: lock must not be NULL, nor target be empty");
  size_t size = strlen(target);
  while (size > 1 && target[size - 1] == '/')
    size--; /* the lock file of a directory lies beside it, not within */
  char *path = copy_text(target, ".lock");
  if (path)
    memcpy(path + size, ".lock", sizeof ".lock");
  return open_path(lock, path, config);
}

static void free_seats(colock_hold *seat) {
  while (seat) {
    colock_hold *next = seat->next;
    colockp_seat_free(seat);
    seat = next;
  }
}

void colock_close(colock *lock) {
  if (!lock)
    return;
  colockp_fork_count();
  pthread_mutex_lock(&lock->member.mutex);
  colock_hold *pool = lock->pool;
  lock->pool = NULL;
  lock->closed = true;
  bool last = lock->used == NULL;
  pthread_mutex_unlock(&lock->member.mutex);
  free_seats(pool);
  if (last)
    free_lock(lock);
}

void colock_cancel(colock *lock, int on) {
  int error = errno;
  atomic_store(&lock->canceled, on ? 1 : 0);
  if (on) {
    colockp_system.futex_wake((uint32_t *)&lock->canceled, INT_MAX);
    colockp_alarm_ring(&lock->alarms);
  }
  errno = error;
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
      int code = colockp_seat_claim(region, lock->label, open_deadline(timeout_ns), &seat);
      if (code == COLOCK_ELOST)
        code = ++turns < TURNS_MOST ? colockp_lock_refresh(lock, region, timeout_ns) : fail_restless(region);
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

static bool reusable(const colock *lock, const colock_hold *seat) {
  return !lock->closed && !seat->broken && !seat->lost && !seat->file.inherited && seat->region &&
         seat->region == lock->region && seat->forks == colockp_fork_count();
}

void colockp_lock_put(colock_hold *seat) {
  colock *lock = seat->lock;
  uint64_t thread = atomic_load_explicit(&seat->thread, memory_order_relaxed);
  if (thread) {
    blocking_holds -= thread == colockp_thread();
    atomic_store_explicit(&seat->thread, 0, memory_order_relaxed);
  }
  pthread_mutex_lock(&lock->member.mutex);
  leave(lock, seat);
  bool keep = reusable(lock, seat);
  if (keep) {
    seat->next = lock->pool;
    lock->pool = seat;
  }
  bool last = lock->closed && lock->used == NULL;
  pthread_mutex_unlock(&lock->member.mutex);
  if (!keep)
    colockp_seat_free(seat);
  if (last)
    free_lock(lock);
}

void colockp_lock_count(colock_hold *hold) {
  atomic_store_explicit(&hold->thread, colockp_thread(), memory_order_relaxed);
  blocking_holds++;
}

int colockp_lock_refresh(colock *lock, const struct colockp_region *old, int64_t timeout_ns) {
  struct colockp_region *fresh;
  int code = colockp_region_open(&fresh, lock->path, old, &lock->settings, open_deadline(timeout_ns), COLOCKP_CREATE);
  if (code)
    return code;
  pthread_mutex_lock(&lock->member.mutex);
  struct colockp_region *unused = fresh;
  colock_hold *pool = NULL;
  if (lock->region == old) { /* else another thread was faster */
    unused = lock->region;
    lock->region = fresh;
    pool = lock->pool;
    lock->pool = NULL;
  }
  pthread_mutex_unlock(&lock->member.mutex);
  colockp_region_unref(unused);
  free_seats(pool);
  return 0;
}

struct search {
  const struct colockp_region *region;
  uint64_t thread;
  uint32_t forks, held; /* held: how many blocking holds of any file this thread has */
  bool found;
};

static bool search_lock(struct colockp_member *member, void *arg) {
  struct search *search = arg;
  if (member->in_child != in_child) /* no lock */
    return false;
  pthread_mutex_lock(&member->mutex);
  for (colock_hold *hold = lock_of(member)->used; hold; hold = hold->next)
    if (atomic_load_explicit(&hold->thread, memory_order_relaxed) == search->thread && hold->forks == search->forks &&
        hold->region) {
      search->held++;
      search->found |= hold->region->device == search->region->device && hold->region->inode == search->region->inode;
    }
  pthread_mutex_unlock(&member->mutex);
  return false;
}

static int fail_parent(const colock *lock, const struct colockp_region *region) {
  char who[COLOCKP_DESCRIBED] = "a process without a name";
  colock_report *report = NULL;
  if (colockp_report_new(&report, lock->path) == 0 && colockp_report_fill(report, region->file.fd) == 0)
    for (size_t i = 0; i < report->now.count; i++)
      if (report->now.entries[i].slot == lock->parent.slot)
        colockp_describe(&report->now.entries[i], who, sizeof who);
  colock_report_free(report);
  return colockp_fail(COLOCK_EDEADLK, 0,
                      "%s: held by %s, the colock run that started this command (COLOCK_FILE); it would be waited for "
                      "for ever", region->escaped, who);
}

int colockp_lock_deadlock(colock *lock, const colock_hold *seat) {
  const struct colockp_region *region = seat->region;
  if (blocking_holds > 0) {
    struct search search = { .region = region, .thread = colockp_thread(), .forks = colockp_fork_count() };
    colockp_member_any(search_lock, &search);
    blocking_holds = search.held;
    if (search.found)
      return colockp_fail(COLOCK_EDEADLK, 0,
                          "%s: this thread holds it already, and would wait for itself (colock_detach a hold that "
                          "another thread releases)",
                          region->escaped);
  }
  const struct colockp_parent *parent = &lock->parent;
  if (parent->slot != COLOCKP_NO_PARENT && parent->device == region->device && parent->inode == region->inode &&
      parent->generation == colockp_region_generation(region) &&
      colockp_report_holds(region->file.fd, parent->slot, parent->generation, parent->hold_id, region->escaped) == 1)
    return fail_parent(lock, region);
  return 0;
}
