/* wait.c - acquire without blocking the JS thread.
 *
 * What can be had at once is had in the call itself: no wait object, no message. Anything else gets a descriptor in the
 * pump, and JavaScript steps the wait whenever that is readable.
 */
#include "addon.h"

#include <stdlib.h>

/* In the JS thread, from the step that `addon->notice` was given to. */
static int on_wait(const colock_report *who, int64_t waited_ms, void *argument) {
  struct addon *addon = argument;
  napi_env env = addon->env;
  napi_value global, arguments[2];
  if (!addon->notice || napi_get_global(env, &global) != napi_ok)
    return 0;
  arguments[0] = report_entries(addon, who);
  arguments[1] = number(env, (double)waited_ms);
  /* What it throws ends the wait, and comes out of the step. */
  return napi_call_function(env, global, addon->notice, 2, arguments, NULL) != napi_ok;
}

static int step(struct addon *addon, colock_wait *waiting, napi_value notice, colock_hold **hold) {
  addon->notice = notice && !is_absent(addon->env, notice) ? notice : NULL;
  int code = colock_wait_step(waiting, hold);
  addon->notice = NULL;
  return code;
}

static void wait_free(struct addon *addon, int64_t id, struct wait *wait) {
  pump_remove(addon, colock_wait_fd(wait->colock));
  table_remove(&addon->waits, id);
  wait->lock->uses--;
  colock_wait_free(wait->colock);
  free(wait);
  keep(addon, -1);
}

/* -id, or -code: then the wait is freed. */
static int64_t wait_new(struct lock *lock, colock_wait *waiting) {
  struct addon *addon = lock->addon;
  struct wait *wait = malloc(sizeof *wait);
  int64_t id = wait ? table_add(&addon->waits, wait) : -COLOCK_ENOMEM;
  int code = id < 0 ? COLOCK_ENOMEM : pump_add(addon, colock_wait_fd(waiting), id, READY_WAIT);
  if (code) {
    table_remove(&addon->waits, id);
    free(wait);
    colock_wait_free(waiting);
    return -code;
  }
  *wait = (struct wait){ .lock = lock, .colock = waiting };
  lock->uses++;
  keep(addon, 1);
  return -id;
}

/* First a try, which costs a tenth of a wait. It asks those in line to go first only where the lock is free and they
 * have not taken it yet: a wake-up's time, or 20 ms, once, if the first of them is stopped. */
static int64_t begin(struct lock *lock, const colock_request *request, napi_value notice) {
  colock_request once = *request;
  colock_wait *waiting;
  colock_hold *granted;
  once.timeout_ms = COLOCK_NOWAIT;
  int code = colock_acquire_with(lock->colock, &once, &granted);
  if (code == 0)
    return hold_new(lock, granted);
  if (code != COLOCK_EBUSY || request->timeout_ms == COLOCK_NOWAIT)
    return -code;
  code = colock_wait_start(lock->colock, request, &waiting);
  if (code)
    return -code;
  code = step(lock->addon, waiting, notice, &granted);
  if (code == COLOCK_EBUSY)
    return wait_new(lock, waiting);
  colock_wait_free(waiting);
  return code ? -code : hold_new(lock, granted);
}

/* acquire(lock, mode[, timeout, priority, purpose, notice]) -> the hold's id, -code, or -(the wait's id) */
CALL(wait_acquire) {
  napi_value arguments[6];
  size_t count = 6;
  struct addon *addon = addon_of(env, info, &count, arguments);
  struct lock *lock = table_get(&addon->locks, integer(env, arguments[0]));
  colock_request request;
  char *purpose = NULL;
  colock_request_init(&request, sizeof request, (int)integer(env, arguments[1]));
  if (count > 2) {
    request.timeout_ms = integer(env, arguments[2]);
    request.priority = (int)integer(env, arguments[3]);
    if (!is_absent(env, arguments[4]))
      request.purpose = purpose = text_of(env, arguments[4]);
    if (!is_absent(env, arguments[5])) {
      request.on_wait = on_wait;
      request.on_wait_arg = addon;
    }
  }
  int64_t answer = begin(lock, &request, count > 2 ? arguments[5] : NULL);
  free(purpose);
  return number(env, (double)answer);
}

/* step(wait, notice) -> the hold's id; 0: not yet; -code. But for 0 the wait is gone. */
CALL(wait_step) {
  napi_value arguments[2];
  size_t count = 2;
  struct addon *addon = addon_of(env, info, &count, arguments);
  int64_t id = integer(env, arguments[0]);
  struct wait *wait = table_get(&addon->waits, id);
  colock_hold *hold;
  if (!wait)
    return number(env, 0); /* the news was on its way when it was left */
  wait->stepping = true;
  int code = step(addon, wait->colock, arguments[1], &hold);
  wait->stepping = false;
  if (code == COLOCK_EBUSY && !wait->left) {
    pump_again(addon, colock_wait_fd(wait->colock), id, READY_WAIT);
    return number(env, 0);
  }
  struct lock *lock = wait->lock;
  bool left = wait->left;
  wait_free(addon, id, wait);
  if (left && code == 0)
    colock_release(hold);
  return number(env, (double)(left ? 0 : code ? -code : hold_new(lock, hold)));
}

/* leave(wait) */
CALL(wait_leave) {
  napi_value argument;
  size_t count = 1;
  struct addon *addon = addon_of(env, info, &count, &argument);
  int64_t id = integer(env, argument);
  struct wait *wait = table_get(&addon->waits, id);
  if (wait && wait->stepping)
    wait->left = true;
  else if (wait)
    wait_free(addon, id, wait);
  return NULL;
}

void waits_end(struct addon *addon) {
  int64_t id;
  for (struct wait *wait; (wait = table_any(&addon->waits, &id));) {
    table_remove(&addon->waits, id);
    colock_wait_free(wait->colock);
    free(wait);
  }
}
