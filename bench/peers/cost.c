/* cost.c - what a lock costs while nothing happens: processor time of those who wait, and memory. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"
#include "scenario.h"

#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { WAITERS = 32, SLOW_WAITERS = 4 };

struct place {
  const struct run *run;
  const struct contender *contender;
  struct event held;
  _Atomic pid_t children[WAITERS]; /* that wait for them */
  double kib;
};

static void hold(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  (void)team;
  place->contender->open(&party, place->run, WAITERS + index);
  place->contender->lock(&party, COLOCK_EXCLUSIVE);
  event_set(&place->held, 1);
  for (;;)
    pause();
}

static void await(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party = { 0 };
  place->contender->open(&party, place->run, index);
  place->children[index] = party.child;
  team_meet(team);
  place->contender->lock(&party, COLOCK_EXCLUSIVE);
}

static int64_t used_ns(const struct place *place, const struct team *team) {
  int64_t sum = team_cpu_ns(team);
  for (int i = 0; i < team->count; i++) {
    clockid_t id;
    struct timespec t;
    if (place->children[i] && clock_getcpuclockid(place->children[i], &id) == 0 && clock_gettime(id, &t) == 0)
      sum += t.tv_sec * SEC + t.tv_nsec;
  }
  return sum;
}

/* us of processor time a second, of each who waits. */
static double idle(const struct run *run, const struct contender *contender) {
  struct place *place = shared_new(sizeof *place);
  struct team holder, waiters;
  fresh_files_for(run, contender);
  place->run = run;
  place->contender = contender;
  team_start(&waiters, contender->slow ? SLOW_WAITERS : WAITERS, await, place); /* first: not all can be opened while */
  team_ready(&waiters);                                                         /* somebody holds */
  team_start(&holder, 1, hold, place);
  event_await(&place->held, 1);
  team_go(&waiters);
  pause_ns(SEC / 2);
  int64_t start = now_ns(), before = used_ns(place, &waiters);
  pause_ns(run->quick ? SEC / 2 : 3 * SEC / 2);
  double seconds = (double)(now_ns() - start) / 1e9;
  double us = (double)(used_ns(place, &waiters) - before) / 1e3 / seconds / waiters.count;
  team_kill(&waiters);
  team_kill(&holder);
  shared_free(place, sizeof *place);
  return us;
}

void compare_idle(struct run *run) {
  begin_section(run, "processor time of each that waits, us a second", "each of these");
  double ours = idle(run, &colock_contender);
  for (int i = 0; i < peer_count; i++)
    if (can(peers[i], COLOCK_EXCLUSIVE))
      print_figure(run, (struct figure){ .name = peers[i]->name, .unit = "us", .ours = ours,
                                         .theirs = idle(run, peers[i]) });
}

/* ---- memory ---- */

static void use(const struct contender *contender, const struct run *run, struct party *party) {
  contender->open(party, run, 0);
  contender->lock(party, COLOCK_EXCLUSIVE);
  contender->unlock(party);
}

static void open_and_measure(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  (void)index;
  team_meet(team);
  private_kib();
  double before = private_kib();
  use(place->contender, place->run, &party);
  place->kib = private_kib() - before;
}

static double memory(const struct run *run, const struct contender *contender) {
  struct place *place = shared_new(sizeof *place);
  struct team team;
  fresh_files_for(run, contender);
  place->run = run;
  place->contender = contender;
  team_start(&team, 1, open_and_measure, place);
  team_go(&team);
  team_end(&team);
  double kib = place->kib;
  shared_free(place, sizeof *place);
  return kib;
}

void compare_memory(struct run *run) {
  begin_section(run, "private memory of the first lock of a process, opened and used", "each of these");
  double ours = memory(run, &colock_contender);
  for (int i = 0; i < peer_count; i++)
    if (can(peers[i], COLOCK_EXCLUSIVE) && !peers[i]->slow)
      print_figure(run, (struct figure){ .name = peers[i]->name, .unit = "KiB", .ours = ours,
                                         .theirs = memory(run, peers[i]) });
}
