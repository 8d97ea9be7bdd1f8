/* clock.h - the clocks that colock reads, in ns. None needs a system call. */
#ifndef COLOCKP_CLOCK_H
#define COLOCKP_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t colockp_clock(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t); /* cannot fail for the clocks below */
  return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}
static inline int64_t colockp_wall_ns(void) { return colockp_clock(CLOCK_REALTIME); }
/* To some ms, for a fifth of the cost: good for what people read. */
static inline int64_t colockp_wall_about_ns(void) { return colockp_clock(CLOCK_REALTIME_COARSE); }
static inline int64_t colockp_now_ns(void) { return colockp_clock(CLOCK_MONOTONIC); }

/* a + b where either may be INT64_MAX, for ever */
static inline int64_t colockp_time_add(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

#endif
