/* acquire.c - from a request to a hold.
 *
 * Phases, and the race that each one closes:
 *  1. lock LANE(generation), non-blocking. From here on the kernel excludes others of that generation.
 *  2. *before* 3: read the writer's mark: one that is there while we have LANE of our generation is a dead writer's;
 *     exclusive: take the next fencing token: none is newer than the generation that it belongs to.
 *  3. read the generation again: a forced unlock between 1 and 3 has moved everyone to the next lane; undo, start over.
 *  4. fstat: a file that lost its name between open and 1 excludes nobody any more; undo, start over on the new file.
 *  5. bury the dead writer; exclusive: sync the token if it needs to be, mark the writer word.
 * A failed attempt leaves no lock behind. Whoever must wait publishes a rank, then tries again at growing, jittered
 * intervals. */
#define _GNU_SOURCE
#include "acquire.h"
#include "clock.h"
#include "error.h"
#include "force.h"
#include "identity.h"
#include "log.h"
#include "queue.h"
#include "range.h"
#include "report.h"
#include "system.h"
#include "token.h"

#include <errno.h>
#include <string.h>

#define FIRST_DELAY_NS INT64_C(1000000)
enum { AGAIN = -1 };

struct waiter {
  colock *lock;
  colock_hold *seat;
  const colock_request *request;
  int64_t timeout_ns;
  int64_t start_ns, deadline_ns, now_ns; /* start 0: the clock has not been read yet */
  int64_t delay_ns;
  int64_t notice_ns;      /* when on_wait is due; INT64_MAX: never */
  int64_t notice_step_ns;
  int64_t judge_ns;       /* when to look for a stale holder; INT64_MAX: never */
  uint64_t random;
};

static int lane_failed(colock_hold *seat, int error) {
  if (error == EAGAIN)
    return colockp_fail(COLOCK_EBUSY, 0, "%s: busy", seat->region->escaped);
  seat->broken = true;
  int code = error == ENOLCK ? COLOCK_ENOLOCKS : COLOCK_ESYSTEM;
  return colockp_fail(code, error, "%s: cannot lock: %s", seat->region->escaped, strerror(error));
}

int colockp_lane_unlock(colock_hold *seat) {
  int error = colockp_range_unlock(seat->file.fd, colockp_lane(seat->activity.generation), 1);
  if (error == 0)
    return 0;
  seat->broken = true; /* freeing the seat closes the descriptor, and the lock with it */
  return colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot unlock: %s", seat->region->escaped, strerror(error));
}

/* Phases 2 to 5, with LANE locked. AGAIN: the generation has changed. Any other failure: LANE is to be unlocked. */
static int make_sure(colock_hold *seat, int mode) {
  struct colockp_region *region = seat->region;
  uint64_t token = 0;
  uint64_t dead = region->header ? colockp_writer_found(region) : 0;
  if (mode == COLOCK_EXCLUSIVE)
    token = colockp_token_next(region);
  if (colockp_region_generation(region) != seat->activity.generation)
    return AGAIN;
  int code = colockp_seat_look(seat);
  if (code)
    return code;
  if (dead)
    colockp_writer_bury(region, dead);
  if (mode == COLOCK_EXCLUSIVE) {
    code = colockp_token_sync(region, token);
    if (code)
      return code;
    if (!colockp_writer_mark(region, seat->activity.generation, token))
      return AGAIN;
  }
  seat->activity.token = token;
  seat->last_token = token ? token - 1 : colockp_token_last(region);
  seat->abandoned = colockp_abandoned_word(region);
  return 0;
}

/* 0: LANE is locked and the words are taken. EBUSY; ELOST: the file was replaced; else what failed. */
static int attempt(colock_hold *seat, int mode) {
  for (;;) {
    uint32_t generation = colockp_region_generation(seat->region);
    if (generation == 0)
      return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged while it was open", seat->region->escaped);
    int error = colockp_range_lock(seat->file.fd, mode, colockp_lane(generation), 1);
    if (error)
      return lane_failed(seat, error);
    seat->activity.generation = generation;
    int code = make_sure(seat, mode);
    if (code == 0)
      return 0;
    int unlocked = colockp_lane_unlock(seat);
    if (code != AGAIN || unlocked)
      return code != AGAIN ? code : unlocked;
  }
}

/* The hold is ours: say so in the slot. */
static void grant(colock *lock, colock_hold *seat, const colock_request *request, bool blocking) {
  struct colockp_activity *activity = &seat->activity;
  activity->state = COLOCKP_HELD;
  activity->mode = (uint32_t)request->mode;
  activity->priority = request->priority;
  activity->tid = colockp_tid();
  activity->hold_id++;
  activity->since_wall_ns = colockp_wall_about_ns();
  activity->since_ns = activity->renewed_ns = colockp_now_ns();
  activity->stale_timeout_ns = lock->settings.stale_timeout_ns;
  colockp_seat_show(seat, request->purpose);
  if (blocking)
    colockp_lock_count(seat);
}

static void join(struct waiter *w) {
  struct colockp_activity *activity = &w->seat->activity;
  if (!w->seat->slot)
    return; /* reader-only: anonymous, in no queue */
  activity->state = COLOCKP_WAITING;
  activity->mode = (uint32_t)w->request->mode;
  activity->priority = w->request->priority;
  activity->tid = colockp_tid();
  activity->token = 0;
  activity->since_ns = activity->renewed_ns = w->start_ns;
  activity->since_wall_ns = colockp_wall_ns() - (w->now_ns - w->start_ns);
  activity->stale_timeout_ns = INT64_MAX;
  colockp_seat_show(w->seat, w->request->purpose);
  colockp_queue_join(w->seat, w->request->mode, w->request->priority);
}

static void leave(struct waiter *w, bool granted) {
  if (!w->seat->slot)
    return;
  colockp_queue_leave(w->seat);
  if (!granted) {
    w->seat->activity.state = COLOCKP_IDLE;
    colockp_seat_show_state(w->seat);
  }
}

/* Who is in the way, as a report. NULL where it cannot be read: the wait goes on without. */
static colock_report *look_around(const struct waiter *w) {
  colock_report *report;
  if (colockp_report_new(&report, w->lock->path) != 0)
    return NULL;
  if (colockp_report_fill(report, w->seat->region->file.fd) == 0)
    return report;
  colock_report_free(report);
  return NULL;
}

static int timed_out(const struct waiter *w) {
  char who[COLOCKP_DESCRIBED] = "", waited[COLOCKP_AGE_SIZE];
  struct colockp_holder holder;
  const char *path = w->seat->region->escaped;
  colockp_age(waited, sizeof waited, w->now_ns - w->start_ns);
  colock_report *report = look_around(w);
  if (report && colockp_report_holder(report, w->request->mode, &holder))
    colockp_describe(holder.entry, who, sizeof who);
  colock_report_free(report);
  if (*who)
    return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: gave up after %s; held by %s. Retry, or: colock status %s", path,
                        waited, who, path);
  return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: gave up after %s; the holder is gone or unknown by now. Retry", path,
                      waited);
}

static int notify(struct waiter *w) {
  colock_report *report = look_around(w);
  int stop = 0;
  if (report)
    stop = w->request->on_wait(report, (w->now_ns - w->start_ns) / 1000000, w->request->on_wait_arg);
  colock_report_free(report);
  w->now_ns = colockp_now_ns();
  w->notice_step_ns = colockp_time_add(w->notice_step_ns, w->notice_step_ns);
  w->notice_ns = colockp_time_add(w->start_ns, w->notice_step_ns);
  if (w->notice_ns <= w->now_ns) /* on_wait itself took long */
    w->notice_ns = colockp_time_add(w->now_ns, w->notice_step_ns);
  return stop ? colockp_fail(COLOCK_ECANCELED, 0, "%s: the wait was stopped by its on_wait", w->seat->region->escaped)
              : 0;
}

/* stale_action: break. Only when all that is in the way is stale: to force out one reader revokes all of them. */
static void judge(struct waiter *w) {
  struct colockp_holder holder;
  char who[COLOCKP_DESCRIBED];
  w->judge_ns = colockp_time_add(w->now_ns, w->lock->settings.retry_delay_ns);
  colock_report *report = look_around(w);
  if (report && colockp_report_holder(report, w->request->mode, &holder) && holder.stale &&
      holder.conflicting_stale == holder.conflicting &&
      colockp_force_break(w->seat->region, holder.generation, holder.slot, holder.hold_id, "stale") == 0)
    colockp_log(w->lock->settings.verbosity, COLOCKP_WARNING, "%s: forced out %s, which was stale",
                w->seat->region->escaped, colockp_describe(holder.entry, who, sizeof who));
  colock_report_free(report);
}

/* Between half of the delay and all of it, so that those who began together do not stay together. */
static int pause_turn(struct waiter *w) {
  w->random ^= w->random << 13;
  w->random ^= w->random >> 7;
  w->random ^= w->random << 17;
  int64_t ns = w->delay_ns / 2 + (int64_t)(w->random % (uint64_t)(w->delay_ns / 2 + 1));
  w->delay_ns = w->delay_ns < w->lock->settings.retry_delay_ns / 2 ? w->delay_ns * 2 : w->lock->settings.retry_delay_ns;
  int64_t until = w->deadline_ns < w->notice_ns ? w->deadline_ns : w->notice_ns;
  if (ns > until - w->now_ns)
    ns = until - w->now_ns;
  if (ns <= 0)
    return 0;
  struct timespec relative = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
  if (colockp_system.futex_wait((uint32_t *)&w->lock->canceled, 0, &relative) != 0 && errno == EINTR &&
      (w->request->flags & COLOCK_INTERRUPTIBLE))
    return colockp_fail(COLOCK_EINTR, EINTR, "%s: interrupted by a signal", w->seat->region->escaped);
  return 0;
}

/* One turn of the wait: what may end it, then sleep, then try. EBUSY: another turn. */
static int turn(struct waiter *w) {
  if (atomic_load(&w->lock->canceled))
    return colockp_fail(COLOCK_ECANCELED, 0, "%s: the wait was canceled", w->seat->region->escaped);
  if (w->now_ns >= w->deadline_ns)
    return timed_out(w);
  int code = 0;
  if (w->now_ns >= w->notice_ns && (code = notify(w)) != 0)
    return code;
  if (w->now_ns >= w->judge_ns)
    judge(w);
  code = pause_turn(w);
  w->now_ns = colockp_now_ns();
  if (code == 0)
    code = colockp_region_named(w->seat->region); /* the holder's file may have no name any more */
  return code ? code : attempt(w->seat, w->request->mode);
}

static int wait_for(struct waiter *w) {
  join(w);
  int code;
  while ((code = turn(w)) == COLOCK_EBUSY)
    ;
  leave(w, code == 0);
  return code;
}

/* Once: no clock is read for an acquire that neither waits nor starts over. */
static void start_clock(struct waiter *w) {
  if (w->start_ns)
    return;
  w->start_ns = w->now_ns = colockp_now_ns();
  w->deadline_ns = colockp_time_add(w->now_ns, w->timeout_ns);
  if (w->request->deadline_ns > 0 && w->request->deadline_ns < w->deadline_ns)
    w->deadline_ns = w->request->deadline_ns;
}

static int64_t left_ns(struct waiter *w) {
  if (w->request->deadline_ns > 0)
    start_clock(w);
  if (w->start_ns == 0)
    return w->timeout_ns;
  return w->deadline_ns > w->now_ns ? w->deadline_ns - w->now_ns : 0;
}

static void begin_wait(struct waiter *w) {
  const struct colockp_settings *settings = &w->lock->settings;
  start_clock(w);
  w->now_ns = colockp_now_ns();
  w->delay_ns = settings->retry_delay_ns < FIRST_DELAY_NS ? settings->retry_delay_ns : FIRST_DELAY_NS;
  if (w->random) /* not the first: the file was replaced */
    return;
  w->notice_step_ns = settings->notify_after_ns > 0 ? settings->notify_after_ns : FIRST_DELAY_NS;
  w->notice_ns = w->request->on_wait ? colockp_time_add(w->now_ns, settings->notify_after_ns) : INT64_MAX;
  w->judge_ns = settings->stale_action == COLOCKP_STALE_BREAK ? w->now_ns : INT64_MAX;
  w->random = ((uint64_t)w->now_ns ^ colockp_thread() << 32) | 1;
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
  if (request->timeout_ms < COLOCK_CONFIGURED || request->deadline_ns < 0)
    return colockp_fail(COLOCK_EINVAL, 0, "a negative time: timeout_ms %lld, deadline_ns %lld",
                        (long long)request->timeout_ms, (long long)request->deadline_ns);
  if (request->timeout_ms == COLOCK_CONFIGURED)
    *timeout_ns = lock->settings.timeout_ns;
  else if (request->timeout_ms == COLOCK_FOREVER || request->timeout_ms > INT64_MAX / 1000000)
    *timeout_ns = INT64_MAX;
  else
    *timeout_ns = request->timeout_ms * 1000000;
  return 0;
}

/* enabled: false. A hold that excludes nobody and asks nobody. */
static int grant_freely(colock *lock, const colock_request *request, colock_hold **out) {
  static _Atomic uint64_t tokens;
  colock_hold *hold = colockp_system.malloc(sizeof *hold);
  if (!hold)
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  memset(hold, 0, sizeof *hold);
  hold->file.fd = -1;
  hold->lock = lock;
  hold->forks = colockp_fork_count();
  if (request->mode == COLOCK_EXCLUSIVE) {
    uint64_t none = 0;
    atomic_compare_exchange_strong(&tokens, &none, (uint64_t)colockp_wall_ns());
    hold->activity.token = atomic_fetch_add(&tokens, 1) + 1;
  }
  hold->last_token = hold->activity.token ? hold->activity.token - 1 : atomic_load(&tokens);
  hold->activity.mode = (uint32_t)request->mode;
  colockp_lock_use(lock, hold);
  *out = hold;
  return 0;
}

/* One seat, from the first try to the end of the wait. ELOST: on a file that has been replaced. */
static int with_seat(struct waiter *w, bool try) {
  if (!try) {
    int code = colockp_lock_deadlock(w->lock, w->seat);
    if (code)
      return code;
  }
  if (w->request->mode == COLOCK_EXCLUSIVE && w->seat->region->read_only)
    return colockp_fail(COLOCK_EACCES, EACCES, "%s: we may only read it, so shared locks alone can be had",
                        w->seat->region->escaped);
  int code = attempt(w->seat, w->request->mode);
  if (code != COLOCK_EBUSY || try)
    return code;
  begin_wait(w);
  return wait_for(w);
}

int colock_acquire_with(colock *lock, const colock_request *request, colock_hold **hold) {
  if (!lock || !request || !hold)
    return colockp_fail(COLOCK_EINVAL, 0, "lock, request and hold must not be NULL");
  struct waiter w = { .lock = lock, .request = request };
  int code = check_request(lock, request, &w.timeout_ns);
  if (code)
    return code;
  colockp_fork_count();
  if (!lock->settings.enabled)
    return grant_freely(lock, request, hold);
  bool try = w.timeout_ns == 0;
  for (int turns = 0;; turns++) {
    code = colockp_lock_take(lock, left_ns(&w), &w.seat);
    if (code)
      return code;
    code = with_seat(&w, try);
    if (code == 0)
      break;
    struct colockp_region *region = code == COLOCK_ELOST && turns < 100 ? colockp_region_ref(w.seat->region) : NULL;
    colockp_lock_put(w.seat);
    if (!region)
      return code;
    colockp_log(lock->settings.verbosity, COLOCKP_WARNING, "%s; starting over", colock_last_message());
    start_clock(&w);
    w.now_ns = colockp_now_ns();
    code = colockp_lock_refresh(lock, region, left_ns(&w));
    colockp_region_unref(region);
    if (code)
      return code;
  }
  grant(lock, w.seat, request, !try);
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
