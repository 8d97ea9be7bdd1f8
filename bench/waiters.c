/* waiters.c - one hand-over with 1 to 1,000 processes in line.
 *
 * All do the same: wait, hold for 2 ms, release, and get in line again once somebody else has been granted. So there
 * are always as many in line, and each grant is one hand-over from a release to the run of a process that slept. */
#include "contender.h"
#include "measure.h"

#include <math.h>
#include <stdio.h>

#define HOLD_NS (2 * MS)
enum { MOST_TURNS = 200 };

struct place {
  const struct run *run;
  const struct contender *contender;
  uint32_t turns; /* to measure */
  _Atomic int64_t released;
  struct event granted; /* how many have been */
  double waits[MOST_TURNS];
};

static void take_part(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  place->contender->open(&party, place->run, index);
  team_meet(team);
  for (;;) {
    place->contender->lock(&party, COLOCK_EXCLUSIVE);
    int64_t now = now_ns();
    uint32_t turn = place->granted.value;
    if (turn > 0 && turn <= place->turns) /* the first was released by the keeper */
      place->waits[turn - 1] = (double)(now - place->released) / 1e3;
    event_set(&place->granted, turn + 1);
    pause_ns(HOLD_NS);
    place->released = now_ns();
    place->contender->unlock(&party);
    event_await(&place->granted, turn + 2);
  }
}

/* The median in us. The keeper holds until all the others are in line. */
static double measure(const struct run *run, const struct contender *contender, int waiters) {
  struct place *place = shared_new(sizeof *place);
  struct party keeper;
  struct team team;
  fresh_files();
  place->run = run;
  place->contender = contender;
  place->turns = run->quick ? 50 : MOST_TURNS;
  team_start(&team, waiters + 1, take_part, place);
  contender->open(&keeper, run, waiters + 1);
  contender->lock(&keeper, COLOCK_EXCLUSIVE);
  team_go(&team);
  pause_ns(50 * MS + waiters * MS / 2);
  contender->unlock(&keeper);
  event_await(&place->granted, place->turns + 1);
  team_kill(&team);
  contender->close(&keeper);
  double median = quantile(place->waits, place->turns, 0.5);
  shared_free(place, sizeof *place);
  return median;
}

void bench_waiters(struct run *run) {
  static const int counts[] = { 1, 10, 100, 1000 };
  enum { COUNTS = sizeof counts / sizeof *counts };
  static struct series curve[COUNTS], growth;
  int rounds = run->quick ? 1 : 3;
  begin_section(run, "hand-over with many in line, median", BESIDE_WAITING);
  for (int i = 0; i < rounds; i++) {
    for (int n = 0; n < COUNTS; n++) {
      curve[n].count = rounds;
      curve[n].ours[i] = measure(run, &colock_contender, counts[n]);
      curve[n].theirs[i] = measure(run, &waiting_contender, counts[n]);
    }
    growth.count = rounds;
    growth.ours[i] = curve[3].ours[i] / curve[1].ours[i];
    growth.theirs[i] = curve[3].theirs[i] / curve[1].theirs[i];
  }
  for (int n = 0; n < COUNTS; n++) {
    char name[64];
    snprintf(name, sizeof name, "%d in line", counts[n]);
    print_series(run, &curve[n], (struct figure){ .name = name, .unit = "us" });
  }
  print_series(run, &growth, (struct figure){ .name = "1,000 in line, times that of 10", .unit = "x",
                                              .judged = OURS_ALONE, .aim = 3 });
}
