/* totals.h - reading statistics: the sum of all slots, of their present and their former owners, since the last reset.
 *
 * Taken with pread and F_OFD_GETLK, so it holds nobody up and a descriptor opened for reading is enough. Each word is
 * whole; while they are read the owners count on, so that one number may be a little ahead of another.
 */
#ifndef COLOCKP_TOTALS_H
#define COLOCKP_TOTALS_H

#include "region.h"

/* struct colockp_counters, as plain memory. */
struct colockp_timed {
  uint64_t sum_ns;
  uint64_t buckets[COLOCKP_BUCKETS];
};
union colockp_counted {
  uint64_t words[sizeof(struct colockp_counters) / 8];
  struct {
    uint64_t counts[COLOCKP_NUMBERS];
    struct colockp_timed times[COLOCKP_TIMES];
  };
};
_Static_assert(sizeof(union colockp_counted) == sizeof(struct colockp_counters), "a mirror");

struct colockp_peak { /* the longest of its kind */
  int64_t ns;         /* 0: none is known */
  int64_t wall_ns;    /* its end */
  int32_t pid, tid;
  char program[sizeof(((struct colockp_identity *)0)->program)];
};

struct colockp_totals {
  union colockp_counted counted;
  struct colockp_peak peaks[COLOCKP_TIMES];
  int64_t since_wall_ns; /* the last reset, or the file's beginning */
  uint32_t slots;        /* that were ever in use */
};

/* fd: of the lock file, without a record lock. Codes as colockp_report_fill; EBUSY: reset again and again. */
int colockp_totals_read(struct colockp_totals *totals, int fd, const char *escaped_path);

/* How many were timed. */
uint64_t colockp_timed_count(const struct colockp_timed *timed);
/* The end of the bucket in which `per_cent` of them are reached, but not more than the peak; -1: none were timed. 100:
 * the peak itself, or where its bucket begins if it is not known. */
int64_t colockp_timed_percentile(const struct colockp_timed *timed, const struct colockp_peak *peak, unsigned per_cent);

/* Under GUARD: what was counted until now counts no more. As colockp_totals_read; ENOSPC, ESYSTEM. */
int colockp_totals_reset(struct colockp_region *region);

#endif
