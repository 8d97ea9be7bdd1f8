/* bench.c - what a lock costs, side by side with the bare system calls in the same run.
 *
 * Machines are noisy and differ, ratios less so: colock and its measure take turns in short rounds, and the figure is
 * the median of the rounds' ratios. README says how to read the output. */
#include "bench.h"

const struct bench benches[] = {
  { "pair", "acquire and release, nobody else about", bench_pair },
  { "open", "open, first acquire, release, close", bench_open },
  { "holders", "acquire and release beside 1 to 1,000 who hold", bench_holders },
  { "handover", "from a release to the waiter's run", bench_handover },
  { "waiters", "the same with 1 to 1,000 who wait", bench_waiters },
  { "fairness", "how long one waits beside many of the other kind", bench_fairness },
  { "throughput", "processes that do nothing but lock and unlock", bench_throughput },
  { "work", "the same with 20 us of work under the lock and 20 us beside it", bench_work },
  { "death", "from the holder's SIGKILL to the waiter's run", bench_death },
  { "idle", "what 1,000 who wait use of the processor", bench_idle },
  { "report", "what status and top take to look at 1,000 who hold", bench_report },
  { "cached", "acquire and release of a lock that is kept (auto_release)", bench_cached },
  { "recall", "until a process that keeps the lock unused has let it go", bench_recall },
  { "hammer", "processes that do nothing but lock and unlock, with auto_release", bench_hammer },
  { "store", "an operation that does nothing, of a store whose lock is kept", bench_store },
  { "memory", "private memory of an opened lock, and of a seat", bench_memory },
  { "rest", "how often a process wakes up that keeps a lock, or has kept one", bench_rest },
};
const int bench_count = sizeof benches / sizeof *benches;
