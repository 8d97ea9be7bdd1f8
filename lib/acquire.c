/* acquire.c - from a request to a hold: with what is kept, else by a try, else in line (wait.h). */
#define _GNU_SOURCE
#include "acquire.h"
#include "cache.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "lane.h"
#include "queue_read.h"
#include "range.h"
#include "stats.h"
#include "system.h"
#include "trace.h"

#include <errno.h>
#include <string.h>

void colockp_show_waiting(struct colockp_wait *w) {
  struct colockp_activity *activity = &w->seat->activity;
  colockp_wait_clock(w);
  activity->state = COLOCKP_WAITING;
  activity->mode = (uint32_t)w->mode;
  activity->priority = w->request->priority;
  activity->tid = colockp_tid();
  activity->token = 0;
  activity->since_ns = activity->renewed_ns = w->start_ns;
  activity->since_wall_ns = colockp_wall_ns() - (colockp_now_ns() - w->start_ns);
  activity->stale_timeout_ns = INT64_MAX;
}

/* In line, with the wait shown in the slot. */
static int wait_shown(struct colockp_wait *w, bool try) {
  colockp_show_waiting(w);
  colockp_seat_show(w->seat, w->request->purpose);
  int code = try ? colockp_wait_moment(w) : colockp_wait_for(w);
  if (code) {
    w->seat->activity.state = COLOCKP_IDLE;
    colockp_seat_show_state(w->seat);
  }
  return code;
}

int colockp_request_check(const colock_request *request) {
  if (request->size < sizeof *request)
    return colockp_fail(COLOCK_EINVAL, 0, "the request was not initialised (colock_request_init)");
  if (request->mode != COLOCK_SHARED && request->mode != COLOCK_EXCLUSIVE)
    return colockp_fail(COLOCK_EINVAL, 0, "mode %d is neither COLOCK_SHARED nor COLOCK_EXCLUSIVE", request->mode);
  if (request->flags & ~(unsigned)COLOCK_INTERRUPTIBLE)
    return colockp_fail(COLOCK_EINVAL, 0, "unknown flags 0x%x in the request", request->flags);
  if (request->priority < -100 || request->priority > 100)
    return colockp_fail(COLOCK_EINVAL, 0, "priority %d is not in -100..100", request->priority);
  if (request->timeout_ms < COLOCK_CONFIGURED)
    return colockp_fail(COLOCK_EINVAL, 0, "a negative time: timeout_ms %lld", (long long)request->timeout_ms);
  if (request->deadline_ns < 0)
    return colockp_fail(COLOCK_EINVAL, 0, "a negative time: deadline_ns %lld", (long long)request->deadline_ns);
  return 0;
}

/* enabled: false. A hold that excludes nobody and asks nobody. */
static int grant_freely(colock *lock, const colock_request *request, colock_hold **out) {
  colock_hold *hold = colockp_system.malloc(sizeof *hold);
  if (!hold)
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  memset(hold, 0, sizeof *hold);
  hold->file.fd = hold->events.fd = hold->event_fd = -1;
  hold->lock = lock;
  hold->forks = colockp_fork_count();
  colockp_words_freely(hold, request->mode);
  colockp_lock_use(lock, hold);
  *out = hold;
  return 0;
}

/* May a newcomer try at once, and before those in line? */
static bool may_try(const struct colockp_wait *w) {
  struct colockp_region *region = w->seat->region;
  struct colockp_ahead ahead;
  if (!region->header)
    return !colockp_queue_read_writer(region, w->seat->file.fd, UINT64_MAX);
  if (colockp_queue_may_barge(region))
    return true;
  if (w->timeout_ns != 0)
    return false;
  colockp_queue_behind(region, w->mode, &ahead);
  return ahead.conflicts == 0;
}

/* One seat, from the first try to the end of the wait. ELOST: on a file that has been replaced. */
static int with_seat(struct colockp_wait *w, bool once) {
  bool try = w->timeout_ns == 0;
  if (!try && !once) {
    int code = colockp_lock_deadlock(w->lock, w->seat);
    if (code)
      return code;
  }
  if (w->mode == COLOCK_EXCLUSIVE && w->seat->region->read_only)
    return colockp_fail(COLOCK_EACCES, EACCES, "%s: it may only be read, so it gives shared locks alone",
                        w->seat->region->escaped);
  if (may_try(w)) {
    int code = colockp_lane_try(w->seat, w->mode);
    if (code == COLOCK_EBUSY && (try || once))
      return colockp_fail(COLOCK_EBUSY, 0, "%s: busy", w->seat->region->escaped);
    if (code != COLOCK_EBUSY)
      return code;
  }
  if (once)
    return colockp_fail(COLOCK_EBUSY, 0, "%s: busy: others wait for it", w->seat->region->escaped);
  return wait_shown(w, try);
}

/* The seat's file was replaced: open the new one. */
static int start_over(struct colockp_wait *w, const struct colockp_region *region) {
  char message[COLOCKP_QUOTED];
  colockp_log(w->lock->settings.verbosity, COLOCKP_WARNING, w->lock->path, "replaced", "message=%s",
              colockp_quote(message, sizeof message, colock_last_message()));
  colockp_wait_clock(w);
  w->now_ns = colockp_now_ns();
  return colockp_lock_refresh(w->lock, region, colockp_wait_left_ns(w));
}

/* With w->seat, or NULL, to begin with. */
static int get(struct colockp_wait *w, bool once) {
  colock *lock = w->lock;
  for (int turns = 0;; turns++) {
    int code = w->seat ? 0 : colockp_lock_take(lock, colockp_wait_left_ns(w), &w->seat);
    if (code)
      return code;
    code = with_seat(w, once);
    if (code == 0)
      return 0;
    if (!once)
      colockp_stats_failed(w->seat, code);
    struct colockp_region *region = code == COLOCK_ELOST ? colockp_region_ref(w->seat->region) : NULL;
    colockp_lock_put(w->seat);
    w->seat = NULL;
    if (!region)
      return code;
    code = turns < COLOCKP_TURNS_MOST ? start_over(w, region) : colockp_lock_restless(region);
    colockp_region_unref(region);
    if (code)
      return code;
  }
}

/* Not with what is kept. seat: NULL, or one to begin with. */
static int get_and_show(colock *lock, const colock_request *request, struct colockp_cancel *cancel, bool once,
                        colock_hold *seat, colock_hold **hold) {
  struct colockp_wait w = { .lock = lock, .seat = seat, .request = request, .cancel = cancel, .mode = request->mode,
                            .attempt = colockp_lane_try };
  int code = colockp_wait_timeout(lock, request->timeout_ms, &w.timeout_ns);
  if (code == 0)
    code = get(&w, once);
  if (code == COLOCK_EBUSY && once && w.timeout_ns != 0)
    return code; /* it goes on in another thread */
  if (code)
    return colockp_trace_failed(lock, w.mode, w.start_ns ? w.now_ns - w.start_ns : 0, code);
  colockp_grant(w.seat, w.mode, request->priority);
  colockp_seat_show(w.seat, request->purpose);
  colockp_trace_granted(w.seat, "granted", w.start_ns ? w.seat->activity.since_ns - w.start_ns : 0, false);
  if (w.timeout_ns != 0 && !once && !cancel)
    colockp_lock_count(w.seat);
  *hold = w.seat;
  return 0;
}

static unsigned how(const colock *lock, int64_t timeout_ms) {
  int64_t timeout = timeout_ms == COLOCK_CONFIGURED ? lock->settings.timeout_ns : timeout_ms;
  return timeout != 0 ? COLOCKP_BLOCKING | COLOCKP_COUNTS : 0;
}

int colockp_acquire(colock *lock, const colock_request *request, struct colockp_cancel *cancel, bool once,
                    colock_hold **hold) {
  colockp_fork_count();
  if (!lock->settings.enabled)
    return grant_freely(lock, request, hold);
  if (once || !cancel) { /* else it was begun with `once` */
    int64_t timeout_ns = 0;
    colockp_wait_timeout(lock, request->timeout_ms, &timeout_ns);
    colockp_trace_begin(lock, request->mode, timeout_ns);
  }
  colock_hold *seat = NULL;
  if (lock->settings.auto_release) {
    unsigned ways = once ? 0 : how(lock, request->timeout_ms);
    int code = colockp_cache_take(lock, request->mode, request->priority, request->purpose,
                                  cancel ? ways & ~(unsigned)COLOCKP_COUNTS : ways, hold, &seat);
    if (code != COLOCK_EBUSY)
      return code;
  }
  return get_and_show(lock, request, cancel, once, seat, hold);
}

int colock_acquire_with(colock *lock, const colock_request *request, colock_hold **hold) {
  if (!lock || !request || !hold)
    return colockp_fail(COLOCK_EINVAL, 0, "lock, request and hold must not be NULL");
  int code = colockp_request_check(request);
  return code ? code : colockp_acquire(lock, request, NULL, false, hold);
}

void colock_request_init(colock_request *request, size_t size, int mode) {
  memset(request, 0, size);
  request->size = size;
  request->mode = mode;
  request->timeout_ms = COLOCK_CONFIGURED;
}

/* As the request of colock_request_init with that timeout says, which is made up only if what is kept does not do. */
static int plain(colock *lock, int mode, int64_t timeout_ms, colock_hold **hold) {
  colock_hold *seat = NULL;
  colock_request request;
  bool possible = lock && hold && (mode == COLOCK_SHARED || mode == COLOCK_EXCLUSIVE);
  bool keeps = possible && lock->settings.auto_release && lock->settings.enabled;
  if (keeps) {
    colockp_trace_begin(lock, mode, timeout_ms == COLOCK_NOWAIT ? 0 : lock->settings.timeout_ns);
    int code = colockp_cache_take(lock, mode, 0, NULL, how(lock, timeout_ms), hold, &seat);
    if (code != COLOCK_EBUSY)
      return code;
  }
  colock_request_init(&request, sizeof request, mode);
  request.timeout_ms = timeout_ms;
  return keeps ? get_and_show(lock, &request, NULL, false, seat, hold) : colock_acquire_with(lock, &request, hold);
}

int colock_acquire(colock *lock, int mode, colock_hold **hold) {
  return plain(lock, mode, COLOCK_CONFIGURED, hold);
}

int colock_try_acquire(colock *lock, int mode, colock_hold **hold) {
  return plain(lock, mode, COLOCK_NOWAIT, hold);
}
