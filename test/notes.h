/* notes.h - a database that only notes what is called, one letter each: O open, M migrate, F refresh, S suspend,
 * C close, V recover, r and w the operations. Callbacks have to run alone, and so has w. */
#ifndef COLOCK_TEST_NOTES_H
#define COLOCK_TEST_NOTES_H

#include "agent.h"
#include "support.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

struct notes {
  pthread_mutex_t mutex;
  char events[256];     /* under the mutex */
  size_t used;          /* the same */
  char failing;         /* this callback fails, with 7 */
  char acting;          /* this one calls act */
  void (*act)(struct notes *notes);
  void *act_arg;
  int acted;
  _Atomic int running;  /* operations and callbacks that run now */
};

static inline void note(struct notes *notes, char event) {
  pthread_mutex_lock(&notes->mutex);
  ck_assert_uint_lt(notes->used, sizeof notes->events - 1);
  notes->events[notes->used++] = event;
  notes->events[notes->used] = '\0';
  pthread_mutex_unlock(&notes->mutex);
}

static inline bool noted(struct notes *notes, const char *events) {
  pthread_mutex_lock(&notes->mutex);
  bool same = strcmp(notes->events, events) == 0;
  pthread_mutex_unlock(&notes->mutex);
  return same;
}

/* These events since the last look, no others. */
#define expect(notes, wanted) \
  do { \
    pthread_mutex_lock(&(notes)->mutex); \
    ck_assert_str_eq((notes)->events, wanted); \
    (notes)->used = 0; \
    (notes)->events[0] = '\0'; \
    pthread_mutex_unlock(&(notes)->mutex); \
  } while (0)

static inline void await(struct notes *notes, const char *events) {
  int64_t limit = test_now_ms() + 20000;
  while (!noted(notes, events)) {
    ck_assert_msg(test_now_ms() < limit, "\"%s\" instead of \"%s\"", notes->events, events);
    sched_yield();
  }
  expect(notes, events);
}

/* Every callback runs alone. */
static inline int called(struct notes *notes, char event) {
  ck_assert_int_eq(atomic_fetch_add(&notes->running, 1), 0);
  note(notes, event);
  if (notes->acting == event) notes->act(notes);
  ck_assert_int_eq(atomic_fetch_sub(&notes->running, 1), 1);
  return notes->failing == event ? 7 : 0;
}

static inline int on_open(void *context) { return called(context, 'O'); }
static inline int on_migrate(void *context) { return called(context, 'M'); }
static inline int on_refresh(void *context) { return called(context, 'F'); }
static inline int on_suspend(void *context) { return called(context, 'S'); }
static inline int on_close(void *context) { return called(context, 'C'); }
static inline int on_recover(void *context) { return called(context, 'V'); }

static const colock_store_ops all = {.size = sizeof all, .open = on_open, .migrate = on_migrate, .refresh = on_refresh,
                                     .suspend = on_suspend, .close = on_close, .recover = on_recover};
static const colock_store_ops unsuspended = {.size = sizeof all, .open = on_open, .migrate = on_migrate,
                                             .refresh = on_refresh, .close = on_close, .recover = on_recover};
static const colock_store_ops least = {.size = sizeof all, .open = on_open, .close = on_close};

static inline int op_read(void *context, void *arg) {
  struct notes *notes = context;
  atomic_fetch_add(&notes->running, 1);
  note(notes, 'r');
  if (notes->acting == 'r') notes->act(notes);
  atomic_fetch_sub(&notes->running, 1);
  return arg ? *(int *)arg : 0;
}

static inline int op_write(void *context, void *arg) {
  struct notes *notes = context;
  ck_assert_int_eq(atomic_fetch_add(&notes->running, 1), 0);
  note(notes, 'w');
  if (notes->acting == 'w') notes->act(notes);
  ck_assert_int_eq(atomic_fetch_sub(&notes->running, 1), 1);
  return arg ? *(int *)arg : 0;
}

#define NOTES {.mutex = PTHREAD_MUTEX_INITIALIZER}

/* That store of that lock; what is called meanwhile. */
static inline colock_store *begin_store(colock *lock, const colock_store_ops *ops, struct notes *notes,
                                        const char *events) {
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, ops, notes, NULL));
  expect(notes, events);
  return store;
}

static inline void end_store(colock_store *store, colock *lock) {
  must(colock_store_close(store, NULL));
  colock_close(lock);
}

/* From within one of its callbacks, where it would wait for itself. */
static inline void refuses_every_call(colock_store *store) {
  must_be(COLOCK_EDEADLK, colock_store_read(store, op_read, NULL, NULL));
  must_be(COLOCK_EDEADLK, colock_store_write(store, op_write, NULL, NULL));
  must_be(COLOCK_EDEADLK, colock_store_close(store, NULL));
}

/* A lock that is kept until it idles for so long. */
static inline colock *open_kept(const char *path, const char *idle) {
  colock *lock = NULL;
  colock_config *config = test_config("timeout", "10s", "auto_release", "true", "idle_timeout", idle, NULL);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  return lock;
}

/* Another process writes: for a store no more than that somebody had the lock exclusively. */
static inline void write_elsewhere(struct agent *agent) {
  ck_assert_int_eq(agent_call(agent, "acquire x 10000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(agent, "release 0"), COLOCK_OK);
}

/* A writer is killed in the middle. */
static inline void die_elsewhere(const char *path) {
  struct agent *agent = agent_open(path);
  ck_assert_int_eq(agent_call(agent, "acquire x 10000"), COLOCK_OK);
  agent_kill(agent);
}

#endif
