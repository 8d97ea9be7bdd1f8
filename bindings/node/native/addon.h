/* addon.h - the Node.js addon: what its files share.
 *
 * An environment (the main thread of Node.js, or a worker) has one `struct addon` and one thread that runs
 * JavaScript, here called the JS thread. Everything belongs to it alone, but for what is marked *any thread*. Four
 * kinds of other threads exist: the pump (pump.c), jobs (job.c), the library's helper that calls suspend (lock.c), and
 * whoever makes the library log (module.c). All of them reach JavaScript by messages (post.c), and by nothing else.
 *
 * JavaScript knows locks, holds and waits by numbers (table.c), so that a hold costs no object of Node-API. Functions
 * answer with a number that is at least FIRST_ID for something that has been made, and with a code of colock.h made
 * negative for what failed. index.js checks all arguments; here their types are taken for granted.
 */
#ifndef ADDON_H
#define ADDON_H

#define NAPI_VERSION 8
#include <colock.h>
#include <node_api.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addon;

/* Something that the JS thread is to do. Its sender owns it until post() has returned true. */
struct message {
  struct message *next;
  void (*run)(struct addon *addon, struct message *message);  /* in the JS thread */
  void (*drop)(struct addon *addon, struct message *message); /* instead of run: the environment is at its end */
};

struct table {
  struct row {
    void *item; /* NULL: free */
    uint32_t generation, next_free;
  } *rows;
  uint32_t used, size, first_free;
};
#define FIRST_ID (INT64_C(1) << 20)

struct lock {
  struct addon *addon;
  colock *colock;
  size_t uses;   /* holds and waits */
  bool suspends; /* JavaScript has a handler. Constant */
  bool torn;     /* a hold in use was taken from a worker at its end */
  bool closing;  /* a job closes it */
  /* any thread, under addon->mutex */
  struct message suspend;
  enum { QUIET, ASKED, SUSPENDED, FAILED } state;
  int64_t id;
};

struct hold {
  struct lock *lock;
  colock_hold *colock;
  int64_t looked_ns; /* when whole() looked at the file */
  int event_fd; /* in the pump; -1: not */
  bool busy;    /* an upgrade or a yield is under way in another thread */
};

struct wait {
  struct lock *lock;
  colock_wait *colock;
  bool stepping, left; /* left while stepping: by the callback that the step called */
};

/* A call that may block, in a thread of its own. */
struct job {
  struct message message;
  struct addon *addon;
  int (*work)(struct job *job);                                     /* in its thread; returns a code */
  napi_value (*value)(struct addon *addon, struct job *job);        /* or NULL. JS thread; also after a failure */
  void (*end)(struct job *job);                                     /* or NULL. JS thread; frees what the job has */
  napi_deferred deferred;
  int code, error;
  char *text; /* of the failure */
};

/* What the pump has found. READY_WAIT, READY_HOLD: of the low bit of an event. */
enum { READY_WAIT = 0, READY_HOLD = 1 };
/* The first argument of index.js's dispatch(). */
enum { TELL_WAIT = 0, TELL_HOLD = 1, TELL_SUSPEND = 2, TELL_LOG = 3 };

struct addon {
  napi_env env;
  napi_ref dispatch;
  bool worker;
  pthread_t thread;  /* the JS thread. Constant */
  struct table locks, holds, waits;
  size_t pending; /* what keeps the process alive: waits, jobs, suspends */
  napi_value notice; /* the callback of the wait that is being stepped; NULL: none */
  int epoll, stop;   /* -1: no pump yet. Constant while there is a pump */
  pthread_t pump;
  size_t watched;    /* descriptors in the pump */
  /* any thread, under mutex */
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* state of a suspend, jobs, closed */
  napi_threadsafe_function wake;
  struct message *first, **last;
  uint64_t *ready; /* id << 1 | READY_...: found by the pump and not yet told */
  size_t ready_used, ready_size;
  size_t jobs;
  bool called; /* wake is under way */
  bool closed; /* no message is taken any more */
};

/* ---- table.c ---- */
int64_t table_add(struct table *table, void *item); /* its id; -COLOCK_ENOMEM */
void *table_get(const struct table *table, int64_t id); /* NULL: not there, or no longer */
void table_remove(struct table *table, int64_t id);
void *table_any(const struct table *table, int64_t *id); /* NULL: empty */
void table_free(struct table *table);

/* ---- post.c ---- */
/* Any thread. false: the environment is at its end, and the message is still the sender's. */
bool post(struct addon *addon, struct message *message);
/* Any thread. Never refused: at the end it lies there for post_drain. */
void post_always(struct addon *addon, struct message *message);
/* Any thread. There is room for it: pump_add has seen to that. */
void post_ready(struct addon *addon, uint64_t event);
void post_begin(struct addon *addon);
void post_end(struct addon *addon);   /* no message is taken any more, and none told; suspends fail */
void post_drain(struct addon *addon); /* what was on its way is dropped */
/* dispatch(kind, id, detail) in JavaScript. detail may be NULL. */
void tell(struct addon *addon, int kind, double id, napi_value detail);
/* As long as something is pending, the process stays. */
void keep(struct addon *addon, int more);

/* ---- pump.c ---- */
/* Tell once when fd is readable. 0 or a code. */
int pump_add(struct addon *addon, int fd, int64_t id, int kind);
void pump_again(struct addon *addon, int fd, int64_t id, int kind);
void pump_remove(struct addon *addon, int fd);
void pump_end(struct addon *addon);

/* ---- job.c ---- */
/* Run it; the promise becomes [code, value or message, errno]. Takes the job over. code: it has failed already. */
napi_value job_start(struct addon *addon, struct job *job, int code);
void jobs_end(struct addon *addon); /* wait for all */

/* ---- lock.c, hold.c, wait.c, report.c ---- */
void locks_end(struct addon *addon); /* the environment's holds and locks are given up */
void locks_cancel(struct addon *addon);
void suspends_end(struct addon *addon); /* mutex is held */
int64_t hold_new(struct lock *lock, colock_hold *granted); /* its id; a failure has released it */
int hold_free(struct addon *addon, int64_t id, struct hold *hold); /* what colock_release returns */
void waits_end(struct addon *addon);
napi_value report_entries(struct addon *addon, const colock_report *report);

/* ---- module.c ---- */
struct addon *addon_of(napi_env env, napi_callback_info info, size_t *count, napi_value *arguments);
int64_t integer(napi_env env, napi_value value);
bool truth(napi_env env, napi_value value);
bool is_absent(napi_env env, napi_value value); /* undefined or null */
char *text_of(napi_env env, napi_value value);  /* a string or a Buffer; malloc; NULL: no memory */
napi_value number(napi_env env, double value);
napi_value text(napi_env env, const char *bytes);
void set(napi_env env, napi_value object, const char *name, napi_value value);

#define CALL(name) napi_value name(napi_env env, napi_callback_info info)
CALL(lock_open);
CALL(lock_close);
CALL(lock_cancel);
CALL(lock_release_idle);
CALL(lock_uses);
CALL(lock_suspended);
CALL(wait_acquire);
CALL(wait_step);
CALL(wait_leave);
CALL(hold_release);
CALL(hold_token);
CALL(hold_last_token);
CALL(hold_state);
CALL(hold_name);
CALL(hold_check);
CALL(hold_renew);
CALL(hold_touch);
CALL(hold_whole);
CALL(hold_recovered);
CALL(hold_downgrade);
CALL(hold_upgrade);
CALL(hold_yield);
CALL(hold_watch);
CALL(report_read);
CALL(report_look);
CALL(report_force);

#endif
