/* colock.h - reader-writer locks between processes, threads and containers, kept in one lock file.
 *
 * Many readers (shared) or one writer (exclusive). The lock is made of fcntl record locks on one small file; the
 * content of that file says who holds it and who waits. Link with -lcolock (pkg-config colock). C11, usable from C++.
 *
 * Before you use it:
 * - Locks are cooperative: they bind those who ask for them, and nobody else.
 * - Linux only, on file systems with open file description locks (F_OFD_SETLK).
 * - The kernel's record lock alone decides who holds. What reports say (who, since when, how many) is advice: it may
 *   be old or incomplete, and no program may conclude from it that it has the lock.
 * - A dead holder's lock is free at once: no timeout, no pid check. A live one is never robbed because it is old,
 *   unless a waiter was configured with `stale_action: break`.
 * - A forced unlock stops nobody. The old holder runs on; it can learn of it (colock_check, colock_release:
 *   COLOCK_EREVOKED), and storage that compares fencing tokens can refuse what it still writes.
 * - A hold belongs to the process, not to the thread that got it. Threads exclude each other as processes do.
 * - A thread that has a blocking hold on a file and asks to block for the same file again gets COLOCK_EDEADLK
 *   (colock_detach).
 * - After fork the child has none of its parent's holds (COLOCK_EFORKED); the colock itself works on in the child.
 *   Holds passed on with colock_inherit are for children that exec. Between vfork and exec call nothing of this. A
 *   child that a callback of yours forks is to exec or _exit.
 * - Nothing but colock_cancel may be called from a signal handler. The library installs no handler, uses no signal
 *   and no alarm; a signal that is handled meanwhile does not end a wait unless COLOCK_INTERRUPTIBLE is given.
 * - Waiting may start one thread of the library's own, with all signals blocked: it learns of holders that are killed.
 *   So may colock_hold_fd and `auto_release`, one a lock, and colock_wait_start, one for each wait.
 * - Nothing is printed, no global state of the process changes; messages go to the hook of colock_set_log alone.
 * - Whatever fails leaves its output parameters untouched.
 *
 * Which calls may run at once in several threads:
 *
 *                                   | same colock | same hold | same config | same report
 *   acquire, try, with, cancel,     | yes         |           |             |
 *     release_idle, wait_start      |             |           |             |
 *   set_suspend                     | no          |           |             |
 *   close (as the last call)        | no          |           |             |
 *   token, last_token, abandoned,   | yes         | yes (1)   |             |
 *     hold_id, contended            |             |           |             |
 *   check, renew, inherit, detach,  | yes         | no        |             |
 *     recovered, upgrade,           |             |           |             |
 *     downgrade, yield, hold_fd     |             |           |             |
 *   release (as the last call)      | yes         | no        |             |
 *   open, force_unlock, report_read | yes         | yes       | read (2)    | yes (a new one)
 *   config_get, config_source       |             |           | yes         |
 *   config_load, _env, _set, _free  |             |           | no          |
 *   report_count, entries, stat     |             |           |             | yes
 *   report_json, report_free        |             |           |             | no
 *   stats_read, stats_reset         | yes         | yes       | yes         | yes
 *   stats_number, _text, _bucket    | together for the same colock_stats; stats_json, stats_free: no
 *   wait_fd, wait_step, wait_free   | yes         | one thread at a time for the same colock_wait
 *   store_read, store_write         | yes         | and for the same colock_store; store_open, store_close: no
 *   strerror, last_*, version       | always: what last_* say belongs to the calling thread
 *
 * (1) beside one another, not beside a call of the rows below. (2) colock_open reads it and keeps nothing of it.
 * Callbacks (on_wait, the log hook, colock_with's operation, suspend, a store's) run with no lock of the library held
 * and may call it, but where they say otherwise.
 *
 * Times are milliseconds (int64_t) unless the name ends in _ns. Paths are bytes, not text; in messages what cannot be
 * printed is escaped. Text that is given to colock is copied; text that it returns belongs to colock.
 */
#ifndef COLOCK_H
#define COLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define COLOCK_API __attribute__((visibility("default")))
#else
#define COLOCK_API
#endif

typedef struct colock colock;               /* an opened lock file; shared by all threads */
typedef struct colock_hold colock_hold;     /* one granted lock */
typedef struct colock_config colock_config; /* settings for colock_open */
typedef struct colock_report colock_report; /* a snapshot of one lock: who holds, who waits */
typedef struct colock_entry colock_entry;   /* one holder or waiter; lives as long as its report */
typedef struct colock_stats colock_stats;   /* what was counted at one lock, up to one moment */
typedef struct colock_wait colock_wait;     /* a wait that does not block: for event loops */
typedef struct colock_store colock_store;   /* an embedded database behind a lock */

/* modes */
enum {
  COLOCK_SHARED = 1,   /* beside other shared holds */
  COLOCK_EXCLUSIVE = 2 /* beside none */
};
/* timeout_ms */
enum {
  COLOCK_NOWAIT = 0,      /* try once */
  COLOCK_FOREVER = -1,    /* wait until granted or cancelled */
  COLOCK_CONFIGURED = -2  /* the `timeout` that the lock was opened with */
};

/* What every function of type int returns unless it says otherwise. New codes may be added at the end. */
enum {
  COLOCK_OK = 0,
  COLOCK_EBUSY = 1,  /* tried once (COLOCK_NOWAIT), not free */
  COLOCK_ETIMEDOUT,  /* waited in vain; the message names who is in the way */
  COLOCK_EDEADLK,    /* this thread, or the `colock run` that we run under, has it: waiting would never end; or two
                      * shared holds want to be exclusive: neither would ever let the other */
  COLOCK_ECANCELED,  /* colock_cancel, or on_wait returned nonzero */
  COLOCK_EINTR,      /* a signal was handled while waiting, and COLOCK_INTERRUPTIBLE was given */
  COLOCK_EREVOKED,   /* the hold was forced out: somebody else may hold the lock */
  COLOCK_ELOST,      /* the lock file was deleted, renamed or replaced: others meet on another file */
  COLOCK_EFORKED,    /* a parent's hold, used in the child */
  COLOCK_EINVAL,     /* an argument that cannot be: unknown mode, NULL, empty path */
  COLOCK_EACCES,     /* no permission; also: exclusive, through a lock file that we may only read */
  COLOCK_ENOENT,     /* no such file, or no such directory */
  COLOCK_EFOREIGN,   /* other content, an empty data file, a directory, FIFO, symbolic link; left untouched */
  COLOCK_EVERSION,   /* made by a newer or differently laid out colock; left untouched */
  COLOCK_ECORRUPT,   /* damaged, and somebody is alive in it, so it cannot be repaired now; or in use through another
                      * device (an overlay and its upper directory), whose locks do not show here */
  COLOCK_ENOLOCKS,   /* this file system or mount cannot carry a lock file, or the system ran out of locks */
  COLOCK_ENOSPC,     /* disk or quota full */
  COLOCK_ECONFIG,    /* wrong configuration; the message has file:line:column */
  COLOCK_ESTORE,     /* a callback of the store's failed; what it returned is in *result */
  COLOCK_EMFILE,     /* no descriptor left */
  COLOCK_ENOMEM,     /* no memory left */
  COLOCK_ESYSTEM     /* anything else: colock_last_errno */
};

/* "FILE codes" below are those that finding, creating, checking and locking the file may give anywhere: COLOCK_EACCES,
 * COLOCK_ENOENT, COLOCK_EFOREIGN, COLOCK_EVERSION, COLOCK_ECORRUPT, COLOCK_ENOLOCKS, COLOCK_ENOSPC, COLOCK_EMFILE,
 * COLOCK_ENOMEM, COLOCK_ESYSTEM, with the meanings above. */

/* A few words for a code; never NULL, constant. Any thread. */
COLOCK_API const char *colock_strerror(int code);
/* This thread's last failure as one whole sentence with file, reason and what to do; "" if there was none. Valid
 * until the thread's next failure. A success does not clear it. */
COLOCK_API const char *colock_last_message(void);
/* The errno behind it; 0 if no system call failed. */
COLOCK_API int colock_last_errno(void);
/* 10203 is 1.2.3. */
COLOCK_API int colock_version(void);
/* Lines for a log: level 1 error, 2 warning, 3 info, 4 debug, as far as the lock's `verbosity` allows. A line is one
 * event, as pairs: event=granted file="my db.lock" mode=shared ...; UTF-8, no control characters, no newline, valid
 * until the hook returns. colock(3), LOG, lists the events. Of the same event, level and file there are 10 lines a
 * second at most; the next one then ends in suppressed=N. The hook is called in the thread in which it happened, the
 * library's own too; what it makes the library say itself is dropped. One hook a process; NULL: none, as at first. May
 * be set at any time; a line under way may still reach the old hook. */
COLOCK_API void colock_set_log(void (*log)(int level, const char *line, void *arg), void *arg);

/* ---- a lock ---- */

/* Open the lock file `path`; create it if it is absent, or empty and named *lock or *.lck. Takes no lock and waits
 * only for another process that creates the file, makes it larger or repairs it, for `timeout`, but for 0.2 s at least
 * and 5 s at most. config is read and not kept; NULL: defaults, then the first YAML file found, then the environment
 * (COLOCK_TIMEOUT and so on). With `enabled: false` no file is touched, here or later. A file that we may only read
 * gives a reader-only lock: shared holds, that reports cannot name, that may starve beside busy writers, and for which
 * nobody who keeps the lock (`auto_release`) lets go before `idle_timeout`; exclusive is COLOCK_EACCES.
 * Returns 0; COLOCK_EINVAL: NULL or empty; COLOCK_ETIMEDOUT: that other process did not come to an end, or the file is
 * being replaced again and again; COLOCK_ECONFIG: config is NULL and the configuration found is wrong; FILE codes.
 * *lock is the caller's: colock_close. */
COLOCK_API int colock_open(colock **lock, const char *path, const colock_config *config);
/* The same for the lock file that belongs to `target`, a file or a directory: target with ".lock" behind it. target
 * itself is not touched and need not exist. */
COLOCK_API int colock_open_for(colock **lock, const char *target, const colock_config *config);
/* Holds outlive this: the last one released frees the rest. Not beside or before another call on the same lock, the
 * release of its holds included; NULL is fine. What is kept by `auto_release` is let go, with a suspend first if there
 * is one, which is waited for; events (colock_hold_fd) come no more. Waits (colock_wait) have to be freed before. In a
 * forked child: closes the child's copy, the parent's is unharmed. */
COLOCK_API void colock_close(colock *lock);
/* on != 0: every wait on this lock ends with COLOCK_ECANCELED, and so does every acquire, upgrade and yield that would
 * have to wait, until it is switched off again with 0. At once; a reader-only lock within `retry_delay`. Does not touch
 * holds. Async-signal-safe. */
COLOCK_API void colock_cancel(colock *lock, int on);
/* With `auto_release`: let go now what is kept and not in use, instead of after `idle_timeout` or when somebody waits.
 * Suspends first if there is a suspend; does not wait for one that is under way in another thread.
 * Returns 0, also if nothing is kept; COLOCK_EINVAL: NULL; COLOCK_ESYSTEM: the kernel did not unlock, so the descriptor
 * was closed, which does. */
COLOCK_API int colock_release_idle(colock *lock);
/* suspend(arg) is called whenever the lock is about to leave this process: when the last hold of `lock` here, kept or
 * not, is given up. Flush or close what the lock guards; it may take seconds: waiters are told, and no stale time runs.
 * Whoever of this process gets the lock after that has to open or refresh; a shared hold may be granted beside a
 * suspend and has to wait for its end itself (a store does). Nonzero: it failed; that is logged, and an exclusive lock
 * leaves as if its holder had died (colock_abandoned). Not called when the lock was forced out or its file lost: it is
 * no longer ours, so nothing may be written any more; nor for an inherited hold, nor by colock_downgrade, nor with
 * `enabled: false`. Without `auto_release` it is called in the thread that gives the lock up. With it, a thread of the
 * library's own calls it, with all signals blocked; colock_release_idle, colock_yield and colock_close do so in theirs;
 * colock_release only where it cannot be kept: more than 16 threads use the lock at once, it is reader-only, or closed
 * already. As long as an exclusive lock is kept, it serves shared acquires as it is: the hold is then exclusive, with a
 * token, so that readers elsewhere do not come in before the suspend. Of one lock there is never more than one suspend
 * at a time. It must not acquire, release or close the same lock, nor wait for a thread that does. A child that it
 * forks is to exec or _exit. If it returns in the child, the parent's hold is left alone: the call that gave the lock
 * up says COLOCK_EFORKED there (colock_release_idle: 0), and a child of the library's own thread ends, as by exit(0).
 * NULL: none, as at first. To be set while nobody holds the lock.
 * Returns 0; COLOCK_EINVAL: lock is NULL; COLOCK_EBUSY: holds of it are in use or kept; COLOCK_ENOMEM, COLOCK_ESYSTEM:
 * that thread could not be started. */
COLOCK_API int colock_set_suspend(colock *lock, int (*suspend)(void *arg), void *arg);

/* ---- a hold ---- */

typedef struct colock_request { /* how to acquire; colock_request_init sets every field */
  size_t size;          /* sizeof(colock_request) where the caller was compiled */
  int mode;             /* COLOCK_SHARED or COLOCK_EXCLUSIVE */
  unsigned flags;       /* 0 or COLOCK_INTERRUPTIBLE */
  int64_t timeout_ms;   /* COLOCK_CONFIGURED at first; COLOCK_NOWAIT, COLOCK_FOREVER or milliseconds */
  int64_t deadline_ns;  /* absolute, CLOCK_MONOTONIC; 0: none. The earlier of the two ends the wait */
  int priority;         /* -100 to 100; 0 at first. One unit is worth up to 64 places in line: nobody starves */
  const char *purpose;  /* shown by reports, cut at 255 bytes; NULL: none */
  /* Or NULL. Called in the waiting thread after `notify_after` and then at doubling intervals; `who` lives until it
   * returns; nonzero ends the wait. */
  int (*on_wait)(const colock_report *who, int64_t waited_ms, void *arg);
  void *on_wait_arg;
} colock_request;
enum {
  COLOCK_INTERRUPTIBLE = 1 /* a signal handler that ran in the waiting thread ends the wait: COLOCK_EINTR; at once, or,
                            * if it ran just before the thread fell asleep, within 10 s */
};
/* Defaults for everything, `size` and `mode` as given: colock_request_init(&request, sizeof request, COLOCK_SHARED). */
COLOCK_API void colock_request_init(colock_request *request, size_t size, int mode);

/* Get the lock, waiting for the configured `timeout` at most. Waiters are served in the order in which they came,
 * priorities aside; readers enter together; a reader that waits when an exclusive hold ends goes before up to 64
 * writers that came before it. Who comes while the first in line has been first for less than 1 ms may go before it (a
 * wake-up takes longer than a short hold); later nobody may. A waiter that is dead is forgotten, one that is stopped is
 * passed over while the lock is free.
 * Returns 0 and *hold, the caller's until colock_release; COLOCK_ETIMEDOUT; COLOCK_EBUSY: the configured timeout is 0
 * and it is not free; COLOCK_EDEADLK: this thread got a blocking hold on the same file, by whatever colock, and has
 * it still, in whatever modes (colock_detach lifts that); or COLOCK_FILE in the environment names this file, whose
 * hold our `colock run` has; COLOCK_ECANCELED; COLOCK_EINVAL: NULL or no such mode; COLOCK_EACCES also: exclusive on
 * a reader-only lock; FILE codes: a file that was deleted or replaced meanwhile is opened anew, and made anew, as by
 * colock_open. */
COLOCK_API int colock_acquire(colock *lock, int mode, colock_hold **hold);
/* The same with COLOCK_NOWAIT: COLOCK_EBUSY instead of a wait, also when the lock is free and others wait for it; never
 * COLOCK_EDEADLK. If the lock is free and those who wait do not take it, it gives them up to 20 ms, then passes them
 * over: they are stopped. Its hold does not count for the thread either: a later blocking acquire waits for it until it
 * times out. */
COLOCK_API int colock_try_acquire(colock *lock, int mode, colock_hold **hold);
/* The same, as the request says. Returns what colock_acquire does, and COLOCK_EINTR: a signal, if asked for;
 * COLOCK_EBUSY: timeout_ms is COLOCK_NOWAIT; COLOCK_ECANCELED also: on_wait returned nonzero; COLOCK_EINVAL also: a
 * size, flag, timeout, deadline or priority that cannot be. */
COLOCK_API int colock_acquire_with(colock *lock, const colock_request *request, colock_hold **hold);

/* Give it back. The hold is freed whatever is returned. Any thread. In a forked child frees the child's copy and
 * leaves the parent's hold alone. An inherited hold is not unlocked: it ends with its last copy. With `auto_release`
 * the process may keep the lock itself (colock.yaml(5)): until it acquires again, which then takes no system call;
 * until `idle_timeout` is over; or until somebody else waits for it.
 * Returns 0: it was whole to the end; COLOCK_EREVOKED, COLOCK_ELOST: it was not, treat what was done under it with
 * care (a file replaced is noticed here if the hold lasted 0.1 ms or longer, by a look right after the unlock; a
 * shorter one was checked when it was granted, or, where it was kept from before, within the last second or two);
 * COLOCK_ESYSTEM: the kernel did not unlock, so the descriptor was closed, which does; COLOCK_EFORKED; COLOCK_EINVAL:
 * NULL. After a colock_yield that failed: 0. */
COLOCK_API int colock_release(colock_hold *hold);
/* Make a shared hold exclusive, in place: nobody else holds exclusively in between, so what was read under it is still
 * true. Goes before all who wait. timeout_ms as in a request, COLOCK_CONFIGURED too. On failure it is still shared.
 * Returns 0: exclusive, with a token (colock_token); 0 also if it was exclusive already; COLOCK_EBUSY: COLOCK_NOWAIT,
 * and other readers hold; COLOCK_ETIMEDOUT; COLOCK_EDEADLK: another shared hold is being upgraded and waits for this
 * one: release it; COLOCK_ECANCELED; COLOCK_EREVOKED; COLOCK_ELOST; COLOCK_EFORKED; COLOCK_EINVAL: NULL, or such a
 * timeout; COLOCK_EACCES: a reader-only lock; COLOCK_ENOLOCKS; COLOCK_ENOMEM; COLOCK_ESYSTEM. */
COLOCK_API int colock_upgrade(colock_hold *hold, int64_t timeout_ms);
/* Make an exclusive hold shared, in place, with no moment in which somebody else could write: readers that wait enter
 * beside it. Its token is 0 from then on, its last_token what its token was. Never waits.
 * Returns 0, also if it was shared already; COLOCK_EREVOKED, COLOCK_ELOST: it was not whole, and is as it was;
 * COLOCK_EFORKED; COLOCK_EINVAL: NULL; COLOCK_ESYSTEM: the kernel did not convert it, and it is still exclusive. */
COLOCK_API int colock_downgrade(colock_hold *hold);
/* 1: somebody waits whom this hold keeps waiting: a writer, or, if it is exclusive, anybody. 0: no, or a parent's hold.
 * No system call (on a reader-only lock a few): cheap enough for every turn of a loop. */
COLOCK_API int colock_contended(const colock_hold *hold);
/* Let those go first who wait for this hold, then hold again, in the same mode: release and acquire in one, at the end
 * of the line. Nobody waits: 0 at once, nothing has happened. Else others have held in between: an exclusive hold has a
 * new token, and colock_last_token tells whether somebody has written.
 * Returns 0; what colock_acquire_with does, but not COLOCK_EDEADLK; COLOCK_EREVOKED: it was forced out before it was
 * given up; COLOCK_ELOST: its file was replaced before that, or while it waited; COLOCK_EFORKED; COLOCK_EINVAL: NULL,
 * an inherited hold, or such a timeout.
 * After a failure nothing is held any more: calls on the hold return that failure again, but for colock_release, which
 * frees it and returns 0. (COLOCK_EFORKED and COLOCK_EINVAL change nothing.) */
COLOCK_API int colock_yield(colock_hold *hold, int64_t timeout_ms);
/* A descriptor that becomes readable once somebody waits whom this hold keeps waiting (colock_contended), or the hold
 * was forced out, or its file was replaced (colock_check tells which; the last within a second): for poll, epoll,
 * libuv. It stays readable. The hold's own, the same at each call, closed by colock_release; close-on-exec; do not read
 * or close it. After colock_upgrade, colock_downgrade or colock_yield it is told anew. Needs a thread of the library's
 * own, one a lock.
 * Returns the descriptor, or a code made negative: -COLOCK_EMFILE, -COLOCK_ENOMEM; -COLOCK_ESYSTEM: the thread could
 * not be started; -COLOCK_EFORKED; -COLOCK_EINVAL: NULL; -COLOCK_EACCES: a reader-only lock has no events. With
 * `enabled: false` it never becomes readable. */
COLOCK_API int colock_hold_fd(colock_hold *hold);
/* Is it still mine? One system call. Returns 0, COLOCK_EREVOKED, COLOCK_ELOST, COLOCK_EFORKED; COLOCK_EINVAL: NULL. */
COLOCK_API int colock_check(colock_hold *hold);
/* Alive and at work: the time until it counts as stale begins anew. No system call. Returns what colock_check does, but
 * does not notice a replaced file. */
COLOCK_API int colock_renew(colock_hold *hold);
/* on != 0: children that are forked from now on and exec keep the lock, until the last of them has closed its copy or
 * exited, even when we have released it or exited. 0: children from now on do not. A reader-only hold too.
 * Returns 0; COLOCK_EFORKED; COLOCK_EINVAL: NULL; COLOCK_ESYSTEM: the descriptor's flag could not be set. */
COLOCK_API int colock_inherit(colock_hold *hold, int on);
/* This hold no longer counts for the thread that got it, which may then block for the same file again; for holds that
 * are handed to another thread. Returns 0, COLOCK_EFORKED; COLOCK_EINVAL: NULL. */
COLOCK_API int colock_detach(colock_hold *hold);
/* The fencing token of an exclusive hold: larger than that of every exclusive hold before it, never repeated. 0 for a
 * shared hold. hold must not be NULL, here and in the next two. */
COLOCK_API uint64_t colock_token(const colock_hold *hold);
/* The newest token handed out before this hold: who remembers N from its last hold (its token, or its last_token) and
 * finds N here has missed no writer, and may keep what it cached. */
COLOCK_API uint64_t colock_last_token(const colock_hold *hold);
/* 1: when this hold was granted, an exclusive holder had died or been forced out while holding, and nobody has said
 * recovered since; what the lock guards may be half written. 0: no. */
COLOCK_API int colock_abandoned(const colock_hold *hold);
/* The data are whole again. Exclusive holds only. Later holds are not told again; a writer that is abandoned after
 * this is told of anew.
 * Returns 0 (also if there was nothing to say), COLOCK_EREVOKED, COLOCK_ELOST, COLOCK_EFORKED; COLOCK_EINVAL: NULL,
 * or a shared hold. */
COLOCK_API int colock_recovered(colock_hold *hold);
/* Write "slot:hold:generation" to text: which hold this is, as the COLOCK_HOLD of a COMMAND under `colock run` names
 * it; 64 bytes are enough. A hold without a slot (reader-only, `enabled: false`) gives an id that names nothing.
 * Returns 0; COLOCK_EINVAL: too little room. */
COLOCK_API int colock_hold_id(const colock_hold *hold, char *text, size_t size);
/* Acquire, *result = operation(arg), release. Returns what colock_acquire and then colock_release do: after
 * COLOCK_EREVOKED or COLOCK_ELOST the operation did run, and *result is set; so it did after COLOCK_EFORKED, in a child
 * that it has forked itself; after any other failure it did not. result may be NULL. */
COLOCK_API int colock_with(colock *lock, int mode, int (*operation)(void *arg), void *arg, int *result);

/* ---- a wait that does not block ---- */

/* Begin to acquire as `request` says, and do not wait: for event loops. What can be had at once is; else a thread of
 * the library's own stands in line, one for each wait and until that is freed (it sleeps on a futex, which cannot be
 * polled). Waits begun right after one another may stand in line in another order. The time that the request gives
 * counts from here. Holds got this way count for no thread (COLOCK_EDEADLK), and COLOCK_INTERRUPTIBLE has no meaning.
 * `request` and its purpose are copied; its on_wait is called by colock_wait_step, in the thread that steps, and must
 * not free the wait.
 * Returns 0 and *wait, the caller's: colock_wait_free. That includes waits that end at once, with a hold or without:
 * the first step tells. Else there is no wait: COLOCK_EBUSY: COLOCK_NOWAIT, or a configured timeout of 0, and not free;
 * COLOCK_EINVAL as colock_acquire_with; COLOCK_EMFILE; COLOCK_ENOMEM; COLOCK_ESYSTEM: its thread could not start. */
COLOCK_API int colock_wait_start(colock *lock, const colock_request *request, colock_wait **wait);
/* Readable: step. For poll, epoll, libuv; close-on-exec; do not read or close it. Constant until colock_wait_free; -1
 * in a forked child. It is silent after a step that said COLOCK_EBUSY, and stays readable once the wait has ended. */
COLOCK_API int colock_wait_fd(const colock_wait *wait);
/* Where is it? Never blocks. COLOCK_EBUSY: not yet, wait for the descriptor. 0: granted, *hold is the caller's. Else
 * what colock_acquire_with returns; COLOCK_EFORKED: begun by our parent; COLOCK_EINVAL: NULL, or the hold was handed
 * out before. A wait that failed says so at each step. */
COLOCK_API int colock_wait_step(colock_wait *wait, colock_hold **hold);
/* Leave the line; a hold that was granted and not yet handed out is released, as by colock_release. At any time, in any
 * state; waits for nobody but the wait's own thread, which ends at once. NULL is fine. In a forked child frees the
 * child's copy. */
COLOCK_API void colock_wait_free(colock_wait *wait);

/* ---- an embedded database behind the lock ---- */

/* What a store calls, always while this process holds the lock, and never two of them at once, nor one beside an
 * operation. 0: well; anything else: it failed, and the call that it was for returns COLOCK_ESTORE with that value in
 * *result. A callback that calls the same store gets COLOCK_EDEADLK; another store, of another lock, it may use. */
typedef struct colock_store_ops {
  size_t size;                    /* sizeof(colock_store_ops) where the caller was compiled */
  int (*open)(void *context);     /* exclusive; once, first of all */
  int (*migrate)(void *context);  /* or NULL. Exclusive; after open */
  int (*refresh)(void *context);  /* or NULL. Before an operation, if somebody else has written since our last one, or
                                   * since a suspend: read anew, or open again what suspend closed. Without a suspend
                                   * before it, forget what is in memory and do not write it. If it fails, it is called
                                   * again before the next operation, and nothing is written until it was well */
  int (*suspend)(void *context);  /* or NULL. Before the lock leaves this process: flush, or close; see
                                   * colock_set_suspend for its thread and its limits. Not twice without a refresh in
                                   * between, and not while memory is older than the database */
  int (*close)(void *context);    /* exclusive; once, last of all; also after a suspend, and after a migrate that
                                   * failed. What is neither suspended nor up to date is refreshed first */
  int (*recover)(void *context);  /* or NULL. Exclusive; after open, or after the refresh before an operation, when a
                                   * writer has died holding (colock_abandoned): open and refresh may meet what it
                                   * left half written. 0: the data are whole, colock_recovered is said. NULL: it
                                   * stays noted */
} colock_store_ops;
/* Open the database through `lock`, which has to outlive the store and is the store's alone: acquire exclusively, open,
 * recover if needed, migrate, release. With `auto_release` lock and database stay ours until idle or until somebody
 * waits. ops is copied. result may be NULL, here and below.
 * Returns 0 and *store, the caller's: colock_store_close; COLOCK_ESTORE: open, recover or migrate failed (after open,
 * close was called), nothing is held; COLOCK_EREVOKED, COLOCK_ELOST: as ESTORE; COLOCK_EINVAL: NULL, no open or no
 * close, or a lock that has a store or a suspend; COLOCK_EBUSY also: holds of the lock are in use; COLOCK_EFORKED: a
 * callback forked, and this is the child; what colock_acquire returns; COLOCK_ENOMEM, COLOCK_ESYSTEM also: there is no
 * thread for `auto_release`. */
COLOCK_API int colock_store_open(colock_store **store, colock *lock, const colock_store_ops *ops, void *context,
                                 int *result);
/* *result = operation(context, arg) under a shared hold, beside other readers, threads of this process included. If a
 * writer has died holding and there is a recover, it is done as colock_store_write does: nobody reads what is half
 * written.
 * Returns 0: the operation ran, whatever it returned; COLOCK_EREVOKED, COLOCK_ELOST: it ran, *result is set, but the
 * lock was not whole to the end; COLOCK_ESTORE: refresh or recover failed, it did not run; COLOCK_EDEADLK: called from
 * a callback or an operation of this store; COLOCK_EFORKED: a parent's store (close the copy, open one anew), or the
 * operation forked and this is the child; COLOCK_EINVAL: NULL; what colock_acquire returns: it did not run. */
COLOCK_API int colock_store_read(colock_store *store, int (*operation)(void *context, void *arg), void *arg,
                                 int *result);
/* The same under an exclusive hold, alone. A process that dies in it leaves the lock abandoned. */
COLOCK_API int colock_store_write(colock_store *store, int (*operation)(void *context, void *arg), void *arg,
                                  int *result);
/* Acquire exclusively, close, let go, also what is kept. Not beside or before another call on the store.
 * Returns 0; COLOCK_ESTORE: close failed, or the refresh before it; the store is freed and the lock let go all the
 * same. COLOCK_EREVOKED, COLOCK_ELOST: the same, the lock was not whole to the end. COLOCK_EINVAL: NULL;
 * COLOCK_EDEADLK; what colock_acquire returns: nothing has happened, try again. In a forked child: frees the child's
 * copy, calls nothing, COLOCK_EFORKED; the lock may then have a store of the child's own. */
COLOCK_API int colock_store_close(colock_store *store, int *result);

/* ---- looking from outside ---- */

/* COLOCK_ROLE of an entry */
enum {
  COLOCK_HOLDER = 1, /* has the lock */
  COLOCK_WAITER,     /* waits for it; in the order of the queue */
  COLOCK_REVOKED,    /* was forced out and runs on */
  COLOCK_CACHED,     /* keeps the lock for its next use (auto_release), and lets go when somebody waits */
  COLOCK_ANONYMOUS   /* somebody has it who left no name: a reader without write permission, or another program */
};
/* Fields of an entry. N: colock_entry_number; T: colock_entry_text; B: both. */
enum {
  COLOCK_ROLE = 1, /* B: as above; "holder", "waiter", ... */
  COLOCK_MODE,     /* B: COLOCK_SHARED or COLOCK_EXCLUSIVE, held or waited for; "shared", "exclusive" */
  COLOCK_PID,      /* N: as its own pid namespace counts */
  COLOCK_TID,      /* N: the thread that asked */
  COLOCK_UID,      /* N: user id */
  COLOCK_AGE_MS,   /* N: for how long it has held, waited, or kept the lock unused */
  COLOCK_STALE,    /* N: 1: has held for longer than its own stale_timeout without colock_renew; else 0 */
  COLOCK_PRIORITY, /* N: of its request */
  COLOCK_TOKEN,    /* N, T: fencing token of an exclusive hold; T has it whole, as digits */
  COLOCK_PROGRAM,  /* T: the program's name */
  COLOCK_HOST,     /* T: the host's name, a container's own */
  COLOCK_LABEL,    /* T: its configured `label` */
  COLOCK_PURPOSE,  /* T: of its request */
  COLOCK_POSITION, /* N: a waiter's place in line, 1 is the head; -1 for one that is passed over */
  COLOCK_INHERITED, /* N: pid of the child that an inherited hold was passed on to */
  COLOCK_SLOT,      /* N: these three, of a hold, are what colock_hold_id writes */
  COLOCK_HOLD_ID,
  COLOCK_GENERATION,
  COLOCK_PASSED,    /* N: 1: a waiter that is passed over, because it is stopped; 0: no */
  COLOCK_UPGRADING, /* N: 1: in both entries of a shared hold that colock_upgrade makes exclusive: a holder, and the
                     * first of the waiters; 0: no */
  COLOCK_STOPPED,   /* N: 1: its process is stopped (SIGSTOP, a debugger) and does nothing until it is continued; 0: it
                     * is not; unknown for processes of other hosts and pid namespaces */
  COLOCK_SUSPENDING /* N: 1: a cached lock that is being let go: a suspend is under way, for COLOCK_AGE_MS; 0: no */
};
/* A snapshot of the lock file `path`. Creates nothing, takes no lock, holds nobody up; read permission is enough.
 * Returns 0 and *report, the caller's: colock_report_free; COLOCK_EINVAL: NULL or empty; COLOCK_ENOENT: no
 * file; FILE codes but COLOCK_ENOSPC. */
COLOCK_API int colock_report_read(const char *path, colock_report **report);
COLOCK_API void colock_report_free(colock_report *report); /* and its entries; NULL is fine */
COLOCK_API size_t colock_report_count(const colock_report *report);
/* Holders first (exclusive before shared, the oldest first), then cached ones, anonymous ones, waiters in their order
 * and behind them those that are passed over, the revoked. NULL: past the last. Lives as long as the report. */
COLOCK_API const colock_entry *colock_report_entry(const colock_report *report, size_t index);
COLOCK_API int64_t colock_entry_number(const colock_entry *entry, int field); /* -1: unknown, or no number */
/* NULL: unknown, or no text. As its owner wrote it, any bytes: escape it before printing. */
COLOCK_API const char *colock_entry_text(const colock_entry *entry, int field);
/* A number of the whole lock; -1: unknown name or value. "holders" (anonymous ones too, cached ones not), "cached",
 * "waiters", "revoked", "anonymous": how many; "generation": forced unlocks move everyone to the next; "last_token":
 * the newest fencing token; "abandoned": token of the writer that died holding, 0 none; "capacity", "slots_in_use": of
 * the file's table; "forced_pid", "forced_uid", "forced_age_ms", "forced_generation": the last forced unlock, -1 if
 * there was none; "usual_hold_shared_ms", "usual_hold_exclusive_ms": nine of ten holds were not longer, -1 if fewer
 * than 20 were counted. */
COLOCK_API int64_t colock_report_stat(const colock_report *report, const char *name);
/* The whole report as JSON, in the schema of colock(3); lives as long as the report. NULL: no memory. */
COLOCK_API const char *colock_report_json(colock_report *report);

/* What was counted at the lock file `path`, by all who ever used it, since it was made or colock_stats_reset. Counting
 * is never off; reader-only locks and those with `enabled: false` count nothing. Creates nothing, takes no lock, holds
 * nobody up; read permission is enough.
 * Returns 0 and *stats, the caller's: colock_stats_free; what colock_report_read does; COLOCK_EBUSY: reset again and
 * again meanwhile. */
COLOCK_API int colock_stats_read(const char *path, colock_stats **stats);
COLOCK_API void colock_stats_free(colock_stats *stats); /* NULL is fine */
/* A number by name; -1: unknown name, or there is none.
 * How often: "acquisitions_shared", "acquisitions_exclusive": got, colock_yield's too; of these "cached_shared",
 * "cached_exclusive": with a lock that was kept (`auto_release`), without a system call; "busy": tried, not got;
 * "timeouts", "cancels" (signals too), "deadlocks": waits and requests that ended so; "upgrades", "downgrades";
 * "recalls": a kept lock was let go because somebody waited; "deaths_shared", "deaths_exclusive": owners that died
 * holding; "forced_unlocks".
 * How long, by mode, in "wait_shared", "wait_exclusive": times in line, however they ended; "hold_shared",
 * "hold_exclusive": times from grant to release, those that an upgrade or a downgrade divides in two. Behind each name:
 * "_count"; "_sum_ns"; "_p50_ns", "_p90_ns", "_p99_ns": so many per cent took no longer (a quarter above truth at
 * most); "_max_ns": the longest; and of that one, if it is known, "_max_age_ms": how long ago it ended, "_max_pid",
 * "_max_tid".
 * "age_ms": how long ago the counting began. */
COLOCK_API int64_t colock_stats_number(const colock_stats *stats, const char *name);
/* "wait_shared_max_program" and so on: the label of who it was, cut to 31 bytes, which is the program's name where none
 * was given; any bytes: escape it before printing. NULL: unknown. Lives as long as stats. */
COLOCK_API const char *colock_stats_text(const colock_stats *stats, const char *name);
/* How many times fell into bucket `index`, from 0, of "wait_shared" and so on: those below the bound in ns that is
 * returned and not below that of the bucket before; four buckets an octave from 64 ns to 20 hours. INT64_MAX: the last,
 * without a bound. -1: past the last, or unknown. */
COLOCK_API int64_t colock_stats_bucket(const colock_stats *stats, const char *times, size_t index, uint64_t *count);
/* All of it as JSON, in the schema of colock(3); lives as long as stats. NULL: no memory. */
COLOCK_API const char *colock_stats_json(colock_stats *stats);
/* Begin to count anew. Who counts meanwhile is not disturbed, and nothing is lost: it counts before or after.
 * Returns 0; COLOCK_EINVAL: NULL or empty; COLOCK_EACCES: needs write permission; COLOCK_ETIMEDOUT: another process
 * that makes the file larger, or resets, is stuck (the message names it); COLOCK_ELOST: the file was replaced
 * meanwhile; COLOCK_ECONFIG; FILE codes. */
COLOCK_API int colock_stats_reset(const char *path);

/* Take the lock away from whoever holds it, all holders of this generation together: the next acquires succeed while
 * the old holders still run, and may still write. `reason` is noted in the file; NULL: none. *before: what the lock
 * looked like when it was judged; may be NULL; the caller's. If nobody holds, nothing is done.
 * Returns 0, also if somebody else forced out the same holder first; COLOCK_EBUSY: the holders changed faster than one
 * could be judged, so nobody is stuck, and nothing was done; COLOCK_ETIMEDOUT: the file is being replaced again and
 * again; COLOCK_EINVAL: NULL or empty; COLOCK_EACCES: needs write permission; COLOCK_ECONFIG; FILE codes. */
COLOCK_API int colock_force_unlock(const char *path, const char *reason, colock_report **before);

/* ---- configuration ---- */

typedef struct colock_key { /* one configuration key; static, constant */
  const char *name;    /* "timeout" */
  const char *type;    /* "duration", "boolean", "integer", "choice", "text", "mode" */
  const char *range;   /* what is accepted, in words: "0 to forever", "report, break" */
  const char *initial; /* the default, as it would be written in YAML */
  const char *help;    /* one line */
} colock_key;
/* The table of keys, in its own order; NULL: past the last. colock.yaml(5) describes them. */
COLOCK_API const colock_key *colock_config_key(size_t index);
/* All defaults; nothing is read. Returns 0; COLOCK_ENOMEM; COLOCK_EINVAL: NULL. The caller's: colock_config_free. */
COLOCK_API int colock_config_new(colock_config **config);
COLOCK_API void colock_config_free(colock_config *config); /* locks opened with it are unharmed; NULL is fine */
/* Set what the YAML file `path` says. NULL: the first that exists of $COLOCK_CONFIG, $XDG_CONFIG_HOME/colock.yaml
 * (~/.config), SYSCONFDIR/colock.yaml; none is fine. On failure nothing of the file is taken over.
 * Returns 0; COLOCK_ECONFIG: wrong, with file:line:column; or a file that is there, or was named, cannot be read;
 * COLOCK_EINVAL: config is NULL, or path is empty; COLOCK_EMFILE; COLOCK_ENOMEM. */
COLOCK_API int colock_config_load(colock_config *config, const char *path);
/* Set what the environment says (COLOCK_TIMEOUT=5s); nothing in a set-user-id program. A variable COLOCK_ of another
 * name that is no key is left alone. Returns 0; COLOCK_ECONFIG: wrong value, nothing is taken over; COLOCK_EINVAL:
 * config is NULL. */
COLOCK_API int colock_config_env(colock_config *config);
/* Set one key, as in YAML: ("timeout", "5s"). Returns 0; COLOCK_ECONFIG: no such key, or not such a value;
 * COLOCK_EINVAL: NULL. */
COLOCK_API int colock_config_set(colock_config *config, const char *key, const char *value);
/* The value in force, as YAML would write it; NULL: no such key. Lives until config changes. */
COLOCK_API const char *colock_config_get(const colock_config *config, const char *key);
/* Where it comes from: "default", "environment", "set", "/etc/colock.yaml:4:1"; NULL: no such key. Lives until config
 * changes. */
COLOCK_API const char *colock_config_source(const colock_config *config, const char *key);

#ifdef __cplusplus
}
#endif
#endif
