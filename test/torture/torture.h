/* torture.h - processes and threads at one lock, doing at random all that can be done, and dying at it.
 *
 * A supervisor (warden.c) forks processes; each has a few threads, the actors (actor.c). What an actor does next
 * follows from the seed alone (step.c), so a seed brings the same decisions back; what the others do meanwhile does
 * not come back. Every actor notes what it sees in memory that all share (ledger.c), and there it is compared: who is
 * inside with whom, tokens, marks of the dead, who overtakes whom. What it did stands in a ring of its own
 * (history.c).
 *
 * Actors work in rounds. Between two nobody comes, so a wake-up that was lost is not made good by the next one: in the
 * build without polling the round then never ends, and the warden says so.
 *
 * Discipline: one struct torture in shared anonymous memory. A word with one writer says who; all others are atomic.
 */
#ifndef COLOCK_TORTURE_H
#define COLOCK_TORTURE_H

#include "colock.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define PROCESSES_MAX 8
#define THREADS_MAX   8 /* both together a word of bits */
#define RING          1024 /* events that an actor remembers; a power of two */
#define GENERATIONS   65536
#define HANDLES       2    /* colocks a process opens on the file */

/* What may happen in a run. */
struct plan {
  const char *name;
  bool kills, stops, forces, cancels, signals;
  bool keeps; /* what is released is kept, and some of it suspended before it leaves its process (keeper.c) */
  bool hasty; /* nearly no time inside or outside: many more rounds */
  bool lies;  /* planted: the kernel's locks are granted though they are not free */
};
extern const struct plan plans[];
extern const unsigned plan_count;

/* ---- what an actor does next (step.c) ---- */

enum wait_kind { WAIT_TRY, WAIT_SHORT, WAIT_DEADLINE, WAIT_LONG, WAIT_FOREVER };
enum inside_kind { INSIDE_NOTHING, INSIDE_UPGRADE, INSIDE_DOWNGRADE, INSIDE_YIELD, INSIDE_CHECK, INSIDE_RENEW };
enum jolt_kind { JOLT_NONE, JOLT_DIE, JOLT_STOP };
enum extra_kind { EXTRA_NONE, EXTRA_FORCE, EXTRA_CANCEL, EXTRA_DIE_INSIDE };

struct step {
  int mode, priority, handle;
  enum wait_kind wait;
  int64_t wait_ms, inside_wait_ms;
  bool interruptible, stop_by_on_wait;
  enum inside_kind inside;
  enum wait_kind inside_wait;
  enum jolt_kind jolt;
  unsigned jolt_after;  /* system calls */
  enum extra_kind extra;
  int64_t hold_us, pause_us; /* 0: not even a yield */
  bool idles;           /* lets go what is kept, at the end */
  uint64_t shake;       /* seeds the yields between system calls */
};
/* The same for the same numbers. `stream` tells actors and their successors apart. */
struct step step_decide(const struct plan *plan, uint64_t seed, uint64_t stream, uint64_t number);
void step_print(FILE *out, const struct step *step);
uint64_t random_next(uint64_t *state); /* splitmix */

/* ---- what actors share ---- */

struct event {
  int64_t at_ns;
  const char *what; /* a constant string: the same address in all, which are forks of one process */
  int64_t a, b;
};

struct actor {
  int process, thread;         /* constant */
  /* owner writes */
  _Atomic uint64_t inside;     /* incarnation << 40 | generation << 2 | mode, 0 outside */
  _Atomic uint64_t token;      /* of the exclusive hold in `inside` */
  _Atomic uint64_t beat;       /* grows with all that it does */
  _Atomic uint64_t finished;   /* the last round it is done with */
  _Atomic int tid;
  _Atomic int64_t must_end_ns; /* of the wait under way; INT64_MAX: when it is served */
  /* the wait under way, as others see it */
  _Atomic uint64_t queued;     /* rank word, from its first sleep on; 0: not in the queue */
  _Atomic uint32_t slot;
  _Atomic int64_t queued_ns;
  _Atomic unsigned overtaken;  /* by whom it should not have been; others add */
  _Atomic uint64_t used;       /* events so far */
  struct event ring[RING];
};

enum count {
  COUNT_SHARED, COUNT_EXCLUSIVE, COUNT_WAITED, COUNT_BUSY, COUNT_TIMED_OUT, COUNT_CANCELED, COUNT_INTERRUPTED,
  COUNT_UPGRADED, COUNT_UPGRADE_REFUSED, COUNT_DOWNGRADED, COUNT_YIELDED, COUNT_REVOKED, COUNT_ABANDONED,
  COUNT_FORCED, COUNT_KILLED, COUNT_STOPPED, COUNT_ROUNDS, COUNT_KEPT, COUNT_SUSPENDED, COUNT_LET_GO, COUNTS
};

/* The second handle of a process, in a plan that keeps. */
struct hook {
  int process;
  _Atomic unsigned suspending; /* how many suspends are under way */
  _Atomic unsigned writers;    /* bits of threads that are inside, exclusively */
  _Atomic uint64_t dirty;      /* incarnation << 38 | generation, of what was written since the last suspend; or 0 */
};

struct torture {
  /* constant before the first fork */
  const struct plan *plan;
  uint64_t seed;
  int processes, threads;
  char path[512];

  _Atomic bool stop;           /* the warden; actors see it between two rounds */
  _Atomic uint32_t round;      /* futex, the warden */
  _Atomic uint32_t round_steps;
  _Atomic uint64_t round_actors; /* bit process * THREADS_MAX + thread: takes part; few see what many hide */
  _Atomic uint64_t incarnation[PROCESSES_MAX]; /* the warden: of the process that is in that place now, from 1 */
  _Atomic uint64_t doomed[PROCESSES_MAX];      /* incarnations up to this die or are dead */

  _Atomic uint64_t top_token;  /* highest token of a hold that was whole after it was noted */
  _Atomic uint64_t top_last;   /* highest last_token of such a hold */
  struct {
    _Atomic uint64_t lowest, highest;
  } tokens[GENERATIONS];       /* by generation; 0: none */
  _Atomic uint64_t dead_token; /* highest token of one that died while it held exclusively */
  _Atomic uint64_t recovered;  /* token of the last holder that said recovered */
  struct hook hooks[PROCESSES_MAX];
  _Atomic uint64_t counts[COUNTS];
  _Atomic int64_t longest_ns;  /* wait */
  _Atomic unsigned worst;      /* overtaken in one wait */

  _Atomic bool telling;        /* somebody has failed, and writes what */
  _Atomic int failures;        /* that is written */
  char said[1024];
  struct actor actors[PROCESSES_MAX][THREADS_MAX];
};
extern struct torture *torture;

int64_t now_ns(void);
void count(enum count what);
/* The first one is told, and ends the run. */
void failure(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- ledger.c: what is seen, compared ---- */

struct colockp_region;

/* Before a request: what every later grant has to respect. */
struct before {
  int64_t at_ns;
  uint64_t top_token, dead_token, ticket;
};
void ledger_before(struct before *before, const struct colockp_region *region);
/* In a wait of this actor, about to sleep for the first time: it is in the queue. */
void ledger_queued(struct actor *actor, uint64_t rank, uint32_t slot);
void ledger_left(struct actor *actor);
void ledger_enter(struct actor *actor, colock_hold *hold, int mode, const struct before *before);
/* Granted, to a request that began at `before`; slept: it queued. Did it go before somebody who was first? */
void ledger_overtakes(const struct actor *actor, const struct before *before, int mode, int priority, bool slept,
                      const colock_hold *hold);
void ledger_look(const struct actor *actor);
/* About to give it back, or to give up writing. */
void ledger_leave(struct actor *actor, colock_hold *hold);
/* The warden, of a process that is dead: what it left behind. */
void ledger_bury(int process);
bool ledger_doomed(int process, uint64_t incarnation);

/* ---- keeper.c: what is kept, and suspends ---- */

bool keeper_hooks(int handle); /* has it a suspend? */
int keeper_configure(colock_config *config, int process, int handle);
int keeper_hook(colock *lock, int process, int handle);
/* Inside, after ledger_enter; about to leave, before ledger_leave; about to be shared. */
void keeper_enter(const struct actor *actor, int handle, int mode);
void keeper_leave(const struct actor *actor, int handle);
void keeper_downgrade(const struct actor *actor, int handle);
bool keeper_only_kept(int fd); /* LANE is taken, and nobody uses it */

/* ---- jolt.c: the table of system calls, with something in the way ---- */

void jolt_install(void);
/* For this thread, from here on. region_of: the lock whose bell it may sleep on. */
void jolt_set(struct actor *actor, const struct step *step, const struct colockp_region *region);
void jolt_clear(void);
bool jolt_slept(void); /* since jolt_set: in the queue */

/* ---- actor.c ---- */

int actor_process(int process); /* the whole life of a process; its exit status */

/* ---- history.c ---- */

void history_note(struct actor *actor, const char *what, int64_t a, int64_t b);
/* All of it, in the order of time, to the file; the last `tail` events to out. */
void history_write(const char *file, FILE *out, unsigned tail);
/* Words of the lock file as they are now, and the report. */
void history_status(FILE *out, const char *path);

/* ---- verdict.c ---- */

/* All have ended: nothing may be left in the file or at it. */
void verdict_clean(void);
void verdict_report(int64_t run_ms);
/* After all plans: 0, or 1 if something that they should try never happened though there was time. */
int verdict_all_tried(void);

/* ---- warden.c ---- */

/* One plan for so long; 0, or 1 after a failure, of which everything has been said. */
int warden_run(const struct plan *plan, uint64_t seed, int64_t run_ms, const char *history);

extern int torture_processes, torture_threads;

#endif
