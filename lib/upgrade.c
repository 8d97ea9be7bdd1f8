/* upgrade.c - changing a hold in place: shared to exclusive, exclusive to shared, and letting the others through.
 *
 * Upgrade: UPGRADE of the lane first, so that of two upgraders one learns at once that the other waits for it; then the
 * front of the queue, so that no new reader enters; then LANE is converted, which the kernel does in one step or not at
 * all. Downgrade: the writer's mark goes before the conversion, as before an unlock. */
#include "acquire.h"
#include "cache.h"
#include "clock.h"
#include "error.h"
#include "event.h"
#include "hold.h"
#include "lane.h"
#include "queue_read.h"
#include "range.h"
#include "stats.h"
#include "token.h"
#include "trace.h"

#include <errno.h>
#include <string.h>

static int64_t upgrade_byte(const colock_hold *hold) {
  return COLOCKP_BYTE_UPGRADE + hold->activity.generation % COLOCKP_LANES;
}

/* One try, as colockp_wait wants it. Fails with the hold shared, as it was. */
static int convert(colock_hold *hold, int mode) {
  int code = colockp_hold_present(hold);
  if (code)
    return code;
  int64_t lane = colockp_lane(hold->activity.generation);
  int error = colockp_range_lock(hold->file.fd, mode, lane, 1);
  if (error)
    return colockp_lane_failed(hold, error);
  code = colockp_lane_words(hold, mode);
  if (code == 0)
    return 0;
  if (code == COLOCKP_AGAIN)
    code = colockp_hold_present(hold);
  error = colockp_range_lock(hold->file.fd, COLOCKP_RANGE_SHARED, lane, 1);
  if (error)
    return colockp_lane_failed(hold, error);
  colockp_queue_released(hold->region);
  return code;
}

/* It has held in one mode until now, and holds in the other from now on. */
static void count_change(colock_hold *hold, unsigned what, int64_t now_ns) {
  colockp_stats_end(hold, now_ns);
  colockp_stats_begin(hold, now_ns);
  colockp_stats_count(hold, what);
}

static int wait_upgrading(struct colockp_wait *w) {
  struct colockp_activity *activity = &w->seat->activity;
  activity->state = COLOCKP_UPGRADING;
  colockp_seat_show_state(w->seat);
  int code = colockp_wait_for(w);
  activity->state = COLOCKP_HELD;
  if (code)
    colockp_seat_show_state(w->seat);
  return code;
}

static int upgrade(colock_hold *hold, const colock_request *request, int64_t timeout_ns) {
  struct colockp_wait w = { .lock = hold->lock, .seat = hold, .request = request, .mode = COLOCK_EXCLUSIVE,
                            .attempt = convert, .timeout_ns = timeout_ns, .key = COLOCKP_KEY_UPGRADE };
  int fd = hold->file.fd;
  colockp_trace_begin(hold->lock, w.mode, timeout_ns);
  int error = colockp_range_lock(fd, COLOCKP_RANGE_EXCLUSIVE, upgrade_byte(hold), 1);
  if (error) {
    int failed = error != EAGAIN ? colockp_lane_failed(hold, error)
                 : colockp_fail(COLOCK_EDEADLK, 0,
                                "%s: another shared hold is being upgraded and waits for this one: release it",
                                colockp_hold_path(hold));
    return colockp_trace_failed(hold->lock, w.mode, 0, failed);
  }
  colockp_cache_empty(hold->lock); /* what else this process keeps would be in its way */
  int code = convert(hold, COLOCK_EXCLUSIVE);
  if (code == COLOCK_EBUSY && timeout_ns != 0)
    code = wait_upgrading(&w);
  else if (code == COLOCK_EBUSY)
    code = colockp_fail(COLOCK_EBUSY, 0, "%s: busy: others hold it too", colockp_hold_path(hold));
  if (code == 0) {
    hold->activity.renewed_ns = colockp_now_ns();
    count_change(hold, COLOCKP_N_UPGRADES, hold->activity.renewed_ns);
    hold->activity.mode = COLOCK_EXCLUSIVE;
    colockp_seat_show_activity(hold);
  }
  colockp_range_unlock(fd, upgrade_byte(hold), 1);
  colockp_event_again(hold);
  int64_t waited_ns = w.start_ns ? w.now_ns - w.start_ns : 0;
  if (code)
    return colockp_trace_failed(hold->lock, w.mode, waited_ns, code);
  colockp_trace_granted(hold, "upgraded", waited_ns, false);
  return 0;
}

static int may_wait(const colock_hold *hold, int64_t timeout_ms, int64_t *timeout_ns) {
  int code = colockp_hold_usable(hold);
  return code ? code : colockp_wait_timeout(hold->lock, timeout_ms, timeout_ns);
}

int colock_upgrade(colock_hold *hold, int64_t timeout_ms) {
  colock_request request;
  int64_t timeout_ns;
  int code = may_wait(hold, timeout_ms, &timeout_ns);
  if (code)
    return code;
  if (hold->activity.mode == COLOCK_EXCLUSIVE)
    return hold->region ? colockp_hold_present(hold) : 0;
  if (!hold->region) {
    colockp_words_freely(hold, COLOCK_EXCLUSIVE);
    return 0;
  }
  if (hold->region->read_only)
    return colockp_fail(COLOCK_EACCES, EACCES, "%s: it may only be read, so it gives shared locks alone",
                        colockp_hold_path(hold));
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  code = upgrade(hold, &request, timeout_ns);
  colockp_stats_failed(hold, code);
  return code;
}

static int downgrade(colock_hold *hold) {
  struct colockp_region *region = hold->region;
  uint64_t token = hold->activity.token;
  int code = colockp_hold_present(hold);
  if (code == 0)
    code = colockp_seat_look(hold);
  if (code)
    return code == COLOCK_ESYSTEM ? COLOCK_ELOST : code;
  colockp_queue_end_phase(region);
  colockp_writer_clear(region, token);
  int error = colockp_range_lock(hold->file.fd, COLOCKP_RANGE_SHARED, colockp_lane(hold->activity.generation), 1);
  if (error) {
    colockp_writer_mark(region, hold->activity.generation, token);
    return colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot make the lock shared: %s", colockp_hold_path(hold),
                        strerror(error));
  }
  count_change(hold, COLOCKP_N_DOWNGRADES, colockp_now_ns());
  hold->activity.mode = COLOCK_SHARED;
  hold->activity.token = 0;
  hold->last_token = token;
  colockp_seat_show_activity(hold);
  colockp_queue_released(region);
  colockp_event_again(hold);
  colockp_trace_downgraded(hold);
  return 0;
}

int colock_downgrade(colock_hold *hold) {
  int code = colockp_hold_usable(hold);
  if (code)
    return code;
  if (hold->activity.mode == COLOCK_SHARED)
    return hold->region ? colockp_hold_present(hold) : 0;
  if (hold->region)
    return downgrade(hold);
  hold->activity.mode = COLOCK_SHARED;
  hold->last_token = hold->activity.token;
  hold->activity.token = 0;
  return 0;
}

int colock_contended(const colock_hold *hold) {
  if (!hold || !hold->region || hold->ended || hold->forks != colockp_fork_count())
    return 0;
  if (!hold->region->header)
    return colockp_queue_read_writer(hold->region, hold->file.fd, UINT64_MAX);
  return colockp_queue_contended(hold->region, (int)hold->activity.mode, hold->number);
}

/* The hold is over; now in line for the next, at its end, and not before those whom we let through. */
static int get_back(colock_hold *hold, const colock_request *request, int64_t timeout_ns) {
  struct colockp_wait w = { .lock = hold->lock, .seat = hold, .request = request, .mode = request->mode,
                            .attempt = colockp_lane_try, .timeout_ns = timeout_ns, .last = true };
  colockp_trace_begin(hold->lock, w.mode, timeout_ns);
  colockp_show_waiting(&w);
  colockp_seat_show_activity(hold);
  int code = colockp_wait_for(&w);
  if (code)
    return colockp_trace_failed(hold->lock, w.mode, w.now_ns - w.start_ns, code);
  colockp_grant(hold, request->mode, request->priority);
  colockp_seat_show_activity(hold);
  colockp_trace_granted(hold, "granted", hold->activity.since_ns - w.start_ns, false);
  colockp_event_again(hold);
  return 0;
}

int colock_yield(colock_hold *hold, int64_t timeout_ms) {
  colock_request request;
  int64_t timeout_ns;
  int code = may_wait(hold, timeout_ms, &timeout_ns);
  if (code)
    return code;
  if (hold->file.inherited)
    return colockp_fail(COLOCK_EINVAL, 0, "%s: an inherited hold cannot be given up: children have it too",
                        colockp_hold_path(hold));
  if (!hold->region || (!colock_contended(hold) && colockp_hold_present(hold) == 0))
    return 0;
  colock_request_init(&request, sizeof request, (int)hold->activity.mode);
  request.priority = hold->activity.priority;
  code = colockp_hold_end(hold);
  if (code == 0 && hold->region->read_only) /* it can ring nobody: those who wait see the descriptor close */
    code = colockp_seat_reopen(hold);
  if (code == 0)
    code = get_back(hold, &request, timeout_ns);
  if (code == 0 || code == COLOCK_EFORKED) /* in the child of a suspend: the hold is the parent's */
    return code;
  colockp_stats_failed(hold, code);
  hold->ended = code;
  atomic_store_explicit(&hold->thread, 0, memory_order_relaxed);
  hold->activity.state = COLOCKP_IDLE;
  colockp_seat_show_state(hold);
  return code;
}
