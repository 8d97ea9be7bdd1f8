/* death.c - the holder is killed: how long until the first in line runs.
 *
 * After waits of all lengths, for what a waiter does about the dead may depend on how long it has waited. retry_delay
 * is 10 s: polling cannot help. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t waits[] = { MS / 5, MS / 2, MS, 2 * MS, 5 * MS, 20 * MS, 60 * MS, 300 * MS };
enum { LENGTHS = sizeof waits / sizeof *waits, MOST_DEATHS = 50 };

struct place {
  const struct run *run;
  const struct contender *contender;
  uint32_t deaths;
  struct event held, wanted, done; /* the number of the death */
  _Atomic int64_t running;
  double delays[MOST_DEATHS * LENGTHS];
};

static void hold(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  (void)team;
  place->contender->open(&party, place->run, index);
  place->contender->lock(&party, COLOCK_EXCLUSIVE);
  event_set(&place->held, place->held.value + 1);
  for (;;)
    pause();
}

static void await(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  place->contender->open(&party, place->run, index + 1);
  team_meet(team);
  for (uint32_t death = 1; death <= place->deaths; death++) {
    event_await(&place->held, death);
    event_set(&place->wanted, death);
    place->contender->lock(&party, COLOCK_EXCLUSIVE);
    place->running = now_ns();
    place->contender->unlock(&party);
    event_set(&place->done, death);
  }
}

/* 1 to `cycles` times all lengths. */
static struct place *measure(const struct run *run, const struct contender *contender, int cycles) {
  struct place *place = shared_new(sizeof *place);
  struct team waiter, holder;
  place->run = run;
  place->contender = contender;
  place->deaths = (uint32_t)(cycles * LENGTHS);
  team_start(&waiter, 1, await, place);
  team_go(&waiter);
  for (uint32_t death = 1; death <= place->deaths; death++) {
    team_start(&holder, 1, hold, place);
    event_await(&place->wanted, death);
    pause_ns(waits[(death - 1) % LENGTHS]);
    int64_t killed = now_ns();
    team_kill(&holder);
    event_await(&place->done, death);
    place->delays[death - 1] = (double)(place->running - killed) / 1e6;
  }
  team_end(&waiter);
  return place;
}

/* Deaths of ours and theirs take turns: a cycle each. */
static void collect(struct run *run, double *ours, double *theirs, int cycles) {
  for (int i = 0; i < cycles; i++) {
    struct place *a = measure(run, &colock_contender, 1), *b = measure(run, &waiting_contender, 1);
    memcpy(ours + i * LENGTHS, a->delays, LENGTHS * sizeof *ours);
    memcpy(theirs + i * LENGTHS, b->delays, LENGTHS * sizeof *theirs);
    shared_free(a, sizeof *a);
    shared_free(b, sizeof *b);
  }
}

static double of_length(const double *delays, int cycles, int length) {
  double some[MOST_DEATHS];
  for (int i = 0; i < cycles; i++)
    some[i] = delays[i * LENGTHS + length];
  return quantile(some, (size_t)cycles, 0.5);
}

void bench_death(struct run *run) {
  double ours[MOST_DEATHS * LENGTHS], theirs[MOST_DEATHS * LENGTHS];
  int cycles = run->quick ? 5 : 25;
  size_t all = (size_t)cycles * LENGTHS;
  fresh_files();
  begin_section(run, "death: from the holder's SIGKILL to the waiter's run, retry_delay 10 s", BESIDE_WAITING);
  check(colock_config_set(run->config, "retry_delay", "10s"));
  collect(run, ours, theirs, cycles);
  check(colock_config_set(run->config, "retry_delay", "100ms"));
  for (int i = 0; i < LENGTHS; i++) {
    char name[64];
    snprintf(name, sizeof name, "after a wait of %g ms, median", (double)waits[i] / 1e6);
    print_figure(run, (struct figure){ .name = name, .unit = "ms", .ours = of_length(ours, cycles, i),
                                       .theirs = of_length(theirs, cycles, i) });
  }
  print_figure(run, (struct figure){ .name = "all, median", .unit = "ms", .ours = quantile(ours, all, 0.5),
                                     .theirs = quantile(theirs, all, 0.5) });
  print_figure(run, (struct figure){ .name = "all, 99th percentile", .unit = "ms", .ours = quantile(ours, all, 0.99),
                                     .theirs = quantile(theirs, all, 0.99), .judged = DIFFERENCE, .aim = 2 });
}
