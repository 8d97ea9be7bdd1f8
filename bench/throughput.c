/* throughput.c - 2 and 8 processes that take the lock exclusively as often as they can.
 *
 * What a lock gains by letting one process have it over and over, others pay by waiting: so throughput, shares and the
 * longest wait are taken from the same run. On a virtual machine each processor that the host does not run for a while
 * adds as much to some wait; so the longest wait is that of the rounds, half of all, from which the host took least. */
#include "contender.h"
#include "measure.h"
#include "scenario.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { MOST_PROCESSES = 64 };

struct place {
  const struct run *run;
  const struct contender *contender;
  int processes;
  int64_t work_ns; /* under the lock, and as much beside it */
  _Atomic bool over;
  struct {
    _Alignas(64) uint64_t grants;
    int64_t longest; /* wait */
  } of[MOST_PROCESSES];
};

/* Processor time that the host has taken from this machine since it started, ms; 0 where it does not say. */
static double stolen_ms(void) {
  unsigned long long ticks = 0;
  FILE *file = fopen("/proc/stat", "re");
  if (!file || fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &ticks) != 1)
    ticks = 0;
  if (file)
    fclose(file);
  return (double)ticks * 1e3 / (double)sysconf(_SC_CLK_TCK);
}

static void work(int64_t ns) {
  for (int64_t end = now_ns() + ns; now_ns() < end;)
    ;
}

static void take_part(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  uint64_t grants = 0;
  int64_t longest = 0;
  place->contender->open(&party, place->run, index);
  team_meet(team);
  int64_t before = now_ns();
  for (bool over = false; !over;) {
    place->contender->lock(&party, COLOCK_EXCLUSIVE);
    int64_t wait = now_ns() - before;
    over = place->over;
    if (place->work_ns)
      work(place->work_ns);
    place->contender->unlock(&party);
    if (!over)
      grants++;
    if (longest < wait)
      longest = wait;
    if (place->work_ns)
      work(place->work_ns);
    before = now_ns();
  }
  place->of[index].grants = grants;
  place->of[index].longest = longest;
}

struct throughput measure_throughput(const struct run *run, const struct contender *contender, int processes,
                                     int64_t work_ns, int64_t window_ns) {
  struct place *place = shared_new(sizeof *place);
  struct team team;
  struct throughput result = { 0 };
  double sum = 0;
  place->run = run;
  place->contender = contender;
  place->processes = processes;
  place->work_ns = work_ns;
  team_start(&team, processes, take_part, place);
  double stolen = stolen_ms();
  team_go(&team);
  pause_ns(window_ns);
  place->over = true;
  team_end(&team);
  result.stolen = (stolen_ms() - stolen) * 1e9 / (double)window_ns;
  for (int i = 0; i < processes; i++)
    sum += (double)place->of[i].grants;
  for (int i = 0; i < processes; i++) {
    double deviation = fabs((double)place->of[i].grants * processes / sum - 1) * 100;
    double longest = (double)place->of[i].longest / 1e6;
    if (result.deviation < deviation)
      result.deviation = deviation;
    if (result.longest < longest)
      result.longest = longest;
  }
  result.rate = sum * 1e9 / (double)window_ns;
  shared_free(place, sizeof *place);
  return result;
}

struct comparison {
  struct series rate, deviation, longest, stolen;
};

static void enter(struct comparison *c, int round, struct throughput ours, struct throughput theirs) {
  c->rate.count = c->deviation.count = c->longest.count = c->stolen.count = round + 1;
  c->rate.ours[round] = ours.rate;
  c->rate.theirs[round] = theirs.rate;
  c->deviation.ours[round] = ours.deviation;
  c->deviation.theirs[round] = theirs.deviation;
  c->longest.ours[round] = ours.longest;
  c->longest.theirs[round] = theirs.longest;
  c->stolen.ours[round] = ours.stolen;
  c->stolen.theirs[round] = theirs.stolen;
}

/* Of the rounds from which the host took no more than from the median one. */
static struct series calm(const struct series *values, const struct series *stolen) {
  double taken[MOST_ROUNDS];
  struct series result = { 0 };
  for (int i = 0; i < stolen->count; i++)
    taken[i] = stolen->ours[i] + stolen->theirs[i];
  double median = quantile(taken, (size_t)stolen->count, 0.5);
  for (int i = 0; i < values->count; i++)
    if (stolen->ours[i] + stolen->theirs[i] <= median) {
      result.ours[result.count] = values->ours[i];
      result.theirs[result.count++] = values->theirs[i];
    }
  return result;
}

struct aims {
  double rate, deviation, longest; /* of the ratio; %; of the ratio, or, if it is absolute, ms. 0: none */
  bool absolute;
};

static void print(struct run *run, const struct comparison *c, const char *title, const char *beside,
                  struct aims aims) {
  struct series longest = calm(&c->longest, &c->stolen);
  begin_section(run, title, beside);
  print_series(run, &c->rate,
               (struct figure){ .name = "holds a second", .unit = "/s", .aim = aims.rate, .at_least = true });
  print_series(run, &c->deviation,
               (struct figure){ .name = "largest deviation from an equal share", .unit = "%", .judged = OURS_ALONE,
                                .aim = aims.deviation });
  print_series(run, &longest,
               (struct figure){ .name = "longest wait", .unit = "ms", .aim = aims.longest,
                                .judged = aims.absolute ? OURS_ALONE : RATIO });
  print_series(run, &c->stolen, (struct figure){ .name = "taken by the host, of all processors", .unit = "ms/s" });
}

static void compare(struct run *run, int processes, int64_t work_ns, int64_t window_ns, int rounds, struct aims aims) {
  static struct comparison waiting, spinning;
  char title[96];
  snprintf(title, sizeof title, "%d processes without a pause%s", processes,
           work_ns ? ", 20 us of work under the lock, 20 us beside it" : "");
  fresh_files();
  for (int i = 0; i < rounds; i++) {
    struct throughput ours = measure_throughput(run, &colock_contender, processes, work_ns, window_ns);
    enter(&waiting, i, ours, measure_throughput(run, &waiting_contender, processes, work_ns, window_ns));
    enter(&spinning, i, ours, measure_throughput(run, &spinning_contender, processes, work_ns, window_ns));
  }
  print(run, &waiting, title, BESIDE_WAITING, aims);
  print(run, &spinning, title, BESIDE_SPINNING, (struct aims){ 0 });
}

void bench_throughput(struct run *run) {
  int64_t window = run->quick ? SEC : 5 * SEC;
  int rounds = run->quick ? 1 : 5;
  compare(run, 2, 0, window, rounds, (struct aims){ .rate = 0.6, .deviation = 10, .longest = 0.5 });
  compare(run, 8, 0, window, rounds, (struct aims){ .rate = 0.5, .deviation = 10, .longest = 0.5 });
}

void bench_work(struct run *run) {
  int64_t window = run->quick ? SEC / 2 : SEC;
  compare(run, 2, 20 * US, window, run->quick ? 1 : 3, (struct aims){ .rate = 0.9 });
  compare(run, 8, 20 * US, window, run->quick ? 1 : 3, (struct aims){ .rate = 0.9 });
}

void bench_hammer(struct run *run) {
  static const int counts[] = { 2, 8 };
  static struct comparison comparison;
  int64_t window = run->quick ? SEC : 5 * SEC;
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
    char title[96];
    snprintf(title, sizeof title, "%d processes without a pause, with auto_release", counts[n]);
    fresh_files();
    for (int i = 0; i < (run->quick ? 1 : 5); i++) {
      struct throughput ours = measure_throughput(run, &kept_contender, counts[n], 0, window);
      enter(&comparison, i, ours, measure_throughput(run, &waiting_contender, counts[n], 0, window));
    }
    print(run, &comparison, title, BESIDE_WAITING,
          (struct aims){ .rate = 3, .deviation = 10, .longest = 20, .absolute = true });
  }
}
