/* kept.h - for tests of locks that are kept after their release (auto_release): such a lock, and what is seen of it. */
#ifndef COLOCK_TEST_KEPT_H
#define COLOCK_TEST_KEPT_H

#include "agent.h"
#include "cache.h"
#include "clock.h"
#include "lock.h"
#include "support.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* A lock whose `idle_timeout` is that. */
static inline colock *kept_open(const char *path, const char *idle) {
  colock *lock = NULL;
  colock_config *config =
      test_config("auto_release", "true", "idle_timeout", idle, "timeout", "10s", "retry_delay", "10s", NULL);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  return lock;
}

static inline colock_hold *kept_acquire(colock *lock, int mode) {
  colock_hold *hold = NULL;
  must(colock_acquire(lock, mode, &hold));
  return hold;
}

static inline colock_hold *kept_try(colock *lock, int mode) {
  colock_hold *hold = NULL;
  must(colock_try_acquire(lock, mode, &hold));
  return hold;
}

/* Keep it in that mode. */
static inline void keep(colock *lock, int mode) { must(colock_release(kept_acquire(lock, mode))); }

/* For so long, from now on, it may be used again though somebody waits: 1 ms would be too short for a test. */
static inline int64_t lasts_ms(colock_hold *hold, int64_t ms) {
  const int64_t end_ns = colockp_now_ns() + ms * 1000000;
  hold->lane_since_ns = end_ns - COLOCKP_MINIMUM_NS;
  return end_ns;
}

/* Keep it for who takes it again to find that its time is over. The thread goes by the cell, and sees time left. */
static inline void keep_overdue(colock_hold *hold) {
  lasts_ms(hold, 60000);
  must(colock_release(hold));
  lasts_ms(hold, -1000);
}

/* So many at once, and then all of them kept. */
static inline void keep_many(colock *lock, int mode, int count) {
  colock_hold *holds[64];
  for (int i = 0; i < count; i++) holds[i] = kept_try(lock, mode);
  for (int i = 0; i < count; i++) must(colock_release(holds[i]));
}

static inline int64_t stat_of(const char *path, const char *name) {
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  int64_t value = colock_report_stat(report, name);
  colock_report_free(report);
  return value;
}

static inline int64_t cached(const char *path) { return stat_of(path, "cached"); }

/* A number of the report's only entry; -2: there are more, or none. */
static inline int64_t entry_of(const char *path, int field) {
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  bool one = colock_report_count(report) == 1;
  int64_t value = one ? colock_entry_number(colock_report_entry(report, 0), field) : -2;
  colock_report_free(report);
  return value;
}

/* Another process that keeps the lock, and lets go for nothing but somebody who waits. */
static inline struct agent *keeper_of(const char *path, const char *more, const char *mode) {
  struct agent *agent = agent_start();
  int code = agent_call(agent, "open %s auto_release=true idle_timeout=1min %s", agent_word(path), more);
  ck_assert_msg(code == COLOCK_OK, "%s", agent->text);
  ck_assert_int_eq(agent_call(agent, "acquire %s 20000", mode), COLOCK_OK);
  ck_assert_int_eq(agent_call(agent, "release %d", agent->hold), COLOCK_OK);
  return agent;
}

/* Another process that keeps nothing. A wake-up that it misses costs it 7 s at least: its waits are shorter. */
static inline struct agent *other_of(const char *path) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "open %s retry_delay=10s", agent_word(path)), COLOCK_OK);
  return agent;
}

static inline void stop(pid_t pid) {
  int status;
  ck_assert_int_eq(kill(pid, SIGSTOP), 0);
  ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
}

static inline void go_on(pid_t pid) {
  int status;
  ck_assert_int_eq(kill(pid, SIGCONT), 0);
  ck_assert_int_eq(waitpid(pid, &status, WCONTINUED), pid);
}

/* The thread that looks after it sleeps, and nothing is kept. */
static inline bool parked(colock *lock) { return atomic_load(&lock->cache.attention) & COLOCKP_PARKED; }

#endif
