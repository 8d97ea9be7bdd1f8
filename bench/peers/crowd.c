/* crowd.c - many at once: a writer beside readers, and processes that do nothing but lock and unlock. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"
#include "scenario.h"

#include <stdio.h>

void compare_starvation(struct run *run) {
  int64_t window = run->quick ? SEC : 3 * SEC;
  begin_section(run, "a writer beside 8 readers of 20 ms each, its longest wait", "each of these");
  struct lone ours = measure_lone(run, &colock_contender, COLOCK_EXCLUSIVE, 20 * MS, window);
  for (int i = 0; i < peer_count; i++) {
    if (!can(peers[i], COLOCK_SHARED))
      continue;
    fresh_files_for(run, peers[i]);
    struct lone theirs = measure_lone(run, peers[i], COLOCK_EXCLUSIVE, 20 * MS, window);
    print_figure(run, (struct figure){ .name = peers[i]->name, .unit = "ms", .ours = ours.longest,
                                       .theirs = theirs.longest, .theirs_at_least = theirs.cut,
                                       .remark = peers[i]->remark });
  }
}

/* All of them by turns, so many times; the first is ours. */
static void measure(const struct run *run, int processes, struct series *rates, struct series *waits, int rounds) {
  int64_t window = run->quick ? SEC / 10 : SEC / 4;
  for (int round = 0; round < rounds; round++) {
    fresh_files();
    struct throughput ours = measure_throughput(run, &colock_contender, processes, 0, window);
    for (int i = 0; i < peer_count; i++) {
      if (!can(peers[i], COLOCK_EXCLUSIVE) || (peers[i]->slow && processes > 8))
        continue;
      fresh_files_for(run, peers[i]);
      struct throughput theirs = measure_throughput(run, peers[i], processes, 0, window);
      rates[i].count = waits[i].count = round + 1;
      rates[i].ours[round] = ours.rate;
      rates[i].theirs[round] = theirs.rate;
      waits[i].ours[round] = ours.longest;
      waits[i].theirs[round] = theirs.longest;
    }
  }
}

static void print(struct run *run, const char *what, int processes, const struct series *series, const char *unit) {
  char title[64];
  snprintf(title, sizeof title, "%d process%s, %s", processes, processes == 1 ? "" : "es", what);
  begin_section(run, title, "each of these");
  for (int i = 0; i < peer_count; i++)
    if (series[i].count > 0)
      print_series(run, &series[i], (struct figure){ .name = peers[i]->name, .unit = unit });
}

void compare_throughput(struct run *run) {
  static const int counts[] = { 1, 2, 4, 8, 16, 32, 64 };
  static struct series rates[MOST_PEERS], waits[MOST_PEERS];
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
    for (int i = 0; i < peer_count; i++)
      rates[i].count = waits[i].count = 0;
    measure(run, counts[n], rates, waits, run->quick ? 1 : 3);
    print(run, "holds a second", counts[n], rates, "/s");
    print(run, "longest wait", counts[n], waits, "ms");
  }
}
