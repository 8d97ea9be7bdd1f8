/* idle.c - what 1,000 who wait cost while nothing happens: processes, and threads of one process. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { WAITERS = 1000 };

static void wait_alone(struct team *team, int index, void *arg) {
  struct party party;
  colock_contender.open(&party, arg, index);
  team_meet(team);
  colock_contender.lock(&party, COLOCK_EXCLUSIVE);
}

static void *wait_as_thread(void *lock) {
  colock_hold *hold;
  check(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  return NULL;
}

static void wait_as_threads(struct team *team, int index, void *arg) {
  struct party party;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  colock_contender.open(&party, arg, index);
  team_meet(team);
  for (int i = 0; i < WAITERS; i++) {
    pthread_t thread;
    if (pthread_create(&thread, &small, wait_as_thread, party.lock) != 0)
      die("pthread_create");
  }
  for (;;)
    pause();
}

/* Until all are in line. */
static void await_waiters(void) {
  for (int64_t waiters = 0; waiters < WAITERS;) {
    colock_report *report;
    pause_ns(50 * MS);
    check(colock_report_read(OURS, &report));
    waiters = colock_report_stat(report, "waiters");
    colock_report_free(report);
  }
}

static void measure(struct run *run, const char *name, int processes, team_work wait) {
  struct party keeper;
  struct team team;
  int64_t window = run->quick ? 2 * SEC : 10 * SEC;
  fresh_files();
  team_start(&team, processes, wait, run);
  colock_contender.open(&keeper, run, 0);
  colock_contender.lock(&keeper, COLOCK_EXCLUSIVE);
  team_go(&team);
  await_waiters();
  pause_ns(SEC / 2);
  int64_t start = now_ns(), before = team_cpu_ns(&team);
  pause_ns(window);
  int64_t used = team_cpu_ns(&team) - before;
  print_figure(run, (struct figure){ .name = name, .unit = "%",
                                     .ours = 100 * (double)used / (double)(now_ns() - start), .theirs = NAN,
                                     .judged = OURS_ALONE, .aim = 1 });
  team_kill(&team);
  colock_contender.unlock(&keeper);
  colock_contender.close(&keeper);
}

void bench_idle(struct run *run) {
  begin_section(run, "processor time of all who wait together, % of a core", "nothing: F_OFD_SETLKW uses none");
  measure(run, "1,000 processes", WAITERS, wait_alone);
  measure(run, "1,000 threads of one process", 1, wait_as_threads);
}
