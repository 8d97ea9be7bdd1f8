/* acquire.c - from a request to a hold.
 *
 * Phases, and the race that each one closes:
 *  1. lock LANE(generation), non-blocking. From here on the kernel excludes others of that generation.
 *  2. *before* 3: read the writer's mark: one that is there while we have LANE of our generation is a dead writer's;
 *     exclusive: take the next fencing token: none is newer than the generation that it belongs to.
 *  3. read the generation again: a forced unlock between 1 and 3 has moved everyone to the next lane; undo, start over.
 *  4. fstat: a file that lost its name between open and 1 excludes nobody any more; undo, start over on the new file.
 *  5. bury the dead writer; exclusive: sync the token if it needs to be, mark the writer word.
 * A failed attempt leaves no lock behind. Whoever must wait stands in line (wait.h) and tries again in turn. */
#define _GNU_SOURCE
#include "acquire.h"
#include "broken.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "log.h"
#include "queue_read.h"
#include "range.h"
#include "system.h"
#include "token.h"

#include <errno.h>
#include <string.h>

int colockp_lane_failed(colock_hold *seat, int error) {
  if (error == EAGAIN)
    return COLOCK_EBUSY;
  seat->broken = true;
  int code = error == ENOLCK ? COLOCK_ENOLOCKS : COLOCK_ESYSTEM;
  return colockp_fail(code, error, "%s: cannot lock: %s", seat->region->escaped, strerror(error));
}

/* Without the ring: of a try that is undone. */
static int unlock(colock_hold *seat) {
  int error = colockp_range_unlock(seat->file.fd, colockp_lane(seat->activity.generation), 1);
  if (error == 0)
    return 0;
  seat->broken = true; /* freeing the seat closes the descriptor, and the lock with it */
  return colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot unlock: %s", seat->region->escaped, strerror(error));
}

int colockp_lane_unlock(colock_hold *seat) {
  struct colockp_region *region = seat->region;
  bool early = COLOCKP_BROKEN(FLAG_EARLY) && region->header && !(region->header->flag & COLOCKP_FLAG_SET);
  int code = unlock(seat);
  if (region->header && !early)
    colockp_queue_released(region);
  return code;
}

int colockp_lane_words(colock_hold *seat, int mode) {
  struct colockp_region *region = seat->region;
  uint64_t token = 0;
  uint64_t dead = colockp_writer_found(region);
  if (mode == COLOCK_EXCLUSIVE && !COLOCKP_BROKEN(TOKEN_LATE))
    token = colockp_token_next(region);
  if (colockp_region_generation(region) != seat->activity.generation && !COLOCKP_BROKEN(GENERATION))
    return COLOCKP_AGAIN;
  if (mode == COLOCK_EXCLUSIVE && COLOCKP_BROKEN(TOKEN_LATE))
    token = colockp_token_next(region);
  int code = colockp_seat_look(seat);
  if (code)
    return code;
  if (dead && region->header)
    colockp_writer_bury(region, dead);
  if (mode == COLOCK_EXCLUSIVE) {
    code = colockp_token_sync(region, token);
    if (code)
      return code;
    if (!colockp_writer_mark(region, seat->activity.generation, token))
      return COLOCKP_AGAIN;
  }
  seat->activity.token = token;
  seat->last_token = token ? token - 1 : colockp_token_last(region);
  seat->abandoned = colockp_abandoned_word(region, dead);
  return 0;
}

int colockp_lane_try(colock_hold *seat, int mode) {
  for (;;) {
    uint32_t generation = colockp_region_generation(seat->region);
    if (generation == 0)
      return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged while it was open", seat->region->escaped);
    int error = colockp_range_lock(seat->file.fd, mode, colockp_lane(generation), 1);
    if (error)
      return colockp_lane_failed(seat, error);
    seat->activity.generation = generation;
    int code = colockp_lane_words(seat, mode);
    if (code == 0)
      return 0;
    /* Rung too: somebody may have found LANE taken by this very try. */
    int unlocked = colockp_lane_unlock(seat);
    if (code != COLOCKP_AGAIN || unlocked)
      return code != COLOCKP_AGAIN ? code : unlocked;
  }
}

void colockp_grant(colock_hold *seat, int mode, int priority) {
  struct colockp_activity *activity = &seat->activity;
  activity->state = COLOCKP_HELD;
  activity->mode = (uint32_t)mode;
  activity->priority = priority;
  activity->tid = colockp_tid();
  activity->hold_id++;
  activity->since_wall_ns = colockp_wall_about_ns();
  activity->since_ns = activity->renewed_ns = colockp_now_ns();
  activity->stale_timeout_ns = seat->lock->settings.stale_timeout_ns;
  seat->ended = 0;
}

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

static int check_request(const colock *lock, const colock_request *request, int64_t *timeout_ns) {
  if (request->size < sizeof *request)
    return colockp_fail(COLOCK_EINVAL, 0, "the request was not initialised (colock_request_init)");
  if (request->mode != COLOCK_SHARED && request->mode != COLOCK_EXCLUSIVE)
    return colockp_fail(COLOCK_EINVAL, 0, "mode %d is neither COLOCK_SHARED nor COLOCK_EXCLUSIVE", request->mode);
  if (request->flags & ~(unsigned)COLOCK_INTERRUPTIBLE)
    return colockp_fail(COLOCK_EINVAL, 0, "unknown flags 0x%x in the request", request->flags);
  if (request->priority < -100 || request->priority > 100)
    return colockp_fail(COLOCK_EINVAL, 0, "priority %d is not in -100..100", request->priority);
  if (request->deadline_ns < 0)
    return colockp_fail(COLOCK_EINVAL, 0, "a negative time: deadline_ns %lld", (long long)request->deadline_ns);
  return colockp_wait_timeout(lock, request->timeout_ms, timeout_ns);
}

void colockp_words_freely(colock_hold *hold, int mode) {
  static _Atomic uint64_t tokens;
  if (mode == COLOCK_EXCLUSIVE) {
    uint64_t none = 0;
    atomic_compare_exchange_strong(&tokens, &none, (uint64_t)colockp_wall_ns());
    hold->activity.token = atomic_fetch_add(&tokens, 1) + 1;
  }
  hold->last_token = hold->activity.token ? hold->activity.token - 1 : atomic_load(&tokens);
  hold->activity.mode = (uint32_t)mode;
}

/* enabled: false. A hold that excludes nobody and asks nobody. */
static int grant_freely(colock *lock, const colock_request *request, colock_hold **out) {
  colock_hold *hold = colockp_system.malloc(sizeof *hold);
  if (!hold)
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  memset(hold, 0, sizeof *hold);
  hold->file.fd = -1;
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
static int with_seat(struct colockp_wait *w) {
  bool try = w->timeout_ns == 0;
  if (!try) {
    int code = colockp_lock_deadlock(w->lock, w->seat);
    if (code)
      return code;
  }
  if (w->mode == COLOCK_EXCLUSIVE && w->seat->region->read_only)
    return colockp_fail(COLOCK_EACCES, EACCES, "%s: we may only read it, so shared locks alone can be had",
                        w->seat->region->escaped);
  if (may_try(w)) {
    int code = colockp_lane_try(w->seat, w->mode);
    if (code == COLOCK_EBUSY && try)
      return colockp_fail(COLOCK_EBUSY, 0, "%s: busy", w->seat->region->escaped);
    if (code != COLOCK_EBUSY)
      return code;
  }
  return wait_shown(w, try);
}

int colock_acquire_with(colock *lock, const colock_request *request, colock_hold **hold) {
  if (!lock || !request || !hold)
    return colockp_fail(COLOCK_EINVAL, 0, "lock, request and hold must not be NULL");
  struct colockp_wait w = { .lock = lock, .request = request, .attempt = colockp_lane_try };
  int code = check_request(lock, request, &w.timeout_ns);
  if (code)
    return code;
  colockp_fork_count();
  if (!lock->settings.enabled)
    return grant_freely(lock, request, hold);
  w.mode = request->mode;
  for (int turns = 0;; turns++) {
    code = colockp_lock_take(lock, colockp_wait_left_ns(&w), &w.seat);
    if (code)
      return code;
    code = with_seat(&w);
    if (code == 0)
      break;
    struct colockp_region *region = code == COLOCK_ELOST && turns < 100 ? colockp_region_ref(w.seat->region) : NULL;
    colockp_lock_put(w.seat);
    if (!region)
      return code;
    colockp_log(lock->settings.verbosity, COLOCKP_WARNING, "%s; starting over", colock_last_message());
    colockp_wait_clock(&w);
    w.now_ns = colockp_now_ns();
    code = colockp_lock_refresh(lock, region, colockp_wait_left_ns(&w));
    colockp_region_unref(region);
    if (code)
      return code;
  }
  colockp_grant(w.seat, request->mode, request->priority);
  colockp_seat_show(w.seat, request->purpose);
  if (w.timeout_ns != 0)
    colockp_lock_count(w.seat);
  *hold = w.seat;
  return 0;
}

void colock_request_init(colock_request *request, size_t size, int mode) {
  memset(request, 0, size);
  request->size = size;
  request->mode = mode;
  request->timeout_ms = COLOCK_CONFIGURED;
}

int colock_acquire(colock *lock, int mode, colock_hold **hold) {
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  return colock_acquire_with(lock, &request, hold);
}

int colock_try_acquire(colock *lock, int mode, colock_hold **hold) {
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  request.timeout_ms = COLOCK_NOWAIT;
  return colock_acquire_with(lock, &request, hold);
}
