/* handover.c - how long from a release until the waiter runs.
 *
 * Holder and waiter are two processes that meet through shared memory before each turn, so that the waiter has been
 * asleep for some ms when the lock is released. The same two do one turn with colock and one with the bare calls: where
 * the scheduler has put them decides as much as what wakes them. So the medians follow once more for two processors,
 * where waking is dear and the waiter runs beside the end of the release, and for one, where it is cheap and each
 * instruction of both counts. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"
#include "scenario.h"

#include <sched.h>

#define HOLD_NS (3 * MS) /* longer than any spinning */
enum { MOST_TURNS = 400 };

struct place {
  const struct run *run;
  const struct contender *contenders[2];
  int processors;                  /* 1, 2: on so many; 0: wherever the scheduler puts them */
  uint32_t turns;                  /* of both */
  struct event held, wanted, done; /* the number of the turn */
  _Atomic int64_t released;
  double waits[2][MOST_TURNS / 2];
};

static void hold(struct place *place, struct party *parties) {
  for (uint32_t turn = 1; turn <= place->turns; turn++) {
    place->contenders[turn % 2]->lock(&parties[turn % 2], COLOCK_EXCLUSIVE);
    event_set(&place->held, turn);
    event_await(&place->wanted, turn);
    pause_ns(HOLD_NS);
    place->released = now_ns();
    place->contenders[turn % 2]->unlock(&parties[turn % 2]);
    event_await(&place->done, turn);
  }
}

static void await(struct place *place, struct party *parties) {
  for (uint32_t turn = 1; turn <= place->turns; turn++) {
    event_await(&place->held, turn);
    event_set(&place->wanted, turn);
    place->contenders[turn % 2]->lock(&parties[turn % 2], COLOCK_EXCLUSIVE);
    place->waits[turn % 2][(turn - 1) / 2] = (double)(now_ns() - place->released) / 1e3;
    place->contenders[turn % 2]->unlock(&parties[turn % 2]);
    event_set(&place->done, turn);
  }
}

/* On the first processor that we may use, or the second; where there is none, anywhere. */
static void stay_on(int which) {
  cpu_set_t usable, one;
  if (sched_getaffinity(0, sizeof usable, &usable) != 0)
    return;
  for (size_t i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &usable) && which-- == 0) {
      CPU_ZERO(&one);
      CPU_SET(i, &one);
      sched_setaffinity(0, sizeof one, &one);
      return;
    }
}

static void take_part(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party parties[2];
  if (place->processors)
    stay_on(index % place->processors);
  for (int i = 0; i < 2; i++)
    place->contenders[i]->open(&parties[i], place->run, index);
  team_meet(team);
  (index == 0 ? hold : await)(place, parties);
}

void measure_handover(const struct run *run, const struct contender *ours, const struct contender *theirs,
                      int processors, int turns, struct series *median, struct series *worst) {
  fresh_files_for(run, theirs);
  for (int i = 0; i < median->count; i++) {
    struct place *place = shared_new(sizeof *place);
    struct team team;
    place->run = run;
    place->contenders[0] = ours;
    place->contenders[1] = theirs;
    place->processors = processors;
    place->turns = (uint32_t)turns * 2;
    team_start(&team, 2, take_part, place);
    team_go(&team);
    team_end(&team);
    median->ours[i] = quantile(place->waits[0], place->turns / 2, 0.5);
    median->theirs[i] = quantile(place->waits[1], place->turns / 2, 0.5);
    worst->ours[i] = quantile(place->waits[0], place->turns / 2, 0.99);
    worst->theirs[i] = quantile(place->waits[1], place->turns / 2, 0.99);
    shared_free(place, sizeof *place);
  }
}

static void measure(struct run *run, const struct contender *ours, int processors, struct series *median,
                    struct series *worst, int rounds) {
  median->count = worst->count = rounds;
  measure_handover(run, ours, &waiting_contender, processors, run->quick ? 50 : MOST_TURNS / 2, median, worst);
}

void bench_handover(struct run *run) {
  static struct series median, worst;
  begin_section(run, "hand-over: from a release to the waiter's run", BESIDE_WAITING);
  measure(run, &colock_contender, 0, &median, &worst, run->quick ? 5 : 9);
  print_series(run, &median, (struct figure){ .name = "median", .unit = "us", .aim = 1.25 });
  print_series(run, &worst, (struct figure){ .name = "99th percentile", .unit = "us", .aim = 1.5 });
  measure(run, &colock_contender, 2, &median, &worst, run->quick ? 2 : 3);
  print_series(run, &median, (struct figure){ .name = "median, on two processors", .unit = "us" });
  measure(run, &colock_contender, 1, &median, &worst, run->quick ? 2 : 3);
  print_series(run, &median, (struct figure){ .name = "median, both on one", .unit = "us" });
  measure(run, &least_contender, 0, &median, &worst, run->quick ? 5 : 9);
  print_series(run, &median, (struct figure){ .name = "median of the least there can be", .unit = "us",
                                              .remark = "a futex beside F_OFD_SETLK and fstat, not colock" });
}
