/* hold.c - what JavaScript does with a hold.
 *
 * While an upgrade or a yield is under way in another thread, nothing else may be done with the hold: index.js sees to
 * that, but for the end of a worker, which waits for jobs first.
 */
#include "addon.h"

#include <stdlib.h>
#include <time.h>

int64_t hold_new(struct lock *lock, colock_hold *granted) {
  struct hold *hold = malloc(sizeof *hold);
  int64_t id = hold ? table_add(&lock->addon->holds, hold) : -COLOCK_ENOMEM;
  if (id < 0) {
    free(hold);
    colock_release(granted);
    return id;
  }
  *hold = (struct hold){ .lock = lock, .colock = granted, .event_fd = -1 };
  lock->uses++;
  return id;
}

int hold_free(struct addon *addon, int64_t id, struct hold *hold) {
  if (hold->event_fd >= 0)
    pump_remove(addon, hold->event_fd);
  table_remove(&addon->holds, id);
  hold->lock->uses--;
  int code = colock_release(hold->colock);
  free(hold);
  return code;
}

struct asked {
  struct addon *addon;
  int64_t id;
  struct hold *hold;
  napi_value more; /* the second argument, if there is one */
};

static struct asked ask(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  struct asked asked = { .addon = addon_of(env, info, &count, arguments) };
  asked.id = integer(env, arguments[0]);
  asked.hold = table_get(&asked.addon->holds, asked.id);
  asked.more = arguments[1];
  return asked;
}

/* release(hold) -> 0 or -code */
CALL(hold_release) {
  struct asked asked = ask(env, info);
  int code = asked.hold ? hold_free(asked.addon, asked.id, asked.hold) : COLOCK_EINVAL;
  return number(env, -code);
}

static napi_value token(napi_env env, uint64_t value) {
  napi_value big;
  return napi_create_bigint_uint64(env, value, &big) == napi_ok ? big : NULL;
}

CALL(hold_token) {
  struct asked asked = ask(env, info);
  return token(env, colock_token(asked.hold->colock));
}

CALL(hold_last_token) {
  struct asked asked = ask(env, info);
  return token(env, colock_last_token(asked.hold->colock));
}

/* state(hold) -> 1: contended, 2: abandoned, or their sum */
CALL(hold_state) {
  struct asked asked = ask(env, info);
  const colock_hold *held = asked.hold->colock;
  return number(env, (colock_contended(held) ? 1 : 0) + (colock_abandoned(held) ? 2 : 0));
}

CALL(hold_name) {
  struct asked asked = ask(env, info);
  char name[64] = "";
  colock_hold_id(asked.hold->colock, name, sizeof name);
  return text(env, name);
}

/* What takes a hold and answers with a code. */
static napi_value simply(napi_env env, napi_callback_info info, int (*verb)(colock_hold *hold)) {
  struct asked asked = ask(env, info);
  return number(env, -verb(asked.hold->colock));
}

CALL(hold_check) { return simply(env, info, colock_check); }
CALL(hold_renew) { return simply(env, info, colock_renew); }

/* touch(hold): renews it. 1: contended, 0: not, or -code */
CALL(hold_touch) {
  struct asked asked = ask(env, info);
  int code = colock_renew(asked.hold->colock);
  return number(env, code ? -code : colock_contended(asked.hold->colock) ? 1 : 0);
}

/* Looked at so often, a file that was replaced is noticed long before anybody could have opened what it guards. */
#define LOOK_NS INT64_C(1000000)

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* whole(hold): as check, but the file is only looked at if it was not for LOOK_NS. 0 or -code */
CALL(hold_whole) {
  struct hold *hold = ask(env, info).hold;
  int64_t now = now_ns();
  if (now - hold->looked_ns < LOOK_NS)
    return number(env, -colock_renew(hold->colock));
  int code = colock_check(hold->colock);
  if (code == 0) /* else every other operation is to find it, too */
    hold->looked_ns = now;
  return number(env, -code);
}

CALL(hold_recovered) { return simply(env, info, colock_recovered); }
CALL(hold_downgrade) { return simply(env, info, colock_downgrade); }

/* watch(hold): dispatch is told once. 0 or -code. Again, when it has told: told anew. */
CALL(hold_watch) {
  struct asked asked = ask(env, info);
  struct hold *hold = asked.hold;
  if (hold->event_fd >= 0) {
    pump_again(asked.addon, hold->event_fd, asked.id, READY_HOLD);
    return number(env, 0);
  }
  int fd = colock_hold_fd(hold->colock);
  if (fd < 0)
    return number(env, fd);
  int code = pump_add(asked.addon, fd, asked.id, READY_HOLD);
  if (code == 0)
    hold->event_fd = fd;
  return number(env, -code);
}

/* ---- what may wait ---- */

struct changing {
  struct job job;
  struct hold *hold;
  int (*verb)(colock_hold *hold, int64_t timeout_ms);
  int64_t timeout_ms;
};

static int change(struct job *job) {
  struct changing *changing = (struct changing *)job;
  return changing->verb(changing->hold->colock, changing->timeout_ms);
}

static void changed(struct job *job) { ((struct changing *)job)->hold->busy = false; }

static napi_value start(napi_env env, napi_callback_info info, int (*verb)(colock_hold *hold, int64_t timeout_ms)) {
  struct asked asked = ask(env, info);
  struct changing *changing = calloc(1, sizeof *changing);
  if (!changing) {
    napi_throw_error(env, "ENOMEM", "no memory");
    return NULL;
  }
  asked.hold->busy = true;
  changing->hold = asked.hold;
  changing->verb = verb;
  changing->timeout_ms = integer(env, asked.more);
  changing->job = (struct job){ .work = change, .end = changed };
  return job_start(asked.addon, &changing->job, 0);
}

/* upgrade(hold, timeout), yield(hold, timeout) -> promise */
CALL(hold_upgrade) { return start(env, info, colock_upgrade); }
CALL(hold_yield) { return start(env, info, colock_yield); }
