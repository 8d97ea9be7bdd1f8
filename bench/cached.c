/* cached.c - a lock that is kept (auto_release): acquire and release without a system call, and a store upon it.
 *
 * A round takes some milliseconds: a pair of tens of nanoseconds is measured only by many of them. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 61, QUICK_ROUNDS = 11, REPEATS = 20000, CALLS = 10000 };

struct pair {
  colock *lock, *other;
  int mode, fd;
};

static void acquire_and_release(colock *lock, int mode, int repeats) {
  colock_hold *hold;
  for (int i = 0; i < repeats; i++) {
    check(colock_acquire(lock, mode, &hold));
    check(colock_release(hold));
  }
}

static void kept_pair(void *arg, int repeats) {
  struct pair *pair = arg;
  acquire_and_release(pair->lock, pair->mode, repeats);
}

static void other_pair(void *arg, int repeats) {
  struct pair *pair = arg;
  acquire_and_release(pair->other, pair->mode, repeats);
}

static void bare_pair(void *arg, int repeats) {
  struct pair *pair = arg;
  short type = pair->mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
  for (int i = 0; i < repeats; i++) {
    bare_lock(pair->fd, type, LANE);
    bare_lock(pair->fd, F_UNLCK, LANE);
  }
}

static void flock_pair(void *arg, int repeats) {
  struct pair *pair = arg;
  int type = pair->mode == COLOCK_EXCLUSIVE ? LOCK_EX : LOCK_SH;
  for (int i = 0; i < repeats; i++)
    if (flock(pair->fd, type | LOCK_NB) != 0 || flock(pair->fd, LOCK_UN) != 0)
      die("flock");
}

static const char *name_of(int mode) { return mode == COLOCK_EXCLUSIVE ? "exclusive" : "shared"; }

static void compare(struct run *run, double aim, turn_work theirs, const char *beside) {
  struct pair pair;
  fresh_files();
  begin_section(run, "acquire and release of a lock that is kept", beside);
  check(colock_open(&pair.lock, OURS, run->config));
  pair.fd = bare_open(0);
  for (pair.mode = COLOCK_SHARED; pair.mode <= COLOCK_EXCLUSIVE; pair.mode++)
    take_turns(run, (struct figure){ .name = name_of(pair.mode), .unit = "ns", .aim = aim }, kept_pair, theirs, &pair,
               run->quick ? QUICK_ROUNDS : ROUNDS, REPEATS);
  close(pair.fd);
  colock_close(pair.lock);
}

/* ---- beside many who keep it, too ---- */

struct readers {
  const struct run *run;
  const char *file;
  int count;
};

/* Each through an opening of its own, with one kept seat. */
static void keep(struct team *team, int index, void *arg) {
  const struct readers *readers = arg;
  (void)index;
  for (int i = 0; i < readers->count; i++) {
    colock *lock;
    check(colock_open(&lock, readers->file, readers->run->config));
    acquire_and_release(lock, COLOCK_SHARED, 1);
  }
  team_meet(team);
  for (;;)
    pause();
}

static void beside_many(struct run *run) {
  static const int counts[] = { 10, 100, 1000 };
  begin_section(run, "acquire and release, shared, of a lock that others keep, too",
                "the same where one other keeps it");
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    struct pair pair = { .mode = COLOCK_SHARED };
    struct readers many = { run, OURS, counts[i] }, one = { run, KEPT, 1 };
    struct team crowd, single;
    char name[64];
    fresh_files();
    team_start(&crowd, 1, keep, &many);
    team_start(&single, 1, keep, &one);
    team_go(&crowd);
    team_go(&single);
    check(colock_open(&pair.lock, OURS, run->config));
    check(colock_open(&pair.other, KEPT, run->config));
    snprintf(name, sizeof name, "beside %d", counts[i]);
    take_turns(run, (struct figure){ .name = name, .unit = "ns", .aim = 1.1 }, kept_pair, other_pair, &pair,
               run->quick ? QUICK_ROUNDS : ROUNDS, REPEATS);
    colock_close(pair.lock);
    colock_close(pair.other);
    team_kill(&crowd);
    team_kill(&single);
  }
}

/* ---- system calls ---- */

struct traced {
  const struct run *run;
  turn_work work;
  int mode;
  _Atomic bool counting;
};

static _Noreturn void be_traced(struct traced *traced) {
  struct pair pair = { .mode = traced->mode };
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0)
    _exit(69);
  check(colock_open(&pair.lock, OURS, traced->run->config));
  pair.fd = bare_open(0);
  traced->work(&pair, 1);
  pause_ns(20 * MS); /* the first release starts a thread, a later one wakes it once it sleeps */
  traced->work(&pair, 1);
  pause_ns(20 * MS);
  traced->counting = true;
  traced->work(&pair, CALLS);
  traced->counting = false;
  _exit(0);
}

/* It stops before each of its calls and behind it. -1: we may not trace. */
static double count_once(struct traced *traced) {
  int status;
  long stops = 0;
  pid_t pid = fork();
  if (pid == 0)
    be_traced(traced);
  if (pid < 0 || waitpid(pid, &status, 0) != pid)
    die("fork");
  if (!WIFSTOPPED(status) || ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0)
    return -1;
  for (long pass = 0;;) {
    if (ptrace(PTRACE_SYSCALL, pid, NULL, pass) != 0 || waitpid(pid, &status, 0) != pid)
      die("ptrace");
    if (!WIFSTOPPED(status))
      break;
    bool call = WSTOPSIG(status) == (SIGTRAP | 0x80);
    stops += call && traced->counting;
    pass = call || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
  }
  if (status != 0)
    die("the traced process");
  return (double)(stops / 2);
}

/* The least of a few: whose hold lasts 0.1 ms, as one may during which another process had the processor, looks at the
 * file after it. */
static double count_calls(struct traced *traced) {
  double least = count_once(traced);
  for (int i = 1; i < 5 && least > 0; i++) {
    double count = count_once(traced);
    least = count < least ? count : least;
  }
  return least;
}

static void system_calls(struct run *run) {
  struct traced *traced = shared_new(sizeof *traced);
  begin_section(run, "system calls in 10,000 pairs", "a pair of F_OFD_SETLK");
  traced->run = run;
  for (traced->mode = COLOCK_SHARED; traced->mode <= COLOCK_EXCLUSIVE; traced->mode++) {
    fresh_files();
    traced->work = kept_pair;
    double ours = count_calls(traced);
    traced->work = bare_pair;
    double theirs = count_calls(traced);
    if (ours < 0 || theirs < 0)
      fprintf(stderr, "bench: system calls cannot be counted: ptrace is not permitted here\n");
    else
      print_figure(run, (struct figure){ .name = name_of(traced->mode), .unit = "", .ours = ours, .theirs = theirs,
                                         .judged = OURS_ALONE, .none = true });
  }
  shared_free(traced, sizeof *traced);
}

void bench_cached(struct run *run) {
  keep_locks(run, true, "1h");
  compare(run, 0.06, bare_pair, "a pair of F_OFD_SETLK, as many locked bytes");
  compare(run, 0.1, flock_pair, "a pair of flock(2)");
  beside_many(run);
  system_calls(run);
  keep_locks(run, false, "1s");
}

/* ---- a store ---- */

static int nothing(void *context) {
  (void)context;
  return 0;
}

static int no_operation(void *context, void *arg) {
  (void)context;
  (void)arg;
  return 0;
}

/* Not known at compile time, as a store's is not. */
static int (*volatile operation)(void *, void *) = no_operation;

struct operations {
  colock_store *store;
  colock *lock;
  int mode;
};

static void store_operation(void *arg, int repeats) {
  struct operations *o = arg;
  for (int i = 0; i < repeats; i++)
    check(o->mode == COLOCK_SHARED ? colock_store_read(o->store, operation, NULL, NULL)
                                   : colock_store_write(o->store, operation, NULL, NULL));
}

static void plain_operation(void *arg, int repeats) {
  struct operations *o = arg;
  colock_hold *hold;
  for (int i = 0; i < repeats; i++) {
    check(colock_acquire(o->lock, o->mode, &hold));
    operation(NULL, NULL);
    check(colock_release(hold));
  }
}

void bench_store(struct run *run) {
  static const colock_store_ops ops = { .size = sizeof ops, .open = nothing, .refresh = nothing, .suspend = nothing,
                                        .close = nothing };
  struct operations o;
  colock *lock;
  fresh_files();
  begin_section(run, "an operation that does nothing, of a store whose lock is kept",
                "the same between acquire and release");
  keep_locks(run, true, "1h");
  check(colock_open(&lock, OURS, run->config));
  check(colock_open(&o.lock, KEPT, run->config));
  keep_locks(run, false, "1s");
  check(colock_store_open(&o.store, lock, &ops, NULL, NULL));
  for (o.mode = COLOCK_SHARED; o.mode <= COLOCK_EXCLUSIVE; o.mode++)
    take_turns(run, (struct figure){ .name = o.mode == COLOCK_SHARED ? "read" : "write", .unit = "ns",
                                     .judged = OURS_ALONE, .aim = 150 },
               store_operation, plain_operation, &o, run->quick ? QUICK_ROUNDS : ROUNDS, REPEATS);
  check(colock_store_close(o.store, NULL));
  colock_close(o.lock);
  colock_close(lock);
}
