/* suspended.h - for tests of the suspend before a lock leaves its process: one that notes what it sees. */
#ifndef COLOCK_TEST_SUSPENDED_H
#define COLOCK_TEST_SUSPENDED_H

#include "kept.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *path;
static colock *lock;
static struct agent *other;

/* What a suspend saw, and what it is to do. */
static struct {
  _Atomic int calls, inside;
  _Atomic bool blocks; /* it lasts until that is false */
  _Atomic int fails;   /* with that value */
  bool dies;           /* before it is called */
  _Atomic pid_t tid;
  _Atomic bool lane, blocked;
  _Atomic int64_t role, suspending, mode;
} seen;

static inline bool all_signals_blocked(void) {
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  return sigismember(&now, SIGINT) && sigismember(&now, SIGUSR1) && sigismember(&now, SIGCHLD) &&
         sigismember(&now, SIGALRM);
}

static inline int suspend(void *arg) {
  ck_assert_ptr_eq(arg, &seen);
  ck_assert_int_eq(atomic_fetch_add(&seen.inside, 1), 0); /* never two at once */
  seen.tid = (pid_t)syscall(SYS_gettid);
  seen.lane = test_lane_taken(path);
  seen.blocked = all_signals_blocked();
  seen.role = entry_of(path, COLOCK_ROLE);
  seen.mode = entry_of(path, COLOCK_MODE);
  seen.suspending = entry_of(path, COLOCK_SUSPENDING);
  if (seen.dies) raise(SIGKILL);
  seen.calls++;
  while (seen.blocks) sched_yield();
  atomic_fetch_sub(&seen.inside, 1);
  return seen.fails;
}

static inline void have(bool keeps, const char *idle) {
  path = test_path("a.lock");
  lock = keeps ? kept_open(path, idle) : test_open(path);
  memset(&seen, 0, sizeof seen);
  must(colock_set_suspend(lock, suspend, &seen));
}

static inline void suspends(int calls) {
  ck_assert_int_eq(seen.calls, calls);
  if (calls == 0) return;
  ck_assert(seen.lane); /* the lock was still ours */
}

static inline bool free_for_others(void) { return !test_lane_taken(path); }

/* A writer elsewhere comes in, and is told whether one before it died. */
static inline int abandoned_elsewhere(void) {
  if (!other) other = other_of(path);
  ck_assert_msg(agent_call(other, "acquire x 7000") == COLOCK_OK, "%s", other->text);
  int abandoned = other->abandoned;
  if (abandoned) ck_assert_int_eq(agent_call(other, "recovered 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  return abandoned;
}

#endif
