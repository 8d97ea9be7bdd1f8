/* scenario.h - what is done with colock and a contender, where more than one bench does it. */
#ifndef COLOCK_SCENARIO_H
#define COLOCK_SCENARIO_H

#include "contender.h"

/* From a release to the waiter's run, us: as many rounds as median->count, each of so many turns of ours and of theirs.
 * On 1 or 2 processors; 0: wherever the scheduler puts them. worst: the 99th percentile. */
void measure_handover(const struct run *run, const struct contender *ours, const struct contender *theirs,
                      int processors, int turns, struct series *median, struct series *worst);

/* So many processes take the lock exclusively as often as they can. */
struct throughput {
  double rate, deviation, longest; /* a second; % of the mean; ms */
  double stolen;                   /* by the host, ms a second */
};
struct throughput measure_throughput(const struct run *run, const struct contender *contender, int processes,
                                     int64_t work_ns, int64_t window_ns);

/* One beside eight of the other mode, which hold for so long, back to back: its waits, ms. */
struct lone {
  double median, longest;
  bool cut; /* the longest was not over when the run was */
};
struct lone measure_lone(const struct run *run, const struct contender *contender, int lone_mode, int64_t hold_ns,
                         int64_t window_ns);

/* Of this process, KiB: what no other process has. */
double private_kib(void);

#endif
