/* stats_names.h - what statistics say, checked as a whole: numbers that are not named have to be 0. */
#ifndef COLOCK_TEST_STATS_NAMES_H
#define COLOCK_TEST_STATS_NAMES_H

#include "support.h"
#include <stdarg.h>
#include <string.h>

static const char *const stats_names[] = {
  "acquisitions_shared", "acquisitions_exclusive", "cached_shared", "cached_exclusive", "busy", "timeouts", "cancels",
  "deadlocks", "upgrades", "downgrades", "recalls", "deaths_shared", "deaths_exclusive", "forced_unlocks",
  "wait_shared_count", "wait_exclusive_count", "hold_shared_count", "hold_exclusive_count"};
#define STATS_NAMES (sizeof stats_names / sizeof *stats_names)

static inline colock_stats *stats_read(const char *path) {
  colock_stats *stats = NULL;
  must(colock_stats_read(path, &stats));
  return stats;
}

static inline int64_t stats_number(const char *path, const char *name) {
  colock_stats *stats = stats_read(path);
  int64_t value = colock_stats_number(stats, name);
  colock_stats_free(stats);
  return value;
}

/* Names and values (int), NULL: these, and all others 0. */
static inline void stats_are(const char *path, ...) {
  int64_t wanted[STATS_NAMES] = {0};
  const char *name;
  va_list list;
  va_start(list, path);
  while ((name = va_arg(list, const char *)) != NULL) {
    size_t i = 0;
    while (i < STATS_NAMES && strcmp(stats_names[i], name) != 0) i++;
    ck_assert_msg(i < STATS_NAMES, "no such name: %s", name);
    wanted[i] = va_arg(list, int);
  }
  va_end(list);
  colock_stats *stats = stats_read(path);
  for (size_t i = 0; i < STATS_NAMES; i++) {
    long long value = colock_stats_number(stats, stats_names[i]);
    ck_assert_msg(value == wanted[i], "%s: %lld instead of %lld", stats_names[i], value, (long long)wanted[i]);
  }
  colock_stats_free(stats);
}

#endif
