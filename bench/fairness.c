/* fairness.c - how long one writer waits beside eight readers, and one reader beside eight writers.
 *
 * The eight hold the lock back to back; the one comes again and again. Where it does not get the lock before the end of
 * the run, its wait is a lower bound. */
#include "contender.h"
#include "measure.h"
#include "scenario.h"

#include <math.h>

enum { CROWD = 8, MOST_WAITS = 100000 };

struct place {
  const struct run *run;
  const struct contender *contender;
  int crowd_mode, lone_mode;
  int64_t hold_ns; /* of the crowd; 0: all lock and unlock as fast as they can */
  _Atomic bool over;
  _Atomic uint64_t crowd_grants;
  uint64_t grants; /* of the one; the first of its waits follow */
  double waits[MOST_WAITS], longest, last;
  bool cut; /* its last wait was not over when the run was */
};

static void crowd(struct place *place, struct party *party, int index) {
  pause_ns(place->hold_ns * index / CROWD);
  while (!place->over) {
    place->contender->lock(party, place->crowd_mode);
    if (place->hold_ns)
      pause_ns(place->hold_ns);
    place->contender->unlock(party);
    place->crowd_grants++;
  }
}

static void come_and_go(struct place *place, struct party *party) {
  uint32_t random = 1;
  while (!place->over) {
    int64_t start = now_ns();
    place->contender->lock(party, place->lone_mode);
    double wait = (double)(now_ns() - start);
    place->cut = place->over;
    place->last = wait;
    place->contender->unlock(party);
    if (place->grants < MOST_WAITS)
      place->waits[place->grants] = wait;
    place->grants++;
    if (place->longest < wait)
      place->longest = wait;
    random = random * 1664525 + 1013904223;
    if (place->hold_ns) /* at any moment of the others' holds */
      pause_ns(place->hold_ns * (random >> 16) / 65536);
  }
}

static void take_part(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  place->contender->open(&party, place->run, index);
  team_meet(team);
  if (index < CROWD)
    crowd(place, &party, index);
  else
    come_and_go(place, &party);
}

static struct place *measure(const struct run *run, const struct contender *contender, int lone_mode, int64_t hold_ns,
                             int64_t window_ns) {
  struct place *place = shared_new(sizeof *place);
  struct team team;
  place->run = run;
  place->contender = contender;
  place->lone_mode = lone_mode;
  place->crowd_mode = lone_mode == COLOCK_SHARED ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  place->hold_ns = hold_ns;
  team_start(&team, CROWD + 1, take_part, place);
  team_go(&team);
  pause_ns(window_ns);
  place->over = true;
  team_end(&team);
  return place;
}

/* Of the waits, in ms. */
static double part_of(struct place *place, double q) {
  return quantile(place->waits, place->grants < MOST_WAITS ? place->grants : MOST_WAITS, q) / 1e6;
}

struct lone measure_lone(const struct run *run, const struct contender *contender, int lone_mode, int64_t hold_ns,
                         int64_t window_ns) {
  struct place *place = measure(run, contender, lone_mode, hold_ns, window_ns);
  struct lone lone = { .median = part_of(place, 0.5), .longest = place->longest / 1e6 };
  lone.cut = place->cut && place->last >= place->longest;
  shared_free(place, sizeof *place);
  return lone;
}

static void holding(struct run *run, int lone_mode, const char *title) {
  int64_t window = run->quick ? 3 * SEC / 2 : 10 * SEC;
  fresh_files();
  begin_section(run, title, BESIDE_WAITING);
  struct place *ours = measure(run, &colock_contender, lone_mode, 20 * MS, window);
  struct place *theirs = measure(run, &waiting_contender, lone_mode, 20 * MS, window / 4);
  print_figure(run, (struct figure){ .name = "its wait, median", .unit = "ms", .ours = part_of(ours, 0.5),
                                     .theirs = part_of(theirs, 0.5), .theirs_at_least = theirs->grants == 1 });
  print_figure(run, (struct figure){ .name = "its wait, 99th percentile", .unit = "ms", .ours = part_of(ours, 0.99),
                                     .theirs = part_of(theirs, 0.99), .theirs_at_least = theirs->cut,
                                     .judged = OURS_ALONE, .aim = 45 });
  print_figure(run, (struct figure){ .name = "holds of the eight a second", .unit = "/s",
                                     .ours = (double)ours->crowd_grants * 1e9 / (double)window,
                                     .theirs = (double)theirs->crowd_grants * 4e9 / (double)window });
  shared_free(ours, sizeof *ours);
  shared_free(theirs, sizeof *theirs);
}

static void hammering(struct run *run) {
  int64_t window = run->quick ? 2 * SEC : 5 * SEC;
  double seconds = (double)window / 1e9;
  fresh_files();
  begin_section(run, "one writer beside 8 readers, all without a pause", BESIDE_WAITING);
  struct place *ours = measure(run, &colock_contender, COLOCK_EXCLUSIVE, 0, window);
  struct place *theirs = measure(run, &waiting_contender, COLOCK_EXCLUSIVE, 0, window);
  print_figure(run, (struct figure){ .name = "its longest wait", .unit = "ms", .ours = ours->longest / 1e6,
                                     .theirs = theirs->longest / 1e6, .theirs_at_least = theirs->cut,
                                     .judged = OURS_ALONE, .aim = 20 });
  print_figure(run, (struct figure){ .name = "its holds a second", .unit = "/s",
                                     .ours = (double)ours->grants / seconds,
                                     .theirs = (double)theirs->grants / seconds });
  print_figure(run, (struct figure){ .name = "holds of the eight a second", .unit = "/s",
                                     .ours = (double)ours->crowd_grants / seconds,
                                     .theirs = (double)theirs->crowd_grants / seconds });
  shared_free(ours, sizeof *ours);
  shared_free(theirs, sizeof *theirs);
}

void bench_fairness(struct run *run) {
  holding(run, COLOCK_EXCLUSIVE, "one writer beside 8 readers that hold 20 ms each, back to back");
  holding(run, COLOCK_SHARED, "one reader beside 8 writers that hold 20 ms each, back to back");
  hammering(run);
}
