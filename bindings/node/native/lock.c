/* lock.c - open and close locks, and hand suspend over to JavaScript.
 *
 * suspend comes in a thread of the library's own, for locks with auto_release alone: the JS thread never gives such a
 * lock up itself, so that thread may wait for it. Hence what may wait for suspend (close, release_idle) is a job.
 *
 * A worker can be ended in the middle of anything. Its locks always have a suspend, which then fails, so that the next
 * holder is told that a writer was abandoned, as after a kill.
 */
#include "addon.h"

#include <stdlib.h>

/* ---- suspend ---- */

static void ask(struct addon *addon, struct message *message) {
  struct lock *lock = (struct lock *)((char *)message - offsetof(struct lock, suspend));
  keep(addon, 1);
  tell(addon, TELL_SUSPEND, (double)lock->id, NULL);
}

static void ask_nobody(struct addon *addon, struct message *message) {
  (void)addon, (void)message; /* suspends_end has answered */
}

static int suspend(void *argument) {
  struct lock *lock = argument;
  struct addon *addon = lock->addon;
  if (!lock->suspends)
    return lock->torn; /* written before this lock was given up */
  if (pthread_equal(pthread_self(), addon->thread))
    return 1; /* cannot be, but for the end of a worker: rather abandoned than waiting for ourselves */
  pthread_mutex_lock(&addon->mutex);
  lock->state = ASKED;
  pthread_mutex_unlock(&addon->mutex);
  if (!post(addon, &lock->suspend))
    return 1;
  pthread_mutex_lock(&addon->mutex);
  while (lock->state == ASKED && !addon->closed)
    pthread_cond_wait(&addon->changed, &addon->mutex);
  bool well = lock->state == SUSPENDED;
  lock->state = QUIET;
  pthread_mutex_unlock(&addon->mutex);
  return !well;
}

void suspends_end(struct addon *addon) {
  for (uint32_t i = 0; i < addon->locks.size; i++) {
    struct lock *lock = addon->locks.rows[i].item;
    if (lock && lock->state == ASKED)
      lock->state = FAILED;
  }
}

/* suspended(lock, well) */
CALL(lock_suspended) {
  napi_value arguments[2];
  size_t count = 2;
  struct addon *addon = addon_of(env, info, &count, arguments);
  struct lock *lock = table_get(&addon->locks, integer(env, arguments[0]));
  keep(addon, -1);
  if (!lock)
    return NULL;
  pthread_mutex_lock(&addon->mutex);
  if (lock->state == ASKED)
    lock->state = truth(env, arguments[1]) ? SUSPENDED : FAILED;
  pthread_cond_broadcast(&addon->changed);
  pthread_mutex_unlock(&addon->mutex);
  return NULL;
}

/* ---- open ---- */

struct opening {
  struct job job;
  struct lock *lock;
  colock_config *config;
  char *path;
  bool target;
};

static int open_it(struct job *job) {
  struct opening *opening = (struct opening *)job;
  struct lock *lock = opening->lock;
  int code = (opening->target ? colock_open_for : colock_open)(&lock->colock, opening->path, opening->config);
  if (code == 0 && (lock->suspends || job->addon->worker))
    code = colock_set_suspend(lock->colock, suspend, lock);
  return code;
}

static napi_value opened(struct addon *addon, struct job *job) {
  struct opening *opening = (struct opening *)job;
  struct lock *lock = opening->lock;
  if (job->code)
    return NULL;
  lock->id = table_add(&addon->locks, lock);
  if (lock->id < 0) {
    job->code = COLOCK_ENOMEM;
    return NULL;
  }
  opening->lock = NULL;
  return number(addon->env, (double)lock->id);
}

static void open_end(struct job *job) {
  struct opening *opening = (struct opening *)job;
  if (opening->lock)
    colock_close(opening->lock->colock);
  free(opening->lock);
  colock_config_free(opening->config);
  free(opening->path);
}

/* Here and not in the job's thread: the environment is read, which JavaScript may be about to change. */
static int configure(napi_env env, struct opening *opening, napi_value settings) {
  uint32_t count = 0;
  int code = colock_config_new(&opening->config);
  if (code == 0)
    code = colock_config_load(opening->config, NULL);
  if (code == 0)
    code = colock_config_env(opening->config);
  napi_get_array_length(env, settings, &count);
  for (uint32_t i = 0; code == 0 && i + 1 < count; i += 2) {
    napi_value key, value;
    napi_get_element(env, settings, i, &key);
    napi_get_element(env, settings, i + 1, &value);
    char *name = text_of(env, key), *is = text_of(env, value);
    code = name && is ? colock_config_set(opening->config, name, is) : COLOCK_ENOMEM;
    free(name);
    free(is);
  }
  return code;
}

/* open(path, of a target, [key, value...], has a suspend) -> promise of [code, id] */
CALL(lock_open) {
  napi_value arguments[4];
  size_t count = 4;
  struct addon *addon = addon_of(env, info, &count, arguments);
  struct opening *opening = calloc(1, sizeof *opening);
  struct lock *lock = calloc(1, sizeof *lock);
  char *path = text_of(env, arguments[0]);
  if (!opening || !lock || !path) {
    free(opening);
    free(lock);
    free(path);
    napi_throw_error(env, "ENOMEM", "no memory");
    return NULL;
  }
  lock->addon = addon;
  lock->suspends = truth(env, arguments[3]);
  lock->suspend = (struct message){ .run = ask, .drop = ask_nobody };
  opening->lock = lock;
  opening->path = path;
  opening->target = truth(env, arguments[1]);
  opening->job = (struct job){ .work = open_it, .value = opened, .end = open_end };
  return job_start(addon, &opening->job, configure(env, opening, arguments[2]));
}

/* ---- close, cancel, let go ---- */

struct closing {
  struct job job;
  struct lock *lock;
  int64_t id;
};

static int close_it(struct job *job) {
  colock_close(((struct closing *)job)->lock->colock);
  return 0;
}

static int let_go(struct job *job) { return colock_release_idle(((struct closing *)job)->lock->colock); }

static void closed(struct job *job) {
  struct closing *closing = (struct closing *)job;
  table_remove(&job->addon->locks, closing->id);
  free(closing->lock);
}

static napi_value start(napi_env env, napi_callback_info info, bool close) {
  napi_value argument;
  size_t count = 1;
  struct addon *addon = addon_of(env, info, &count, &argument);
  struct closing *closing = calloc(1, sizeof *closing);
  if (!closing) {
    napi_throw_error(env, "ENOMEM", "no memory");
    return NULL;
  }
  closing->id = integer(env, argument);
  closing->lock = table_get(&addon->locks, closing->id);
  closing->lock->closing = close;
  closing->job = (struct job){ .work = close ? close_it : let_go, .end = close ? closed : NULL };
  return job_start(addon, &closing->job, 0);
}

/* uses(lock): how many holds and waits there are */
CALL(lock_uses) {
  napi_value argument;
  size_t count = 1;
  struct addon *addon = addon_of(env, info, &count, &argument);
  struct lock *lock = table_get(&addon->locks, integer(env, argument));
  return number(env, lock ? (double)lock->uses : 0);
}

/* close(lock), which nobody uses -> promise. The lock stays in the table till then: a suspend may still ask. */
CALL(lock_close) { return start(env, info, true); }

/* releaseIdle(lock) -> promise; index.js closes no lock before */
CALL(lock_release_idle) { return start(env, info, false); }

/* cancel(lock, on) */
CALL(lock_cancel) {
  napi_value arguments[2];
  size_t count = 2;
  struct addon *addon = addon_of(env, info, &count, arguments);
  struct lock *lock = table_get(&addon->locks, integer(env, arguments[0]));
  colock_cancel(lock->colock, truth(env, arguments[1]));
  return NULL;
}

/* ---- the end of a worker ---- */

void locks_cancel(struct addon *addon) {
  for (uint32_t i = 0; i < addon->locks.size; i++) {
    struct lock *lock = addon->locks.rows[i].item;
    if (lock && !lock->closing)
      colock_cancel(lock->colock, 1);
  }
}

void locks_end(struct addon *addon) {
  int64_t id;
  for (struct hold *hold; (hold = table_any(&addon->holds, &id));) {
    hold->lock->torn = true;
    hold_free(addon, id, hold);
  }
  for (struct lock *lock; (lock = table_any(&addon->locks, &id));) {
    table_remove(&addon->locks, id);
    colock_close(lock->colock);
    free(lock);
  }
}
