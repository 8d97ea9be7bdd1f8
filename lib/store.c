/* store.c - an embedded database behind a lock.
 *
 * A database remembers what it has read. That is right until somebody else writes; from then on it must not be used,
 * and never be written. So a store knows up to which writer its memory is right (struct mark), refreshes first where a
 * hold says otherwise, and suspends before LANE leaves this process.
 *
 * The gate lets the operations of readers run together, and everything else alone. LANE does not do that by itself: one
 * of several readers finds that it has to refresh; a suspend may be under way when a reader gets a new hold; who was
 * forced out runs on, beside the holders of the next generation. Order: LANE, then the gate; nobody waits for LANE
 * within it. In a forked child it may stay locked for ever, so nobody takes it there. */
#define _GNU_SOURCE
#include "colock.h"
#include "error.h"
#include "lock.h"
#include "system.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A writer: its token, and the generation in which it was the newest. A forced unlock after which nobody wrote counts
 * as one: what the database had in memory alone was given up with the lock. */
struct mark {
  uint32_t generation;
  uint64_t token;
};

enum state {
  STALE,     /* not to be used, and not to be written */
  SUSPENDED, /* not to be used, and nothing is left to write */
  FRESH      /* right up to the writer `seen` */
};

struct colock_store {
  colock *lock;                /* constant after open, as: */
  struct colock_store_ops ops;
  void *context;
  uint32_t forks;              /* colockp_fork_count */
  pthread_rwlock_t gate;
  enum state state;            /* under the gate, as: */
  struct mark seen;
};

/* The stores whose operation or callback this thread is in. */
struct inside {
  const colock_store *store;
  struct inside *outer;
};
static COLOCKP_FAST_LOCAL struct inside *innermost;

/* One call of the public functions below. */
struct task {
  int mode;
  int (*operation)(void *context, void *arg);
  void *arg;
  int value;          /* of the operation, or of the callback that failed: */
  const char *failed;
};

enum { AGAIN = -1 }; /* nothing has happened: another hold is needed, of the task's mode */

static int fail(const colock_store *store, int code, const char *text) {
  return colockp_fail(code, 0, "%s: %s", store->lock->escaped, text);
}

static bool forked(const colock_store *store) { return store->forks != colockp_fork_count(); }

static inline bool is_inside(const colock_store *store) {
  for (const struct inside *place = innermost; place; place = place->outer)
    if (place->store == store)
      return true;
  return false;
}

static inline int usable(const colock_store *store) {
  if (!store)
    return colockp_fail(COLOCK_EINVAL, 0, "the store must not be NULL");
  if (forked(store))
    return fail(store, COLOCK_EFORKED, "the store belongs to the parent process; open one in this process");
  if (is_inside(store))
    return fail(store, COLOCK_EDEADLK, "called from an operation or a callback of the same store, for whose end it "
                                       "would wait");
  return 0;
}

/* ESTORE: it failed. EFORKED: it forked, and this is the child. */
static int call(colock_store *store, struct task *task, int (*callback)(void *context), const char *name) {
  struct inside here = { store, innermost };
  innermost = &here;
  int value = callback(store->context);
  innermost = here.outer;
  if (forked(store))
    return COLOCK_EFORKED;
  if (value == 0)
    return 0;
  task->value = value;
  task->failed = name;
  return COLOCK_ESTORE;
}

/* 0, whatever it returned. EFORKED: as above. */
static inline int operate(colock_store *store, struct task *task) {
  struct inside here = { store, innermost };
  innermost = &here;
  task->value = task->operation(store->context, task->arg);
  innermost = here.outer;
  return forked(store) ? COLOCK_EFORKED : 0;
}

/* With `enabled: false` nobody else writes, and tokens are those of all locks. */
static struct mark before(const colock_hold *hold) {
  struct mark mark = { hold->activity.generation, hold->region ? hold->last_token : 0 };
  return mark;
}

static struct mark after(const colock_hold *hold) {
  struct mark mark = { hold->activity.generation, hold->region ? hold->activity.token : 0 };
  return mark;
}

static bool is_fresh(const colock_store *store, const colock_hold *hold) {
  struct mark now = before(hold);
  return store->state == FRESH && store->seen.token == now.token && store->seen.generation == now.generation;
}

/* Alone. EREVOKED, ELOST: by a hold that is over by now, memory must not be judged: it may be right for a newer one. */
static int judge(colock_store *store, colock_hold *hold) {
  if (is_fresh(store, hold))
    return 0;
  int code = colock_check(hold);
  if (code == 0 && store->state == FRESH)
    store->state = STALE;
  return code;
}

/* Alone. As judge, and ESTORE. */
static int freshen(colock_store *store, colock_hold *hold, struct task *task) {
  int code = judge(store, hold);
  if (code || is_fresh(store, hold))
    return code;
  if (store->ops.refresh)
    code = call(store, task, store->ops.refresh, "refresh");
  if (code == 0) {
    store->state = FRESH;
    store->seen = before(hold);
  }
  return code;
}

/* Alone, exclusive. */
static int recover(colock_store *store, colock_hold *hold, struct task *task) {
  if (!store->ops.recover || !colock_abandoned(hold))
    return 0;
  int code = call(store, task, store->ops.recover, "recover");
  if (code == 0)
    code = colock_recovered(hold);
  if (code && code != COLOCK_EFORKED)
    store->state = STALE;
  return code;
}

/* To recover is for one alone. The hold goes, perhaps with a suspend, which has to know what memory is worth. */
static int ask_for_more(colock_store *store, colock_hold *hold, struct task *task) {
  pthread_rwlock_wrlock(&store->gate);
  judge(store, hold);
  pthread_rwlock_unlock(&store->gate);
  task->mode = COLOCK_EXCLUSIVE;
  return AGAIN;
}

static int read_with(colock_store *store, colock_hold *hold, struct task *task) {
  if (store->ops.recover && colock_abandoned(hold))
    return ask_for_more(store, hold, task);
  pthread_rwlock_rdlock(&store->gate);
  while (!is_fresh(store, hold)) { /* again and again: outside of the gate a suspend may come in between */
    pthread_rwlock_unlock(&store->gate);
    pthread_rwlock_wrlock(&store->gate);
    int code = freshen(store, hold, task);
    pthread_rwlock_unlock(&store->gate);
    if (code)
      return code;
    pthread_rwlock_rdlock(&store->gate);
  }
  int code = operate(store, task);
  pthread_rwlock_unlock(&store->gate);
  return code;
}

static int write_with(colock_store *store, colock_hold *hold, struct task *task) {
  pthread_rwlock_wrlock(&store->gate);
  int code = freshen(store, hold, task);
  if (code == 0)
    code = recover(store, hold, task);
  if (code == 0)
    code = operate(store, task);
  if (code == 0)
    store->seen = after(hold);
  pthread_rwlock_unlock(&store->gate);
  return code;
}

static bool is_broken(int code) { return code == COLOCK_EREVOKED || code == COLOCK_ELOST; }

/* What the caller gets, with the hold released. Any other failure of the release let the lock go all the same. */
static int finish(const colock_store *store, const struct task *task, int code, int released, int *result) {
  if (released == COLOCK_EFORKED)
    return released;
  if (code == 0 && is_broken(released))
    code = released;
  if (result && (code == COLOCK_ESTORE || (task->operation && (code == 0 || is_broken(code)))))
    *result = task->value;
  if (code == COLOCK_ESTORE) {
    char text[100];
    snprintf(text, sizeof text, "the %s of the store failed: it returned %d", task->failed, task->value);
    fail(store, code, text);
  }
  return code;
}

static int perform(colock_store *store, struct task *task, int *result) {
  int code = usable(store);
  if (code)
    return code;
  if (!task->operation)
    return fail(store, COLOCK_EINVAL, "the operation must not be NULL");
  for (;;) {
    colock_hold *hold;
    code = colock_acquire(store->lock, task->mode, &hold);
    if (code)
      return code;
    /* By what was got: who has written keeps the lock exclusive until a suspend, for its own readers too. */
    bool shared = hold->activity.mode == COLOCK_SHARED;
    code = shared ? read_with(store, hold, task) : write_with(store, hold, task);
    int released = colock_release(hold);
    if (code != AGAIN && !is_broken(code)) /* broken before the operation, which needs another hold */
      return finish(store, task, code, released, result);
  }
}

int colock_store_read(colock_store *store, int (*operation)(void *context, void *arg), void *arg, int *result) {
  struct task task = { .mode = COLOCK_SHARED, .operation = operation, .arg = arg };
  return perform(store, &task, result);
}

int colock_store_write(colock_store *store, int (*operation)(void *context, void *arg), void *arg, int *result) {
  struct task task = { .mode = COLOCK_EXCLUSIVE, .operation = operation, .arg = arg };
  return perform(store, &task, result);
}

/* colock_set_suspend's hook. What is stale is not written; what is suspended needs no second time. */
static int suspend(void *arg) {
  colock_store *store = arg;
  struct task task = { .value = 0 };
  if (forked(store) || is_inside(store))
    return 0;
  pthread_rwlock_wrlock(&store->gate);
  if (store->state == FRESH) {
    store->state = STALE;
    if (call(store, &task, store->ops.suspend, "suspend") == 0)
      store->state = SUSPENDED;
  }
  pthread_rwlock_unlock(&store->gate);
  return task.value;
}

#define MOMENT_NS 1000000
#define MOMENTS   1000

/* What is kept goes too, and the hook. While the library's thread is at it, it may still be about to call the hook, for
 * a hold that was forced out: wait for it, and say whether the store may be freed now. */
static bool let_go(const colock_store *store) {
  const struct timespec moment = { .tv_nsec = MOMENT_NS };
  colock *lock = store->lock;
  colock_release_idle(lock);
  for (int turn = 0; turn < MOMENTS; turn++) {
    uint32_t nobody = 0;
    pthread_mutex_lock(&lock->member.mutex);
    bool idle = !lock->used || forked(store); /* in a child the holds of the parent's threads stay for ever */
    if (idle) {
      lock->suspend = NULL;
      lock->suspend_arg = NULL;
    }
    pthread_mutex_unlock(&lock->member.mutex);
    if (idle)
      return true;
    colockp_system.futex_wait(&nobody, 0, &moment);
  }
  return false;
}

static void free_store(colock_store *store) {
  if (!forked(store))
    pthread_rwlock_destroy(&store->gate);
  colockp_system.free(store);
}

/* Without a suspend of the database's there is no hook, which would keep readers alone after a write; but its argument
 * says that the lock is taken. */
static int new_store(colock_store **out, colock *lock, const colock_store_ops *ops, void *context) {
  pthread_mutex_lock(&lock->member.mutex);
  bool taken = lock->suspend || lock->suspend_arg;
  pthread_mutex_unlock(&lock->member.mutex);
  if (taken)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_store_open: the lock has a store, or a suspend, already");
  colock_store *store = colockp_system.malloc(sizeof *store);
  if (!store)
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  memset(store, 0, sizeof *store);
  store->lock = lock;
  store->ops = *ops;
  store->context = context;
  store->forks = colockp_fork_count();
  pthread_rwlock_init(&store->gate, NULL);
  colock_release_idle(lock);
  int code = colock_set_suspend(lock, ops->suspend ? suspend : NULL, store);
  if (code)
    free_store(store);
  else
    *out = store;
  return code;
}

static int open_with(colock_store *store, colock_hold *hold, struct task *task) {
  pthread_rwlock_wrlock(&store->gate);
  int code = call(store, task, store->ops.open, "open");
  if (code == 0) {
    code = recover(store, hold, task);
    if (code == 0 && store->ops.migrate)
      code = call(store, task, store->ops.migrate, "migrate");
    if (code == 0)
      code = colock_check(hold);
    if (code == 0) {
      store->state = FRESH;
      store->seen = after(hold);
    } else if (code != COLOCK_EFORKED) {
      struct task ignored = { .value = 0 };
      call(store, &ignored, store->ops.close, "close");
    }
  }
  pthread_rwlock_unlock(&store->gate);
  return code;
}

int colock_store_open(colock_store **store, colock *lock, const colock_store_ops *ops, void *context, int *result) {
  if (!store || !lock || !ops || ops->size < sizeof *ops || !ops->open || !ops->close)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_store_open: store, lock, ops, open and close must not be NULL, and "
                                          "ops needs its size");
  struct task task = { .value = 0 };
  colock_store *made = NULL;
  colock_hold *hold;
  colockp_fork_count();
  int code = new_store(&made, lock, ops, context);
  if (code)
    return code;
  int released = 0, acquired = colock_acquire(lock, COLOCK_EXCLUSIVE, &hold);
  code = acquired ? acquired : open_with(made, hold, &task);
  if (acquired == 0)
    released = colock_release(hold);
  if (is_broken(released))
    released = 0; /* it was whole when the last callback had returned: forced out right after is as well as later */
  if (acquired == 0)
    code = finish(made, &task, code, released, result);
  if (code == 0) {
    *store = made;
    return 0;
  }
  if (let_go(made))
    free_store(made);
  return code;
}

/* A database that is stale would write what it must not, so it is refreshed once more; one that is suspended has
 * nothing to write. */
static int close_with(colock_store *store, colock_hold *hold, struct task *task) {
  struct task closing = { .value = 0 };
  pthread_rwlock_wrlock(&store->gate);
  int code = store->state == SUSPENDED ? 0 : freshen(store, hold, task);
  if (code == 0 || code == COLOCK_ESTORE) {
    int closed = call(store, &closing, store->ops.close, "close");
    store->state = STALE;
    if (code == 0 && closed) {
      code = closed;
      *task = closing;
    }
  }
  pthread_rwlock_unlock(&store->gate);
  return code;
}

int colock_store_close(colock_store *store, int *result) {
  struct task task = { .value = 0 };
  int code = usable(store), released;
  if (code == COLOCK_EFORKED && let_go(store))
    free_store(store);
  if (code)
    return code;
  do {
    colock_hold *hold;
    code = colock_acquire(store->lock, COLOCK_EXCLUSIVE, &hold);
    if (code)
      return code;
    code = close_with(store, hold, &task);
    released = colock_release(hold);
  } while (is_broken(code));
  bool gone = let_go(store);
  code = finish(store, &task, code, released, result);
  if (gone) /* else somebody uses the lock beside the store: better lost than used after it was freed */
    free_store(store);
  return code;
}
