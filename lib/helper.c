/* helper.c - see helper.h. */
#include "helper.h"
#include "broken.h"
#include "cache.h"
#include "clock.h"
#include "error.h"
#include "event.h"
#include "log.h"
#include "queue.h"
#include "recall.h"
#include "system.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define TICK_NS  (COLOCKP_POLLS ? INT64_C(1000000000) : INT64_MAX / 2) /* how long until a replaced file is noticed */
#define RETRY_NS INT64_C(1000000000) /* how long not to try again what every release would try in vain */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Before the look into the cells: who keeps a seat from now on sees whom we saw, and when we look next. */
static int64_t say_that_we_look(colock *lock, const struct colockp_region *region, int64_t now_ns) {
  struct colockp_cache *cache = &lock->cache;
  uint32_t wanted = 0;
  atomic_store(&cache->look_ns, INT64_MAX);
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++)
    if (colockp_queue_contended(region, mode, COLOCKP_SLOTS_MAX))
      wanted |= COLOCKP_WANTED(mode);
  atomic_fetch_or(&cache->attention, wanted);
  atomic_fetch_and(&cache->attention, wanted | COLOCKP_PARKED);
  int64_t minimum_ns = atomic_load(&cache->lane_since_ns) + COLOCKP_MINIMUM_NS;
  if (!wanted || minimum_ns <= now_ns)
    return INT64_MAX;
  atomic_store(&cache->look_ns, minimum_ns); /* it may be in use now, and kept when its minimum is over */
  return minimum_ns;
}

static void note_nameless(colock *lock, const struct colockp_region *region, bool lost) {
  pthread_mutex_lock(&lock->member.mutex);
  if (lock->region == region) /* else it may be gone soon, and its address another's */
    atomic_store(&lock->cache.nameless, lost ? region : NULL);
  pthread_mutex_unlock(&lock->member.mutex);
}

/* When to look next; INT64_MAX: nothing is kept, and nobody wants to be told. */
static int64_t look(colock *lock, const struct colockp_region *region, int64_t *tick_ns) {
  int64_t now_ns = colockp_now_ns();
  bool late = COLOCKP_BROKEN(WANTED_LATE);
  int64_t next_ns = region->header && !late ? say_that_we_look(lock, region, now_ns) : INT64_MAX;
  bool lost = false;
  if (now_ns >= *tick_ns) {
    lost = colockp_region_named(region) == COLOCK_ELOST;
    *tick_ns = now_ns + TICK_NS;
    note_nameless(lock, region, lost);
  }
  next_ns = least(next_ns, colockp_cache_look(lock, region, now_ns, lost));
  if (region->header && late)
    next_ns = least(next_ns, say_that_we_look(lock, region, now_ns));
  next_ns = least(next_ns, colockp_event_look(lock, region, lost));
  return next_ns == INT64_MAX ? next_ns : least(next_ns, *tick_ns);
}

/* Who keeps something, or wants to be told, sees PARKED. blind: of a file that we may only read we are told nothing. */
static void park(colock *lock, bool blind) {
  _Atomic uint32_t *word = &lock->cache.attention;
  const struct timespec tick = { .tv_sec = TICK_NS / 1000000000 };
  uint32_t parked = atomic_fetch_or(word, COLOCKP_PARKED) | COLOCKP_PARKED;
  bool nothing = COLOCKP_BROKEN(PARK_BLIND) ||
                 (!colockp_cache_any(lock, false) && atomic_load(&lock->cache.events) == 0);
  if ((nothing || blind) && !atomic_load(&lock->cache.ending))
    colockp_system.futex_wait((uint32_t *)word, parked, nothing ? NULL : &tick);
  atomic_fetch_and(word, ~COLOCKP_PARKED);
}

static struct colockp_region *present_region(colock *lock) {
  pthread_mutex_lock(&lock->member.mutex);
  struct colockp_region *region = colockp_region_ref(lock->region);
  pthread_mutex_unlock(&lock->member.mutex);
  return region;
}

/* False: nothing to look after, at two looks: time to park. At one look only: it is in use, and will be kept again. */
static bool sleep_a_while(colock *lock, struct colockp_region *region, uint32_t seen, int64_t next_ns, int64_t tick_ns,
                          bool *idle) {
  bool nothing = next_ns == INT64_MAX, soon = nothing && !*idle && colockp_cache_any(lock, true);
  *idle = nothing;
  if ((nothing && !soon) || !region->header)
    return false;
  int64_t now_ns = colockp_now_ns();
  if (soon)
    next_ns = least(tick_ns, colockp_time_add(now_ns, lock->settings.idle_timeout_ns));
  atomic_store(&lock->cache.look_ns, next_ns);
  if (COLOCKP_BROKEN(RECALL_LATE))
    seen = colockp_recall_read(region);
  colockp_recall_sleep(region, seen, next_ns - now_ns);
  return true;
}

static void *run(void *arg) {
  colock *lock = arg;
  int64_t tick_ns = colockp_now_ns() + TICK_NS;
  uint32_t forks = colockp_fork_count();
  bool idle = false;
  while (!atomic_load(&lock->cache.ending)) {
    struct colockp_region *region = present_region(lock);
    uint32_t seen = region->header ? colockp_recall_read(region) : 0;
    bool again = true, blind = !region->header;
    if (atomic_load(&lock->region) == region) { /* who replaces it recalls after that */
      int64_t next_ns = look(lock, region, &tick_ns);
      if (colockp_fork_count() != forks) { /* a suspend forked and came back in the child, whose only thread we are */
        colockp_region_unref(region);
        return NULL;
      }
      again = atomic_load(&lock->cache.ending) || sleep_a_while(lock, region, seen, next_ns, tick_ns, &idle);
    }
    colockp_region_unref(region);
    if (again)
      continue;
    park(lock, blind);
    idle = false;
  }
  return NULL;
}

/* Asleep on the file's word it can only be woken together with the helpers of others. */
void colockp_helper_kick(colock *lock) {
  if (atomic_fetch_and(&lock->cache.attention, ~COLOCKP_PARKED) & COLOCKP_PARKED) {
    colockp_system.futex_wake((uint32_t *)&lock->cache.attention, INT_MAX);
    return;
  }
  struct colockp_region *region = present_region(lock);
  if (region->header)
    colockp_recall(region);
  colockp_region_unref(region);
}

static int fail_to_start(const colock *lock, int error, bool say) {
  char why[COLOCKP_QUOTED];
  if (say)
    colockp_log(lock->settings.verbosity, COLOCKP_WARNING, lock->path, "cannot_keep",
                "error=%s message=\"cannot start the thread that lets go of kept locks, so none is kept\"",
                colockp_quote(why, sizeof why, strerror(error)));
  return colockp_fail(error == ENOMEM ? COLOCK_ENOMEM : COLOCK_ESYSTEM, error,
                      "%s: cannot start the thread that looks after kept locks: %s", lock->escaped, strerror(error));
}

int colockp_helper_start(colock *lock, bool patient) {
  struct colockp_cache *cache = &lock->cache;
  int error = 0;
  bool say = false;
  pthread_mutex_lock(&lock->member.mutex);
  if (!atomic_load(&cache->running)) {
    int64_t now_ns = colockp_now_ns();
    bool too_early = patient && now_ns < cache->retry_ns;
    error = too_early ? EAGAIN : colockp_thread_start(&cache->thread, 0, run, lock);
    atomic_store(&cache->running, error == 0);
    say = error && !cache->retry_ns;
    if (!too_early)
      cache->retry_ns = error ? now_ns + RETRY_NS : 0;
  }
  pthread_mutex_unlock(&lock->member.mutex);
  return error ? fail_to_start(lock, error, say) : 0;
}

void colockp_helper_stop(colock *lock) {
  struct colockp_cache *cache = &lock->cache;
  if (!atomic_load(&cache->running))
    return;
  atomic_store(&cache->ending, true);
  colockp_helper_kick(lock);
  pthread_join(cache->thread, NULL);
  atomic_store(&cache->running, false);
}

void colockp_helper_forget(colock *lock) {
  struct colockp_cache *cache = &lock->cache;
  atomic_store(&cache->running, false);
  atomic_store(&cache->attention, 0);
  atomic_store(&cache->events, 0);
  atomic_store(&cache->look_ns, 0);
  if (lock->region)
    atomic_store(&lock->region->lanes, 0);
  cache->retry_ns = 0;
}
