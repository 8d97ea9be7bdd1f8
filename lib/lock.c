/* lock.c - opening and closing a lock, and what concerns all of its holds. See lock.h for the discipline. */
#define _GNU_SOURCE
#include "lock.h"
#include "cache.h"
#include "error.h"
#include "helper.h"
#include "system.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static void in_child(struct colockp_member *member);

colock *colockp_lock_of(struct colockp_member *member) {
  return member->in_child == in_child ? (colock *)(void *)((char *)member - offsetof(colock, member)) : NULL;
}

/* Inherited copies live on in this child: say in the slot who has them now. All else of the parent's is closed. */
static void in_child(struct colockp_member *member) {
  colock *lock = colockp_lock_of(member);
  for (colock_hold *hold = lock->used; hold; hold = hold->next) {
    hold->event_fd = -1;
    hold->counted = 0;
    if (hold->file.inherited && hold->slot)
      atomic_store_explicit(&hold->slot->inherited_pid, getpid(), memory_order_relaxed);
  }
  colockp_helper_forget(lock);
  pthread_mutex_init(&lock->suspending, NULL); /* whoever had it is not here */
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

static int open_path(colock **out, char *path, const colock_config *config) {
  colock *lock = path ? colockp_system.malloc(sizeof *lock) : NULL;
  if (!lock) {
    colockp_system.free(path);
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  }
  memset(lock, 0, sizeof *lock);
  lock->path = path;
  colockp_escape(lock->escaped, sizeof lock->escaped, path);
  pthread_mutex_init(&lock->member.mutex, NULL);
  pthread_mutex_init(&lock->suspending, NULL);
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
    lock->parent = colockp_parent_find();
    int64_t deadline_ns = colockp_open_deadline(lock->settings.timeout_ns);
    struct colockp_region *region;
    code = colockp_region_open(&region, path, NULL, &lock->settings, deadline_ns, COLOCKP_CREATE);
    if (code == 0) {
      lock->region = region;
      code = colockp_lock_seats(lock, deadline_ns);
    }
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

void colock_close(colock *lock) {
  if (!lock)
    return;
  colockp_fork_count();
  colockp_helper_stop(lock);
  colockp_cache_empty(lock);
  pthread_mutex_lock(&lock->member.mutex);
  colock_hold *pool = lock->pool;
  lock->pool = NULL;
  lock->closed = true;
  bool last = lock->used == NULL;
  pthread_mutex_unlock(&lock->member.mutex);
  colockp_free_seats(pool);
  if (last)
    colockp_lock_free(lock);
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

int colock_release_idle(colock *lock) {
  if (!lock)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_release_idle: lock must not be NULL");
  colockp_fork_count();
  return colockp_cache_empty(lock);
}

int colock_set_suspend(colock *lock, int (*suspend)(void *arg), void *arg) {
  if (!lock)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_set_suspend: lock must not be NULL");
  colockp_fork_count();
  /* Now, when it can be said: later its place would be taken by a thread that may not block. */
  if (suspend && lock->settings.auto_release && lock->region && lock->region->header) {
    int code = colockp_helper_start(lock, false);
    if (code)
      return code;
  }
  pthread_mutex_lock(&lock->member.mutex);
  bool used = false; /* what our parent had in use at the fork is nobody's here */
  for (const colock_hold *hold = lock->used; hold; hold = hold->next)
    used |= hold->forks == colockp_fork_count();
  if (!used) {
    lock->suspend = suspend;
    lock->suspend_arg = arg;
  }
  pthread_mutex_unlock(&lock->member.mutex);
  return used ? colockp_fail(COLOCK_EBUSY, 0, "%s: holds of it are in use or kept; release them first "
                             "(colock_release_idle)", lock->escaped) : 0;
}
