/* event.c - see event.h.
 *
 * The helper looks through the seats in use under the lock's mutex, under which a descriptor is made and closed too: so
 * it never writes to a number that is somebody else's by now. What a hold is like it reads from its slot, whose words
 * are atomic. */
#include "event.h"
#include "cache.h"
#include "error.h"
#include "helper.h"
#include "hold.h"
#include "queue.h"
#include "system.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#define LATER (INT64_MAX - 1) /* some time; the helper's tick comes before */

static int make(void) { return colockp_system.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static void lock_it(colock *lock) { pthread_mutex_lock(&lock->member.mutex); }
static void unlock_it(colock *lock) { pthread_mutex_unlock(&lock->member.mutex); }

static uint32_t word_of(const colock_hold *hold, size_t offset) {
  uint64_t word = atomic_load_explicit(&hold->slot->activity[offset / 8], memory_order_relaxed);
  return (uint32_t)(offset % 8 ? word >> 32 : word);
}

static bool concerned(const colock_hold *hold, const struct colockp_region *region, bool lost) {
  if (word_of(hold, offsetof(struct colockp_activity, state)) != COLOCKP_HELD)
    return false; /* it waits, in colock_yield or colock_upgrade */
  if (hold->region != region || lost ||
      word_of(hold, offsetof(struct colockp_activity, generation)) != colockp_region_generation(region))
    return true;
  return colockp_queue_contended(region, (int)word_of(hold, offsetof(struct colockp_activity, mode)), hold->number);
}

int64_t colockp_event_look(colock *lock, const struct colockp_region *region, bool lost) {
  const uint64_t one = 1;
  if (atomic_load(&lock->cache.events) == 0)
    return INT64_MAX;
  lock_it(lock);
  for (colock_hold *hold = lock->used; hold; hold = hold->next)
    if (hold->event_fd >= 0 && !hold->told && concerned(hold, region, lost))
      hold->told = colockp_system.write(hold->event_fd, &one, sizeof one) == (ssize_t)sizeof one;
  unlock_it(lock);
  return LATER;
}

int colock_hold_fd(colock_hold *hold) {
  int code = colockp_hold_usable(hold);
  if (code)
    return -code;
  colock *lock = hold->lock;
  if (hold->events.fd >= 0)
    return hold->events.fd;
  if (hold->region && !hold->slot)
    return -colockp_fail(COLOCK_EACCES, EACCES, "%s: it may only be read, so nobody tells us of waiters",
                         hold->region->escaped);
  if (hold->region && (code = colockp_helper_start(lock, false)) != 0)
    return -code;
  int error = colockp_fd_make(&hold->events, make);
  if (error)
    return -colockp_fail(colockp_code_of_errno(error), error, "%s: cannot make a descriptor for events: %s",
                         colockp_hold_path(hold), strerror(error));
  if (!hold->region)
    return hold->events.fd;
  lock_it(lock);
  hold->event_fd = hold->events.fd;
  hold->told = false;
  unlock_it(lock);
  atomic_fetch_add(&lock->cache.events, 1);
  colockp_helper_kick(lock);
  return hold->events.fd;
}

void colockp_event_again(colock_hold *hold) {
  uint64_t count;
  if (hold->events.fd < 0 || !hold->region)
    return;
  lock_it(hold->lock);
  if (hold->told)
    colockp_system.read(hold->event_fd, &count, sizeof count);
  hold->told = false;
  unlock_it(hold->lock);
  colockp_helper_kick(hold->lock);
}

void colockp_event_close(colock_hold *hold) {
  if (hold->region) {
    lock_it(hold->lock);
    hold->event_fd = -1;
    unlock_it(hold->lock);
    atomic_fetch_sub(&hold->lock->cache.events, 1);
  }
  colockp_fd_close(&hold->events);
}
